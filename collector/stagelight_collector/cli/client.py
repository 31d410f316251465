"""The running collector, as commands see it: over its HTTP API (only one process may open the embedded history)."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import OpenerDirector, ProxyHandler, Request, build_opener

import click

from stagelight_collector.cli.failures import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_URL: Final = "http://127.0.0.1:4318"
TIMEOUT_SECONDS: Final = 30.0

url_option = click.option(
    "--url",
    default=lambda: os.environ.get("STAGELIGHT_URL", DEFAULT_URL),
    show_default=DEFAULT_URL,
    help="Where the collector listens (or STAGELIGHT_URL).",
)


@dataclass(frozen=True, slots=True)
class Client:
    """Reads from a collector."""

    url: str

    def get(self, *path: str, **query: Any) -> Any:
        """Return the JSON at a path.

        Raises:
            UserError: The collector cannot be reached, or refuses.
        """
        with self._open(path, query) as response:
            return json.load(response)

    def feed(self, run_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield event types and data of a run's feed until it ends."""
        kind = ""
        with self._open(("api", "v1", "runs", run_id, "feed"), {}) as response:
            for raw in response:
                line = raw.decode().rstrip("\n")
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    yield kind, json.loads(line.removeprefix("data: "))

    def _open(self, path: tuple[str, ...], query: dict[str, Any]) -> HTTPResponse:
        given = {key: value for key, value in query.items() if value not in (None, "")}
        address = (
            f"{self.url.rstrip('/')}/{'/'.join(quote(part, safe='') for part in path)}?{urlencode(given)}"
        )
        if not address.startswith(("http://", "https://")):
            raise UserError(f"{self.url!r} is not an address; write --url {DEFAULT_URL}")
        try:
            return _direct().open(Request(address), timeout=TIMEOUT_SECONDS)  # type: ignore[no-any-return]  # noqa: S310
        except HTTPError as error:
            raise UserError(_detail(error)) from error
        except (URLError, OSError, HTTPException) as error:
            raise UserError(f"no collector answers at {self.url}; start one with `stagelight up`") from error


def _direct() -> OpenerDirector:
    """Return an opener without proxies: the collector is on this machine or named on purpose."""
    return build_opener(ProxyHandler({}))


def _detail(error: HTTPError) -> str:
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"the collector answered {error.code} {error.reason}"
