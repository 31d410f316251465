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
| `native.py` | the same in Stagelight's own words, below `/api/v1/engine` |
| `streams.py` | an instance's events as server-sent events |
| `relay.py` | hands on what is asked for workflows that run in a worker |
| `client.py`, `commands.py`, `printing.py`, `worker_command.py` | `stagelight workflows`, `stagelight instances`, `stagelight worker` |

Beyond the public API: `DELETE …/instances/{id}`, `POST …/instances/{id}/skip`, `GET …/instances/{id}/subscribe`, and the instance id `latest`.
"""
