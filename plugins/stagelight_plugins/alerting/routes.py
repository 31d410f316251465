"""The routes: alerts, silences, deliveries and receivers as JSON below `/-/alerting/`, and the page of an action link."""

from __future__ import annotations

import html
import secrets
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from stagelight_plugins.alerting.actions import WORDS, Link, LinkRefused
from stagelight_plugins.alerting.rules.spans import Span, said
from stagelight_plugins.alerting.samples import preview, sample
from stagelight_plugins.alerting.state.silences import MOST_SILENCES, Silence
from stagelight_plugins.errors import DeliveryFailed
from stagelight_plugins.validation import first_problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from stagelight_plugins.alerting.service import Service
    from stagelight_plugins.alerting.state.alert import Alert

PREFIX: Final = "/-/alerting"
STATES: Final = ("waiting", "sent", "failed")
SHOWN: Final = (
    "fingerprint", "rule", "labels", "notes", "since", "fired", "ended", "count", "acked", "status",
)  # fmt: skip
"""What is told of an alert."""
LONGEST_SILENCE: Final = 366 * 86_400.0

T = TypeVar("T", bound=BaseModel)


class SilenceRequest(BaseModel):
    """The body of `POST /-/alerting/silences`: from now, or from `starts`, for a while."""

    model_config = ConfigDict(extra="forbid")

    match: dict[str, Annotated[str, Field(max_length=1_000)]] = Field(min_length=1, max_length=20)
    lasts: Span = Field(default=3600.0, gt=0, le=LONGEST_SILENCE)
    starts: float = 0.0
    by: str = Field(default="", max_length=200)
    comment: str = Field(default="", max_length=1_000)


class Acknowledgement(BaseModel):
    """The body of `POST /-/alerting/alerts/{fingerprint}/ack`."""

    model_config = ConfigDict(extra="forbid")

    by: str = Field(default="somebody", min_length=1, max_length=200)


