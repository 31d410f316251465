"""`stagelight alerts`: what fires, silences, tests; over the collector's HTTP."""

from __future__ import annotations

import getpass
import json
import time
from dataclasses import dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import ProxyHandler, Request, build_opener

import click

from stagelight_plugins.alerting.rules.spans import said
from stagelight_plugins.options import json_option, url_option

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT_SECONDS: Final = 40.0
"""Longer than a receiver may take for a test."""


class CannotDo(click.ClickException):
    """Something that the user can mend."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Api:
    """The routes of alerting, as commands see them."""

    url: str

    def ask(self, method: str, *path: str, body: object = None, **query: Any) -> dict[str, Any]:
        """Return the answer to a request."""
        route = "/".join(quote(part, safe="") for part in path)
        address = f"{self.url.rstrip('/')}/-/alerting/{route}?{urlencode(query)}"
        if not address.startswith(("http://", "https://")):
            raise CannotDo(f"{self.url!r} is no address; write --url http://127.0.0.1:4318")
        data = json.dumps(body).encode() if body is not None else None
        request = Request(address, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310 - checked
        try:
            with build_opener(ProxyHandler({})).open(request, timeout=TIMEOUT_SECONDS) as answer:
                return cast("dict[str, Any]", json.load(answer))
        except HTTPError as error:
            raise CannotDo(_detail(error)) from error
        except URLError as error:
            raise CannotDo(f"no collector answers at {self.url}; start one with `stagelight up`") from error
        except (OSError, HTTPException, ValueError) as error:
            raise CannotDo(
                f"what answers at {self.url} is no Stagelight collector; name it with --url"
            ) from error


def _detail(error: HTTPError) -> str:
    try:
        return str(json.load(error)["detail"]).rstrip(".")
    except (ValueError, KeyError, TypeError, OSError):
        return f"the collector answered {error.code}; it may be older than this command"


@click.group(epilog="Example: stagelight alerts list")
def alerts() -> None:
    """What fires, silences, and tests of receivers."""


@alerts.command("list", epilog="Example: stagelight alerts list --json | jq '.alerts[].labels'")
@click.option("--all", "everything", is_flag=True, help="Also what was resolved within a day.")
@url_option
@json_option
def list_(everything: bool, url: str, as_json: bool) -> None:
    """List what fires, the receivers and what is wrong with them."""
    found = Api(url).ask("GET", "alerts")
    found["alerts"] = [each for each in found["alerts"] if everything or each["status"] != "resolved"]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    rows = [
        (each["status"], _plain(each["notes"].get("summary", "")), _ago(each["since"]), each["muted"] or each["acked"], each["fingerprint"])
        for each in found["alerts"]
    ]  # fmt: skip
    _table(("Status", "What", "Since", "Muted or known to", "Fingerprint"), rows, "Nothing fires.")
    if found["left_out"]:
        click.echo(f"… and {found['left_out']} more; only the newest are listed", err=True)
    for problem in found["problems"]:
        click.echo(f"stagelight: {_plain(problem)}", err=True)
    if not found["receivers"]:
        click.echo("Nobody is told: write slack = 'https://…' below [alerting] in stagelight.toml", err=True)
    if found["failed_deliveries"]:
        click.echo(
            f"{found['failed_deliveries']} messages were not delivered: stagelight alerts deliveries",
            err=True,
        )


@alerts.command(epilog="Example: stagelight alerts test slack")
@click.argument("receiver")
@url_option
@json_option
def test(receiver: str, url: str, as_json: bool) -> None:
    """Send a message to a receiver now, and say what became of it."""
    found = Api(url).ask("POST", "receivers", receiver, "test")
    click.echo(json.dumps(found) if as_json else f"{receiver} took it.")


@alerts.command(
    epilog="Example: stagelight alerts silence workflow='nightly*' --for 2h --comment 'moving house'"
)
@click.argument("match", nargs=-1, required=True)
@click.option("--for", "lasts", default="1h", show_default=True, help="How long: 30m, 2h, 1d.")
@click.option("--comment", default="", help="Why.")
@url_option
@json_option
def silence(match: tuple[str, ...], lasts: str, comment: str, url: str, as_json: bool) -> None:
    """Tell nobody of what fits MATCH (label=pattern …) for a while."""
    pairs = dict(pair.split("=", 1) for pair in match if "=" in pair)
    if len(pairs) < len(match):
        raise click.UsageError("write each match as label=pattern, such as workflow='nightly*'")
    body = {"match": pairs, "lasts": lasts, "comment": comment, "by": getpass.getuser()}
    found = Api(url).ask("POST", "silences", body=body)
    until = time.strftime("%Y-%m-%d %H:%M", time.localtime(found["ends"]))
    click.echo(json.dumps(found) if as_json else f"Silence {found['id']} holds until {until}.")


@alerts.command(epilog="Example: stagelight alerts unsilence 5f0c7a1b2d3e")
@click.argument("silence_id")
@url_option
@json_option
def unsilence(silence_id: str, url: str, as_json: bool) -> None:
    """End a silence now."""
    found = Api(url).ask("DELETE", "silences", silence_id)
    click.echo(json.dumps(found) if as_json else f"Silence {silence_id} has ended.")


@alerts.command(epilog="Example: stagelight alerts silences --json")
@url_option
@json_option
def silences(url: str, as_json: bool) -> None:
    """List the silences."""
    found = Api(url).ask("GET", "silences")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    rows = [
        (each["id"], "yes" if each["active"] else "no", _plain(" ".join(f"{k}={v}" for k, v in each["match"].items())),
         time.strftime("%Y-%m-%d %H:%M", time.localtime(each["ends"])), _plain(f"{each['by']} {each['comment']}".strip()))
        for each in found["silences"]
    ]  # fmt: skip
    _table(("Silence", "Active", "Match", "Until", "By"), rows, "There are no silences.")


@alerts.command(epilog="Example: stagelight alerts ack 9f2c64d1a8b3e770")
@click.argument("fingerprint")
@url_option
@json_option
def ack(fingerprint: str, url: str, as_json: bool) -> None:
    """Say that you know of an alert.

    It is not repeated, and you hear when it is over.
    """
    found = Api(url).ask("POST", "alerts", fingerprint, "ack", body={"by": getpass.getuser()})
    click.echo(json.dumps(found) if as_json else f"{fingerprint} is acknowledged.")


@alerts.command(epilog="Example: stagelight alerts rules --json | jq '.rules[].name'")
@url_option
@json_option
def rules(url: str, as_json: bool) -> None:
    """List the rules, and where each comes from."""
    found = Api(url).ask("GET", "rules")
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    rows = [
        (each["name"], "yes" if each["holds"] else "no", each["source"], _plain(each["problem"] or each.get("meaning", "")))
        for each in found["rules"]
    ]  # fmt: skip
    _table(("Rule", "Holds", "From", "When"), rows, "There are no rules.")


@alerts.command(epilog="Example: stagelight alerts history --json | jq '.changes[0]'")
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@url_option
@json_option
def history(limit: int, url: str, as_json: bool) -> None:
    """List what happened to alerts, newest first."""
    found = Api(url).ask("GET", "history", limit=limit)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    rows = [
        (_ago(each["at"]), each["what"], _plain(each["alert"]["notes"].get("summary", "")))
        for each in found["changes"]
    ]
    _table(("When", "What", "Alert"), rows, "Nothing has happened yet.")


@alerts.command(epilog="Example: stagelight alerts deliveries --state failed")
@click.option(
    "--state", default="waiting,failed", show_default=True, help="waiting, sent, failed; with commas between."
)
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@url_option
@json_option
def deliveries(state: str, limit: int, url: str, as_json: bool) -> None:
    """List messages and how their delivery stands."""
    found = Api(url).ask("GET", "deliveries", state=state, limit=limit)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    rows = [
        (each["state"], each["receiver"], str(each["tries"]), _ago(each["created"]), each["id"], _plain(each["problem"] or each["title"]))
        for each in found["deliveries"]
    ]  # fmt: skip
    _table(("State", "Receiver", "Tries", "Made", "Id", "What"), rows, "Every message was delivered.")


@alerts.command(epilog="Example: stagelight alerts retry msg_5f0c7a1b2d3e4f5061728394")
@click.argument("delivery_id")
@url_option
@json_option
def retry(delivery_id: str, url: str, as_json: bool) -> None:
    """Try a delivery again now."""
    found = Api(url).ask("POST", "deliveries", delivery_id, "retry")
    click.echo(json.dumps(found) if as_json else f"{delivery_id} is tried again.")


@alerts.command(epilog="Example: stagelight alerts preview --receiver slack --rule slow-step")
@click.option("--receiver", help="The first one by default.")
@click.option("--rule", help="The first one by default.")
@url_option
@json_option
def preview(receiver: str | None, rule: str | None, url: str, as_json: bool) -> None:
    """Print what a receiver would be sent, without sending it."""
    query = {key: value for key, value in (("receiver", receiver), ("rule", rule)) if value}
    found = Api(url).ask("GET", "preview", **query)
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        click.echo(found.get("text") or json.dumps(found["body"], indent=2, ensure_ascii=False))


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]], nothing: str) -> None:
    if not rows:
        click.echo(nothing, err=True)
        return
    widths = [max(len(cell) for cell in column) for column in zip(headers, *rows, strict=True)]
    for row in (headers, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _plain(text: str) -> str:
    """Return text that cannot move the cursor."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _ago(moment: float) -> str:
    return f"{said(max(0.0, time.time() - moment))} ago"
