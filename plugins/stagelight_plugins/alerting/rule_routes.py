"""The routes of rules: all are listed, those of the page are added, changed, switched and deleted."""

from __future__ import annotations

import asyncio
import logging
import re
import sqlite3
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from stagelight_plugins.alerting.answers import PREFIX, Refused, body_of, guarded
from stagelight_plugins.alerting.rules.rule import KINDS
from stagelight_plugins.alerting.rules.rulebook import BUILT, CONFIGURATION, MOST_RULES, PAGE, Kept
from stagelight_plugins.alerting.rules.wording import meaning
from stagelight_plugins.errors import BadSettings, HistoryAway, QueryError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from stagelight_plugins.alerting.rules.rule import Rule
    from stagelight_plugins.alerting.rules.rulebook import Entry
    from stagelight_plugins.alerting.service import Service
    from stagelight_plugins.errors import Place

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
NAME_REMEDY: Final = "write 1 to 80 letters, digits, '-', '_' and '.', such as billing-late"
TRY_SECONDS: Final = 10.0

_log = logging.getLogger(__name__)


class RuleRequest(BaseModel):
    """The body of `POST /-/alerting/rules` (with a name) and `PUT /-/alerting/rules/{name}`."""

    model_config = ConfigDict(extra="forbid")

    name: str = ""
    rule: dict[str, Any]
    """As below `[alerting.rules.<name>]`."""
    by: Annotated[str, Field(max_length=200)] = ""


class Switch(BaseModel):
    """The body of `POST /-/alerting/rules/{name}/enable` and `…/disable`."""

    model_config = ConfigDict(extra="forbid")

    by: Annotated[str, Field(max_length=200)] = ""


