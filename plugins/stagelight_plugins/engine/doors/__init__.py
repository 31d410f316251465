"""The engine's doors: the REST API, and the command line that speaks it.

The paths, bodies and codes under `/client/v4/accounts/{account}/workflows` are those of the public Workflows API, so
that its clients work with nothing but their base URL changed. There is one account: whatever name is asked for.

| module | |
|---|---|
| `envelope.py` | what every answer looks like, and which error has which code |
| `shapes.py` | what we tell, in the API's words |
| `bodies.py` | what we are told |
| `numbers.py` | numbered pages on top of cursors |
| `rest.py` | the routes |
| `client.py`, `commands.py` | `stagelight workflows` and `stagelight instances` |

Beyond the public API: `DELETE …/instances/{id}`, `POST …/instances/{id}/skip`, and the instance id `latest`.
"""
