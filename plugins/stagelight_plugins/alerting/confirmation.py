"""The page of an action link: it says what the link does, and asks. Only its button does anything."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from aiohttp import web

from stagelight_plugins.alerting.actions import WORDS, Link, LinkRefused
from stagelight_plugins.alerting.answers import PREFIX
from stagelight_plugins.alerting.rules.spans import said

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stagelight_plugins.alerting.service import Service

_STYLE: Final = """\
:root {
  color-scheme: light dark;
  --surface: #f7f7f9; --card: #ffffff; --line: #e4e5ea; --text: #17181c; --quiet: #5c5e69;
  --accent: #4a51c9; --on-accent: #ffffff; --bad: #bf2338; --good: #14713f;
}
@media (prefers-color-scheme: dark) {
  :root {
    --surface: #101114; --card: #1a1b20; --line: #3a3d47; --text: #ecedf1; --quiet: #9a9da9;
    --accent: #98a1ff; --on-accent: #101114; --bad: #ff8a96; --good: #5ccf96;
  }
}
* { box-sizing: border-box; }
body {
  display: grid; min-height: 100dvh; margin: 0; padding: 1rem; place-items: center;
  background: var(--surface); color: var(--text);
  font: 1rem/1.5 ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Liberation Sans', sans-serif;
}
main {
  width: min(30rem, 100%); padding: 1.5rem; border: 1px solid var(--line); border-radius: 10px;
  background: var(--card); overflow-wrap: anywhere;
}
h1 { margin: 0 0 1rem; font-size: 1.375rem; line-height: 1.3; }
p { margin: 1rem 0 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 0; }
dt { color: var(--quiet); }
dd { margin: 0; }
.quiet { color: var(--quiet); font-size: .875rem; }
.bad h1 { color: var(--bad); }
.good h1 { color: var(--good); }
a { color: var(--accent); }
button {
  width: 100%; min-height: 2.75rem; margin-top: 1.5rem; border: 0; border-radius: 6px;
  background: var(--accent); color: var(--on-accent); font: inherit; font-weight: 600; cursor: pointer;
}
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
"""


@dataclass(slots=True)
class Confirmation:
    """Answers those who open a link."""

    service: Service

    def routes(self) -> Sequence[web.AbstractRouteDef]:
        """Return the routes."""
        return [
            web.get(f"{PREFIX}/confirmation.css", _style),
            web.get(f"{PREFIX}/actions/{{token}}", self.ask),
            web.post(f"{PREFIX}/actions/{{token}}", self.act),
        ]

    async def ask(self, request: web.Request) -> web.StreamResponse:
        """Show what a link does, and ask. Nothing happens yet: who previews links only reads this."""
        try:
            link = self._link(request)
        except LinkRefused as refused:
            return _refusal(refused, 403 if self.service.links else 404)
        words = WORDS[link.action]
        facts = [("Workflow", link.workflow), ("Run", link.run), ("Step", link.step)]
        listed = "".join(f"<dt>{name}</dt><dd>{html.escape(text)}</dd>" for name, text in facts if text)
        rest = said(max(0.0, link.expires - self.service.now()))
        return _page(
            f"{words}?",
            f'<dl>{listed}</dl><form method="post"><button>{words}</button></form>'
            f'<p class="quiet">This link works once, for {rest} more. {_run(link)}</p>',
        )

    async def act(self, request: web.Request) -> web.StreamResponse:
        """Do what a link says."""
        try:
            link = self._link(request)
        except LinkRefused as refused:
            return _refusal(refused, 403 if self.service.links else 404)
        assert self.service.links is not None, "there is a link"  # noqa: S101 - for the type checker
        try:
            done = await self.service.links.use(link)
        except LinkRefused as refused:
            return _refusal(refused, 409, link)
        return _page("Done", f"<p>{html.escape(done)}</p><p>{_run(link)}</p>", tone="good")

    def _link(self, request: web.Request) -> Link:
        if self.service.links is None:
            raise LinkRefused("Action links are switched off; write enabled = true below [alerting.actions].")
        return self.service.links.read(request.match_info["token"])


async def _style(_request: web.Request) -> web.StreamResponse:
    return web.Response(text=_STYLE, content_type="text/css", headers={"Cache-Control": "max-age=3600"})


def _refusal(refused: LinkRefused, status: int, link: Link | None = None) -> web.Response:
    more = f"<p>{_run(link)}</p>" if link is not None else ""
    return _page("Nothing was done", f"<p>{html.escape(str(refused))}</p>{more}", status, tone="bad")


def _run(link: Link) -> str:
    return f'<a href="../../../#/runs/{html.escape(quote(link.run, safe=""))}">Look at the run</a>'


def _page(title: str, content: str, status: int = 200, *, tone: str = "") -> web.Response:
    # The collector's own policy is to send no referrer, with which a browser calls a form's origin "null": refused.
    # The address holds a secret; `same-origin` keeps it from everybody else just as well.
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
        '<meta name="referrer" content="same-origin"><link rel="icon" href="data:,"><link rel="stylesheet" href="../confirmation.css">'
        f'<title>{title} · Stagelight</title></head><body><main class="{tone}"><h1>{title}</h1>{content}</main></body></html>'
    )
    return web.Response(text=text, content_type="text/html", status=status)