@dataclass(slots=True)
class RuleRoutes:
    """Changes the rules of a service, one request at a time."""

    service: Service
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def routes(self) -> Sequence[web.AbstractRouteDef]:
        """Return the routes."""
        table: dict[tuple[str, str], Callable[[web.Request], Awaitable[web.StreamResponse]]] = {
            ("GET", "/rules"): self.list_rules,
            ("POST", "/rules"): self.add,
            ("PUT", "/rules/{name}"): self.change,
            ("DELETE", "/rules/{name}"): self.delete,
            ("POST", "/rules/{name}/enable"): self.enable,
            ("POST", "/rules/{name}/disable"): self.disable,
        }
        return [
            web.route(method, PREFIX + path, guarded(handler)) for (method, path), handler in table.items()
        ]

    async def list_rules(self, request: web.Request) -> web.StreamResponse:
        """Return all rules with where they come from, and what a rule can be made of."""
        del request
        book = self.service.rulebook
        kinds = {
            kind: KINDS.get(kind, (frozenset({"options", "evaluate"}), frozenset[str]()))
            for kind in book.kinds
        }
        return web.json_response(
            {
                "rules": [self._shown(entry) for entry in book.entries()],
                "kinds": {
                    kind: {"takes": sorted(takes), "needs": sorted(needs)}
                    for kind, (takes, needs) in sorted(kinds.items())
                },
                "receivers": [*self.service.checked.receivers],
            }
        )

    async def add(self, request: web.Request) -> web.StreamResponse:
        """Add a rule."""
        body = await body_of(request, RuleRequest)
        async with self._turn:
            found = self.service.rulebook.find(body.name)
            if found is not None:
                place = {CONFIGURATION: "in the configuration", BUILT: "built in", PAGE: "of the page"}
                text = f"there is a rule of this name {place[found.source]}; take another name, or change that one"
                raise Refused(409, f"name: {text}.", [(("name",), text)])
            return await self._keep(body.name, body, status=201)

    async def change(self, request: web.Request) -> web.StreamResponse:
        """Change a rule of the page, or put one in the place of a built-in one."""
        body = await body_of(request, RuleRequest)
        async with self._turn:
            return await self._keep(self._changeable(request).name, body, status=200)

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Delete a rule of the page; a built-in one whose place it took is back."""
        async with self._turn:
            entry = self._changeable(request)
            if entry.kept is None:
                raise Refused(409, "A built-in rule cannot be deleted; switch it off.")
            await self._written(self.service.drop_rule(entry.name))
            _log.info("rule %s was deleted in the page", entry.name)
            return web.json_response({"status": "deleted", "name": entry.name})

    async def enable(self, request: web.Request) -> web.StreamResponse:
        """Switch a rule on."""
        return await self._switch(request, on=True)

    async def disable(self, request: web.Request) -> web.StreamResponse:
        """Switch a rule off; what fires by it is over."""
        return await self._switch(request, on=False)

    # --- one rule -------------------------------------------------------------------------------------------------

    async def _switch(self, request: web.Request, *, on: bool) -> web.StreamResponse:
        body = await body_of(request, Switch)
        async with self._turn:
            entry = self._changeable(request)
            now = self.service.now()
            if entry.kept is not None:
                kept = replace(entry.kept, enabled=on, by=body.by, changed=now)
            else:
                assert entry.rule is not None, "a built-in rule is one"  # noqa: S101 - for the type checker
                kept = Kept(entry.name, written(entry.rule), on, body.by, now)
            return await self._put(kept, 200)

    async def _keep(self, name: str, body: RuleRequest, *, status: int) -> web.StreamResponse:
        """Check a rule, and keep it."""
        book = self.service.rulebook
        before = book.find(name)
        if book.kept >= MOST_RULES and (before is None or before.kept is None):
            raise Refused(409, f"There are {MOST_RULES} rules of the page already; delete some.")
        errors: list[tuple[Place, str]] = (
            [] if before is not None or NAME.fullmatch(name) else [(("name",), NAME_REMEDY)]
        )
        try:
            rule, _ = book.check(name, body.rule)
            errors += await self._try(rule)
        except BadSettings as error:
            errors += error.problems
        if errors:
            place, text = errors[0]
            raise Refused(400, f"{'.'.join(place)}: {text}." if place else f"{text}.", errors)
        enabled = before.enabled if before is not None and before.kept is not None else True
        return await self._put(Kept(name, body.rule, enabled, body.by, self.service.now()), status)

    async def _try(self, rule: Rule) -> list[tuple[Place, str]]:
        """Ask a rule's question once: what history cannot answer now it never will, unless it is away."""
        if rule.when != "sql":
            return []
        try:
            await self.service.collector.query(rule.sql, seconds=TRY_SECONDS, rows=1)
        except HistoryAway:
            return []
        except QueryError as error:
            return [(("sql",), str(error).split("\n", 1)[0])]
        return []

    async def _put(self, kept: Kept, status: int) -> web.StreamResponse:
        await self._written(self.service.keep_rule(kept))
        _log.info("rule %s was changed in the page; it is %s", kept.name, "on" if kept.enabled else "off")
        found = self.service.rulebook.find(kept.name)
        assert found is not None, "it was just put there"  # noqa: S101 - for the type checker
        return web.json_response(self._shown(found), status=status)

    async def _written(self, work: Awaitable[None]) -> None:
        try:
            await work
        except (OSError, sqlite3.Error) as error:
            _log.exception("a rule could not be written down")
            raise Refused(
                503, "The rule cannot be written down: the disk refuses; nothing was changed."
            ) from error

    def _changeable(self, request: web.Request) -> Entry:
        name = request.match_info["name"]
        entry = self.service.rulebook.find(name)
        if entry is None:
            raise Refused(404, f"There is no rule {name!r}; `stagelight alerts rules` lists all.")
        if entry.source == CONFIGURATION:
            raise Refused(
                409, f"Rule {name} is of the configuration; change it there and start the collector again."
            )
        return entry

    def _shown(self, entry: Entry) -> dict[str, Any]:
        rule = entry.rule
        found: dict[str, Any] = {
            "name": entry.name, "source": entry.source, "enabled": entry.enabled, "holds": entry.holds,
            "problem": entry.problem, "by": entry.kept.by if entry.kept else "",
            "changed": entry.kept.changed if entry.kept else 0.0,
            "replaces": BUILT if entry.kept and self.service.rulebook.is_built_in(entry.name) else "",
            "rule": entry.kept.table if entry.kept else written(rule) if rule else {},
        }  # fmt: skip
        if rule is not None:
            named = self.service.checked.receivers if rule.receivers is None else rule.receivers
            found |= {
                "when": rule.when, "severity": rule.level, "for": rule.wait, "receivers": [*named],
                "meaning": meaning(rule),
            }  # fmt: skip
        return found


def written(rule: Rule) -> dict[str, Any]:
    """Return a rule as it is written; without a plugin's options, in which there may be a secret."""
    return rule.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"name", "options"})
