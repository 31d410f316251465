"""The REST API as the commands ask it."""

from __future__ import annotations

from dataclasses import dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import ProxyHandler, Request, build_opener

import click
import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT_SECONDS: Final = 30.0
ACCOUNT: Final = "local"
"""Whatever name is asked for is the one account that there is."""
PAGE: Final = 100


class Failed(click.ClickException):
    """What was asked for cannot be done; the message says why."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Client:
    """Asks a collector's engine."""

    url: str

    def ask(self, method: str, *path: str, body: Any = None, **query: Any) -> Any:
        """Return the `result` at a path below the account's workflows.

        Raises:
            Failed: The collector cannot be reached, refuses, or is none.
        """
        return self._answer(method, path, body, query)["result"]

    def pages(self, *path: str, most: int, **query: Any) -> Iterator[dict[str, Any]]:
        """Yield the items of a list, over its pages.

        Raises:
            Failed: As for `ask`.
        """
        cursor = ""
        while most > 0:
            asked = {**query, "per_page": min(PAGE, most), "cursor": cursor}
            answer = self._answer("GET", path, None, asked)
            yield from answer["result"]
            most -= len(answer["result"])
            cursor = answer["result_info"].get("cursor", "")
            if not cursor:
                return

    def _answer(self, method: str, path: tuple[str, ...], body: Any, query: dict[str, Any]) -> dict[str, Any]:
        given = {key: value for key, value in query.items() if value not in (None, "")}
        parts = ("client", "v4", "accounts", ACCOUNT, "workflows", *path)
        address = f"{self.url.rstrip('/')}/{'/'.join(quote(part, safe='') for part in parts)}"
        if not address.startswith(("http://", "https://")):
            raise Failed(f"{self.url!r} is not an address; write --url http://127.0.0.1:4318")
        data = None if body is None else orjson.dumps(body)
        headers = {"Content-Type": "application/json"}
        asked = Request(f"{address}?{urlencode(given)}", data, headers, method=method)  # noqa: S310 - the scheme was checked
        try:
            with build_opener(ProxyHandler({})).open(asked, timeout=TIMEOUT_SECONDS) as response:
                found = orjson.loads(response.read())
        except HTTPError as error:
            raise self._refusal(error) from error
        except (URLError, OSError) as error:
            raise Failed(
                f"no collector answers at {self.url}; start one with `stagelight up --workflows FILE`"
            ) from error
        except (HTTPException, ValueError) as error:
            raise self._stranger() from error
        if not isinstance(found, dict) or "result" not in found:
            raise self._stranger()
        return cast("dict[str, Any]", found)

    def _refusal(self, error: HTTPError) -> Failed:
        try:
            return Failed(str(orjson.loads(error.read())["errors"][0]["message"]))
        except (ValueError, KeyError, IndexError, TypeError, OSError, HTTPException):
            return self._stranger()

    def _stranger(self) -> Failed:
        return Failed(
            f"what answers at {self.url} is no Stagelight collector with the engine; name the collector's address with --url"
        )
