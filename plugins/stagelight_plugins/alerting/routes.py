"""The routes: alerts, silences, deliveries and receivers as JSON below `/-/alerting/`."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from stagelight_plugins.alerting.answers import PREFIX, Refused, body_of, guarded, limit_of
from stagelight_plugins.alerting.rules.spans import Span  # noqa: TC001 - pydantic reads it
from stagelight_plugins.alerting.samples import preview, sample
from stagelight_plugins.alerting.state.silences import MOST_SILENCES, Silence
from stagelight_plugins.errors import DeliveryFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from stagelight_plugins.alerting.service import Service
    from stagelight_plugins.alerting.state.alert import Alert

STATES: Final = ("waiting", "sent", "failed")
SHOWN: Final = (
    "fingerprint", "rule", "labels", "notes", "since", "fired", "ended", "count", "acked", "status",
)  # fmt: skip
"""What is told of an alert."""
MOST_SHOWN: Final = 500
"""Alerts in one answer: those that fire first, the newest first."""
LONGEST_SILENCE: Final = 366 * 86_400.0


class SilenceRequest(BaseModel):
    """The body of `POST /-/alerting/silences`: from now, or from `starts`, for a while."""

    model_config = ConfigDict(extra="forbid")

    match: dict[str, Annotated[str, Field(max_length=1_000)]] = Field(min_length=1, max_length=20)
    lasts: Span = Field(default=3600.0, gt=0, le=LONGEST_SILENCE)
    starts: float = Field(default=0.0, ge=0, le=1e11)
    by: str = Field(default="", max_length=200)
    comment: str = Field(default="", max_length=1_000)


class Acknowledgement(BaseModel):
    """The body of `POST /-/alerting/alerts/{fingerprint}/ack`."""

    model_config = ConfigDict(extra="forbid")

    by: str = Field(default="somebody", min_length=1, max_length=200)


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
        }
        return [
            web.route(method, PREFIX + path, guarded(handler)) for (method, path), handler in table.items()
        ]

    # --- alerts ---------------------------------------------------------------------------------------------------

    async def list_alerts(self, request: web.Request) -> web.StreamResponse:
        """Return what fires, is pending or was resolved lately; the receivers and the rules."""
        del request
        desk, now = self.service.desk, self.service.now()
        desk.book.say()
        alerts = sorted(desk.book.alerts.values(), key=lambda alert: (alert.status, -alert.since))
        shown, left_out = alerts[:MOST_SHOWN], max(0, len(alerts) - MOST_SHOWN)
        reasons = desk.groups.reasons([alert for alert in shown if not alert.ended], now)
        failed = await self.service.store.deliveries(["failed"], 100)
        return web.json_response(
            {
                "alerts": [self._shown(alert, reasons.get(alert.fingerprint, "")) for alert in shown],
                "left_out": left_out,
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
        body = await body_of(request, Acknowledgement)
        if not await self.service.acknowledge(request.match_info["fingerprint"], body.by):
            raise Refused(
                404, "No alert of this fingerprint fires; `stagelight alerts list` shows those that do."
            )
        return web.json_response({"status": "acknowledged"})

    async def list_history(self, request: web.Request) -> web.StreamResponse:
        """Return what happened to alerts, the newest first."""
        return web.json_response({"changes": await self.service.store.changes(limit_of(request))})

    # --- deliveries -----------------------------------------------------------------------------------------------

    async def list_deliveries(self, request: web.Request) -> web.StreamResponse:
        """Return deliveries, the newest first."""
        states = request.query.get("state", ",".join(STATES)).split(",")
        if unknown := set(states) - set(STATES):
            raise Refused(400, f"There is no state {min(unknown)!r}; there are {', '.join(STATES)}.")
        found = await self.service.store.deliveries(states, limit_of(request))
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
        body = await body_of(request, SilenceRequest)
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
