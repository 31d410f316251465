"""What both APIs of the engine are: routes that ask a control plane, and tell every error in one shape."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from aiohttp import web

from stagelight_plugins.engine.doors.envelope import INVALID, Refused, code_of
from stagelight_plugins.engine.doors.relay import Relay
from stagelight_plugins.engine.doors.streams import Streams
from stagelight_plugins.engine.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from stagelight_plugins.engine.contract import ControlPlane

    Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
    Tell: TypeAlias = Callable[[int, int, str, float], web.Response]
    """Makes the answer of an error: HTTP status, the API's code, what is wrong, seconds after which to try again."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Door:
    """Answers requests with a control plane, which `find` returns while it is open."""

    find: Callable[[], ControlPlane | None]
    streams: Streams = field(default_factory=Streams)
    relay: Relay = field(default_factory=Relay)

    @property
    def _plane(self) -> ControlPlane:
        plane = self.find()
        if plane is None:
            raise Refused(503, 10503, "the engine is not open; try again in a moment")
        return plane

    async def _resolved(self, request: web.Request) -> tuple[str, str]:
        """Return the workflow and the instance of a request, with the id for which `latest` stands."""
        info = await self._plane.get(*names(request))
        return info.workflow, info.id

    def _open(
        self, answers: Iterable[tuple[str, str, Handler]], tell: Tell
    ) -> Sequence[web.AbstractRouteDef]:
        """Return the routes: method, path, and what answers."""
        return [
            web.route(method, path, self.relay.wrap(_guarded(answer, tell)))
            for method, path, answer in answers
        ]


def names(request: web.Request) -> tuple[str, str]:
    """Return the workflow and the instance that a path names."""
    return request.match_info["workflow"], request.match_info["instance"]


def _guarded(answer: Handler, tell: Tell) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await answer(request)
        except Refused as error:
            return tell(error.status, error.code, str(error), 0.0)
        except EngineError as error:
            return tell(*code_of(error), str(error), getattr(error, "retry_after", 0.0))
        except (web.HTTPException, ConnectionError):
            raise
        except Exception:  # noqa: BLE001 - told in the API's shape
            _log.exception("%s %s failed", request.method, request.path)
            return tell(500, INVALID, "something went wrong inside; the collector's log has it", 0.0)

    return handle