class Refused(Exception):
    """A request that is answered with a status and a sentence."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


@dataclass(slots=True)
class Routes:
    """Answers requests with the service."""

    service: Service

    def routes(self) -> Sequence[web.AbstractRouteDef]:
        """Return the routes."""
        table: dict[tuple[str, str], Callable[[web.Request], Awaitable[web.StreamResponse]]] = {
            ("GET", "/alerts"): self.list_alerts,
            ("POST", "/alerts/{fingerprint}/ack"): self.acknowledge,
            ("GET", "/history"): self.list_history,
            ("GET", "/deliveries"): self.list_deliveries,
            ("POST", "/deliveries/{id}/retry"): self.retry,
            ("GET", "/silences"): self.list_silences,
            ("POST", "/silences"): self.silence,
            ("DELETE", "/silences/{id}"): self.end_silence,
            ("POST", "/receivers/{name}/test"): self.test,
            ("POST", "/receivers/{name}/enable"): self.enable,
            ("GET", "/preview"): self.preview,
            ("GET", "/actions/{token}"): self.ask,
            ("POST", "/actions/{token}"): self.act,
        }
        return [
            web.route(method, PREFIX + path, _guarded(handler)) for (method, path), handler in table.items()
        ]

    # --- alerts ---------------------------------------------------------------------------------------------------

    async def list_alerts(self, request: web.Request) -> web.StreamResponse:
        """Return what fires, is pending or was resolved lately; the receivers and the rules."""
        del request
        desk, now = self.service.desk, self.service.now()
        desk.book.say()
        alerts = sorted(desk.book.alerts.values(), key=lambda alert: (alert.status, -alert.since))
        reasons = desk.groups.reasons([alert for alert in alerts if not alert.ended], now)
        failed = await self.service.store.deliveries(["failed"], 100)
        return web.json_response(
            {
                "alerts": [self._shown(alert, reasons.get(alert.fingerprint, "")) for alert in alerts],
                "receivers": self._receivers(),
                "rules": [self._rule(rule) for rule in self.service.checked.rules],
                "problems": self.service.problems(),
                "failed_deliveries": len(failed),
                "now": now,
            }
        )

    def _shown(self, alert: Alert, muted: str) -> dict[str, Any]:
        data = alert.to_dict()
        run = alert.labels.get("run") or (alert.runs or [""])[-1]
        return {**{name: data[name] for name in SHOWN}, "run": run, "muted": muted}

    def _receivers(self) -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "type": getattr(receiver, "kind", type(receiver).__name__.lower()),
                "address": receiver.shown,
                "waiting": self.service.lanes[name].waiting,
                "sent": self.service.lanes[name].sent,
                "failures": self.service.lanes[name].failures,
                "disabled": self.service.lanes[name].disabled,
            }
            for name, receiver in self.service.checked.receivers.items()
        ]

    def _rule(self, rule: Any) -> dict[str, Any]:
        return {
            "name": rule.name, "when": rule.when, "severity": rule.level, "for": rule.wait,
            "receivers": list(self.service.desk.receivers_of(rule.name)),
        }  # fmt: skip

    async def acknowledge(self, request: web.Request) -> web.StreamResponse:
        """Note that somebody knows of an alert: it is not repeated."""
        body = await _body(request, Acknowledgement)
        if not await self.service.acknowledge(request.match_info["fingerprint"], body.by):
            raise Refused(
                404, "No alert of this fingerprint fires; `stagelight alerts list` shows those that do."
            )
        return web.json_response({"status": "acknowledged"})

    async def list_history(self, request: web.Request) -> web.StreamResponse:
        """Return what happened to alerts, the newest first."""
        return web.json_response({"changes": await self.service.store.changes(_limit(request))})

    # --- deliveries -----------------------------------------------------------------------------------------------

    async def list_deliveries(self, request: web.Request) -> web.StreamResponse:
        """Return deliveries, the newest first."""
        states = request.query.get("state", ",".join(STATES)).split(",")
        if unknown := set(states) - set(STATES):
            raise Refused(400, f"There is no state {min(unknown)!r}; there are {', '.join(STATES)}.")
        found = await self.service.store.deliveries(states, _limit(request))
        return web.json_response({"deliveries": [delivery.to_dict() for delivery in found]})

    async def retry(self, request: web.Request) -> web.StreamResponse:
        """Try a delivery again now."""
        delivery = await self.service.store.delivery(request.match_info["id"])
        if delivery is None:
            raise Refused(
                404, "There is no such delivery; it may be one of those that were dropped for their age."
            )
        if delivery.receiver not in self.service.lanes:
            raise Refused(409, f"There is no receiver {delivery.receiver!r} any more; add it to [alerting].")
        if delivery.state == "sent":
            raise Refused(409, "This was delivered.")
        await self.service.retry(delivery)
        return web.json_response({"status": "waiting"})

    async def test(self, request: web.Request) -> web.StreamResponse:
        """Send a receiver a message now, and say what became of it."""
        name = self._known(request.match_info["name"])
        try:
            await self.service.lanes[name].notifier.send(sample(self.service, name))
        except DeliveryFailed as failure:
            raise Refused(502, f"Receiver {name} did not take it: {failure}.") from failure
        except Exception as error:
            raise Refused(502, f"Receiver {name} did not take it: {type(error).__name__}.") from error
        return web.json_response({"status": "sent", "receiver": name})

    async def enable(self, request: web.Request) -> web.StreamResponse:
        """Send to a receiver again that wanted nothing any more."""
        await self.service.enable(self._known(request.match_info["name"]))
        return web.json_response({"status": "enabled"})

    async def preview(self, request: web.Request) -> web.StreamResponse:
        """Return what a receiver would be sent."""
        name = self._known(request.query.get("receiver", next(iter(self.service.lanes), "")))
        rule = request.query.get("rule", "")
        if rule and rule not in self.service.desk.book.rules:
            raise Refused(
                404, f"There is no rule {rule!r}; there are {', '.join(self.service.desk.book.rules)}."
            )
        return web.json_response({"receiver": name, **preview(self.service, name, rule)})

    def _known(self, name: str) -> str:
        if name not in self.service.lanes:
            have = ", ".join(self.service.lanes) or "none yet: write slack = 'https://…' below [alerting]"
            raise Refused(404, f"There is no receiver {name!r}; there are: {have}.")
        return name

    # --- silences -------------------------------------------------------------------------------------------------

    async def list_silences(self, request: web.Request) -> web.StreamResponse:
        """Return the silences, those that end last first."""
        del request
        now = self.service.now()
        found = sorted(self.service.desk.quiet.silences.values(), key=lambda each: -each.ends)
        return web.json_response(
            {"silences": [{**each.to_dict(), "active": each.holds(now)} for each in found]}
        )

    async def silence(self, request: web.Request) -> web.StreamResponse:
        """Begin a silence."""
        body = await _body(request, SilenceRequest)
        if len(self.service.desk.quiet.silences) >= MOST_SILENCES:
            raise Refused(409, f"There are {MOST_SILENCES} silences already; end some.")
        starts = body.starts or self.service.now()
        silence = Silence(
            secrets.token_hex(6), body.match, starts, starts + body.lasts, body.by, body.comment
        )
        await self.service.silence(silence)
        return web.json_response(silence.to_dict(), status=201)

    async def end_silence(self, request: web.Request) -> web.StreamResponse:
        """End a silence now."""
        silence = self.service.desk.quiet.silences.get(request.match_info["id"])
        if silence is None:
            raise Refused(404, "There is no such silence.")
        now = self.service.now()
        ended = Silence(
            silence.id,
            silence.match,
            min(silence.starts, now),
            min(silence.ends, now),
            silence.by,
            silence.comment,
        )
        await self.service.silence(ended)
        return web.json_response(ended.to_dict())

    # --- action links ---------------------------------------------------------------------------------------------

    async def ask(self, request: web.Request) -> web.StreamResponse:
        """Show what a link does, and ask. Nothing happens yet: who previews links only reads this."""
        link = self._link(request)
        doing = f"<h1>{WORDS[link.action]}?</h1><dl><dt>Workflow</dt><dd>{html.escape(link.workflow)}</dd>"
        doing += f"<dt>Run</dt><dd>{html.escape(link.run)}</dd>"
        doing += f"<dt>Step</dt><dd>{html.escape(link.step)}</dd></dl>" if link.step else "</dl>"
        rest = said(max(0.0, link.expires - self.service.now()))
        form = f'<form method="post"><button>{WORDS[link.action]}</button></form><p>This link works once, for {rest} more.</p>'
        return _page(doing + form)

    async def act(self, request: web.Request) -> web.StreamResponse:
        """Do what a link says."""
        link = self._link(request)
        assert self.service.links is not None, "there is a link"  # noqa: S101 - for the type checker
        try:
            done = await self.service.links.use(link)
        except LinkRefused as refused:
            return _page(f"<h1>Nothing was done</h1><p>{html.escape(str(refused))}</p>", 409)
        return _page(f"<h1>Done</h1><p>{html.escape(done)}</p>")

    def _link(self, request: web.Request) -> Link:
        if self.service.links is None:
            raise Refused(
                404, "Action links are switched off; write enabled = true below [alerting.actions]."
            )
        try:
            return self.service.links.read(request.match_info["token"])
        except LinkRefused as refused:
            raise Refused(403, str(refused)) from refused


def _guarded(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refused as refused:
            status = refused.status
            data = {
                "type": "about:blank",
                "title": HTTPStatus(status).phrase,
                "status": status,
                "detail": str(refused),
            }
            return web.json_response(data, status=status, content_type="application/problem+json")

    return handle


async def _body(request: web.Request, kind: type[T]) -> T:
    try:
        return TypeAdapter(kind).validate_json(await request.read() or b"{}")
    except ValidationError as error:
        raise Refused(400, f"{first_problem(error)}.") from error


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", "100")
    if not text.isdecimal() or not 1 <= int(text) <= 1_000:
        raise Refused(400, "limit: write a number from 1 to 1000.")
    return int(text)


def _page(content: str, status: int = 200) -> web.Response:
    text = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<meta name="robots" content="noindex"><title>Stagelight</title><main>{content}</main></html>'
    )
    return web.Response(text=text, content_type="text/html", status=status)
