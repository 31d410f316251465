"""The running collector, as commands see it: over its HTTP API (only one process may open the embedded history)."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import OpenerDirector, ProxyHandler, Request, build_opener

import click

from stagelight.settings import ENDPOINT
from stagelight_collector import config
from stagelight_collector.cli.failures import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TIMEOUT_SECONDS: Final = 30.0
TRIES: Final = 30
"""How often a feed that broke off is asked for again, about once a second, before it is given up."""
PAUSE_SECONDS: Final = 1.0

_ANSWERS: Final = frozenset({"runs", "run", "status", "rows", "deleted"})
"""What is in every answer that commands ask for; where none is, another program answered."""


def configured_url() -> str:
    """Return where the agent is told to send (`STAGELIGHT_ENDPOINT`), or else where the configured collector listens.

    Raises:
        UserError: The configuration leaves the port to chance.
        ConfigError: The configuration is wrong.
    """
    if told := os.environ.get(ENDPOINT, "").strip():
        return told
    settings = config.load()
    if settings.port == 0:
        raise UserError(
            "with port 0 the collector's address is known only to who started it; name it with --url"
        )
    return settings.url


class NotFound(UserError):
    """The collector has no such thing."""


class CollectorGone(UserError):
    """The collector went away in the middle of a feed, and did not come back."""

    exit_code = 3

    def __init__(self) -> None:
        super().__init__("the collector went away and did not come back; start it again with `stagelight up`")


@dataclass(frozen=True, slots=True)
class Client:
    """Asks a collector."""

    url: str
    timeout: float = TIMEOUT_SECONDS

    def get(self, *path: str, **query: Any) -> dict[str, Any]:
        """Return the JSON at a path.

        Raises:
            UserError: The collector cannot be reached, refuses, or is none.
        """
        return self._answer(path, query)

    def post(self, *path: str, body: Any, **query: Any) -> dict[str, Any]:
        """Send JSON to a path, and return the JSON that is answered.

        Raises:
            UserError: As for `get`.
        """
        headers = {"Content-Type": "application/json"}
        return self._answer(path, query, method="POST", data=json.dumps(body).encode(), headers=headers)

    def send(self, *path: str, data: bytes) -> dict[str, Any]:
        """Send a file to a path, and return the JSON that is answered.

        Raises:
            UserError: As for `get`.
        """
        headers = {"Content-Type": "application/x-ndjson"}
        return self._answer(path, {}, method="POST", data=data, headers=headers)

    def file(self, *path: str) -> bytes:
        """Return the JSON Lines at a path.

        Raises:
            UserError: As for `get`.
        """
        with self._open(path, {}) as response:
            try:
                data = response.read()
            except (OSError, HTTPException) as error:
                raise self._stranger() from error
        if response.headers.get_content_type() != "application/x-ndjson":
            raise self._stranger()
        return data

    def delete(self, *path: str, **query: Any) -> dict[str, Any]:
        """Delete what is at a path, and return the JSON that is answered.

        Raises:
            UserError: As for `get`.
        """
        return self._answer(path, query, method="DELETE")

    def _answer(self, path: tuple[str, ...], query: dict[str, Any], **request: Any) -> dict[str, Any]:
        with self._open(path, query, **request) as response:
            try:
                found = json.load(response)
            except (ValueError, OSError, HTTPException) as error:
                raise self._stranger() from error
        if not isinstance(found, dict) or _ANSWERS.isdisjoint(cast("dict[str, Any]", found)):
            raise self._stranger()
        return cast("dict[str, Any]", found)

    def feed(
        self, run_id: str | None, sleep: Callable[[float], None] = time.sleep
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield event types and data of a run's feed until nothing more will come, over restarts of the collector.

        Without a run it is the lobby's, which goes on for ever.

        Raises:
            UserError: The collector cannot be reached at first, or does not know the run, or does not any more.
            CollectorGone: It went away and did not come back.
        """
        last, tries = "", 0
        path = ("api", "v1", "runs", run_id, "feed") if run_id is not None else ("api", "v1", "feed")
        while tries < TRIES:
            try:
                with self._open(path, {}, headers={"Last-Event-ID": last} if last else {}) as response:
                    if response.status == 204:
                        return
                    if response.headers.get_content_type() != "text/event-stream":
                        raise self._stranger()
                    for identity, kind, data in _messages(response):
                        last = identity
                        tries = tries if kind in {"snapshot", "restarting"} else 0
                        yield kind, data
            except NotFound:
                raise  # also where it was known before: it has been deleted
            except UserError:
                if not last:
                    raise
            except ValueError as error:
                raise self._stranger() from error
            except (OSError, HTTPException):
                pass  # the stream was cut: asked for again, like one that ended
            if tries == 0:
                click.echo(f"The collector at {self.url} is away; trying again …", err=True)
            tries += 1
            sleep(PAUSE_SECONDS)
        raise CollectorGone

    def _open(self, path: tuple[str, ...], query: dict[str, Any], **request: Any) -> HTTPResponse:
        given = {key: value for key, value in query.items() if value not in (None, "")}
        address = f"{self.url.rstrip('/')}/{'/'.join(quote(part, safe='') for part in path)}?{urlencode(given, doseq=True)}"
        if not address.startswith(("http://", "https://")):
            raise UserError(f"{self.url!r} is not an address; write --url {config.Settings().url}")
        try:
            asked = Request(address, **request)  # noqa: S310 - the scheme was checked
            return cast("HTTPResponse", _direct().open(asked, timeout=self.timeout))
        except HTTPError as error:
            raise self._refusal(error, path) from error
        except (URLError, OSError) as error:
            raise UserError(f"no collector answers at {self.url}; start one with `stagelight up`") from error
        except (HTTPException, ValueError) as error:
            raise self._stranger() from error

    def _refusal(self, error: HTTPError, path: tuple[str, ...]) -> UserError:
        try:
            detail = str(json.load(error)["detail"])
        except (ValueError, KeyError, TypeError, OSError, HTTPException):
            return self._stranger()
        if error.code != 404:
            return UserError(detail)
        match path:
            case "api", "v1", "runs", run_id, *_:
                return NotFound(
                    f"there is no run {run_id!r}; see which there are with `stagelight runs list`"
                )
            case _:
                return NotFound(detail)

    def _stranger(self) -> UserError:
        return UserError(
            f"what answers at {self.url} is not a Stagelight collector; name the collector's address with --url"
        )


def _messages(response: HTTPResponse) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Read server-sent events: id, type and data."""
    last = kind = ""
    for raw in response:
        field, _, value = raw.decode(errors="replace").rstrip("\r\n").partition(": ")
        if field == "id":
            last = value
        elif field == "event":
            kind = value
        elif field == "data":
            yield last, kind, json.loads(value)


def _direct() -> OpenerDirector:
    """Return an opener without proxies: the collector is on this machine or named on purpose."""
    return build_opener(ProxyHandler({}))
