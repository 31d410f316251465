"""`stagelight workflows` and `stagelight instances`: the engine of the running collector, from a terminal."""

from __future__ import annotations

from typing import Any, Final

import click
import orjson

from stagelight_plugins.engine.doors.client import Client, Failed
from stagelight_plugins.engine.doors.printing import (
    becomes,
    counts,
    fault,
    kind_of,
    moment,
    print_facts,
    print_json,
    print_table,
    rollback,
    step_row,
    text,
)
from stagelight_plugins.engine.facts import APPROVAL, Status
from stagelight_plugins.options import json_option, url_option

_KINDS: Final = ["do", "sleep", "waitForEvent", "child"]
_STATUSES: Final = [str(status) for status in Status if status is not Status.UNKNOWN]

workflow_argument = click.argument("workflow")
instance_argument = click.argument("instance")


@click.group(epilog='Example: stagelight workflows trigger Onboarding \'{"name": "Ada"}\'')
def workflows() -> None:
    """List, describe and trigger workflows."""


@click.group(epilog="Example: stagelight instances describe Onboarding latest")
def instances() -> None:
    """List, describe and steer workflow instances."""


# --- workflows ----------------------------------------------------------------------------------------------------


@workflows.command("list", epilog="Example: stagelight workflows list --json | jq '.[].name'")
@url_option
@json_option
def list_workflows(url: str, as_json: bool) -> None:
    """List workflows with their instances by status."""
    found = list(Client(url).pages(most=10_000))
    if as_json:
        return print_json(found)
    if not found:
        click.echo("No workflows yet. Load some with: stagelight up --workflows flows.py", err=True)
        return None
    rows = [(one["name"], one["class_name"], counts(one), moment(one["modified_on"])) for one in found]
    return print_table(("Workflow", "Class", "Instances", "Modified"), rows)


@workflows.command("describe", epilog="Example: stagelight workflows describe Onboarding")
@workflow_argument
@url_option
@json_option
def describe_workflow(workflow: str, url: str, as_json: bool) -> None:
    """Describe a workflow."""
    found = Client(url).ask("GET", workflow)
    if as_json:
        return print_json(found)
    crons = ", ".join(f"{one['cron']} (next {moment(one['next_instance'])})" for one in found["schedules"])
    return print_facts(
        ("Workflow", found["name"]),
        ("Class", found["class_name"]),
        ("Version", found["version_id"]),
        ("Created", moment(found["created_on"])),
        ("Modified", moment(found["modified_on"])),
        ("Triggered", moment(found["triggered_on"])),
        ("Schedules", crons),
        ("Instances", counts(found)),
    )


@workflows.command("trigger", epilog='Example: stagelight workflows trigger Onboarding \'{"name": "Ada"}\'')
@workflow_argument
@click.argument("params", required=False)
@click.option("--id", "instance_id", help="The instance's id; a UUID by default.")
@url_option
@json_option
def trigger(workflow: str, params: str | None, instance_id: str | None, url: str, as_json: bool) -> None:
    """Start an instance; PARAMS is JSON."""
    body = {"params": _json("PARAMS", params), "instance_id": instance_id}
    found = Client(url).ask("POST", workflow, "instances", body=body)
    if as_json:
        return print_json(found)
    return click.echo(f"Started {found['id']}; it is {found['status']}.")


@workflows.command("delete", epilog="Example: stagelight workflows delete Onboarding --yes")
@workflow_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@url_option
@json_option
def delete_workflow(workflow: str, yes: bool, url: str, as_json: bool) -> None:
    """Forget a workflow with all its instances."""
    if not yes:
        click.confirm(f"Forget {workflow} and all its instances?", abort=True, err=True)
    found = Client(url).ask("DELETE", workflow)
    if as_json:
        return print_json(found)
    return click.echo(f"Deleted {workflow}.")


# --- instances ----------------------------------------------------------------------------------------------------


@instances.command("list", epilog="Example: stagelight instances list Onboarding --status errored")
@workflow_argument
@click.option("--status", type=click.Choice(_STATUSES), help="Only this status.")
@click.option("--oldest-first", is_flag=True, help="The oldest first, not the newest.")
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@url_option
@json_option
def list_instances(
    workflow: str, status: str | None, oldest_first: bool, limit: int, url: str, as_json: bool
) -> None:
    """List a workflow's instances."""
    direction = "asc" if oldest_first else "desc"
    found = list(Client(url).pages(workflow, "instances", most=limit, status=status, direction=direction))
    if as_json:
        return print_json(found)
    if not found:
        click.echo(f"No instances. Start one with: stagelight workflows trigger {workflow}", err=True)
        return None
    rows = [
        (one["status"], one["id"], moment(one["created_on"]), moment(one["ended_on"]), one["trigger_source"])
        for one in found
    ]
    return print_table(("Status", "Instance", "Created", "Ended", "Trigger"), rows)


@instances.command("describe", epilog="Example: stagelight instances describe Onboarding latest --json")
@workflow_argument
@instance_argument
@url_option
@json_option
def describe_instance(workflow: str, instance: str, url: str, as_json: bool) -> None:
    """Describe an instance with its steps."""
    found: dict[str, Any] = Client(url).ask("GET", workflow, "instances", instance)
    if as_json:
        return print_json(found)
    difference: dict[str, str] = found.get("difference", {})
    print_facts(
        ("Instance", found["id"]),
        ("Status", found["status"]),
        ("Trigger", found["trigger"]["source"]),
        ("Queued", moment(found["queued"])),
        ("Started", moment(found["start"])),
        ("Ended", moment(found["end"])),
        ("Params", text(found["params"])),
        ("Output", text(found["output"])),
        ("Error", fault(found["error"])),
        ("Rollback", rollback(found["rollback"])),
        ("Paused", difference.get("reason", "")),
    )
    rows = [step_row(step) for step in found["steps"] if "name" in step]
    if rows:
        click.echo()
        print_table(("Step", "Type", "State", "Attempts", "Output"), rows)
    return None


def _changing(status: str, example: str, summary: str) -> None:
    """Add a command that changes the status of an instance."""

    @instances.command(status, help=summary, epilog=f"Example: stagelight instances {status} {example}")
    @workflow_argument
    @instance_argument
    @url_option
    @json_option
    def change(workflow: str, instance: str, url: str, as_json: bool) -> None:
        _change(url, workflow, instance, {"status": status}, as_json=as_json)

    del change


_changing("pause", "Onboarding latest", "Pause an instance after its running steps.")
_changing("resume", "Onboarding latest", "Resume a paused instance.")


@instances.command("restart", epilog="Example: stagelight instances restart Onboarding latest --from charge")
@workflow_argument
@instance_argument
@click.option("--from", "step", metavar="STEP", help="Keep what was done before this step.")
@click.option("--count", type=click.IntRange(1), default=1, help="Which step of that name.")
@click.option("--type", "kind", type=click.Choice(_KINDS), help="Where several have the name.")
@url_option
@json_option
def restart(
    workflow: str, instance: str, step: str | None, count: int, kind: str | None, url: str, as_json: bool
) -> None:
    """Restart an instance, or go on from a step."""
    body: dict[str, Any] = {"status": "restart"}
    if step is not None:
        found: dict[str, Any] = {} if kind else Client(url).ask("GET", workflow, "instances", instance)
        kinds = {kind_of(one) for one in found.get("steps", ()) if one.get("name") == f"{step}-{count}"}
        only = kinds.pop() if len(kinds) == 1 else "do"
        body["from"] = {"name": step, "count": count, "type": kind or only}
    _change(url, workflow, instance, body, as_json=as_json)


@instances.command("terminate", epilog="Example: stagelight instances terminate Onboarding latest --rollback")
@workflow_argument
@instance_argument
@click.option("--rollback", is_flag=True, help="Undo what has rollback handlers first.")
@url_option
@json_option
def terminate(workflow: str, instance: str, rollback: bool, url: str, as_json: bool) -> None:
    """End an instance."""
    _change(url, workflow, instance, {"status": "terminate", "rollback": rollback}, as_json=as_json)


@instances.command("terminate-all", epilog="Example: stagelight instances terminate-all Onboarding --yes")
@workflow_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@url_option
@json_option
def terminate_all(workflow: str, yes: bool, url: str, as_json: bool) -> None:
    """End all instances of a workflow."""
    if not yes:
        click.confirm(f"Terminate all instances of {workflow}?", abort=True, err=True)
    found = Client(url).ask("POST", workflow, "instances", "terminate")
    if as_json:
        return print_json(found)
    return click.echo(f"Terminated {found['terminated']} instances of {workflow}.")


@instances.command(
    "send-event",
    epilog="Example: stagelight instances send-event Onboarding latest approval '{\"approved\": true}'",
)
@workflow_argument
@instance_argument
@click.argument("event_type")
@click.argument("payload", required=False)
@url_option
@json_option
def send_event(
    workflow: str, instance: str, event_type: str, payload: str | None, url: str, as_json: bool
) -> None:
    """Send an event; PAYLOAD is JSON."""
    body = _json("PAYLOAD", payload)
    found = Client(url).ask("POST", workflow, "instances", instance, "events", event_type, body=body)
    if as_json:
        return print_json(found)
    return click.echo(f"Sent {event_type} to {found['instanceId']}.")


def _answering(name: str, *, approved: bool, done: str, example: str, summary: str) -> None:
    """Add a command that answers an instance which waits for approval."""

    @instances.command(name, help=summary, epilog=f"Example: stagelight instances {name} {example}")
    @workflow_argument
    @instance_argument
    @click.option("--reason", default="", help="Why; the workflow is told.")
    @click.option("--metadata", help="JSON that the workflow is given.")
    @click.option("--type", "event_type", default=APPROVAL, show_default=True, help="The event it waits for.")
    @url_option
    @json_option
    def answer(
        workflow: str,
        instance: str,
        reason: str,
        metadata: str | None,
        event_type: str,
        url: str,
        as_json: bool,
    ) -> None:
        body = {"approved": approved, "reason": reason, "metadata": _json("--metadata", metadata)}
        found = Client(url).ask("POST", workflow, "instances", instance, "events", event_type, body=body)
        if as_json:
            return print_json(found)
        return click.echo(f"{done} {found['instanceId']}.")

    del answer


_answering(
    "approve",
    approved=True,
    done="Approved",
    example="Onboarding latest --reason 'she is nice'",
    summary="Say yes to an instance that waits.",
)
_answering(
    "reject",
    approved=False,
    done="Rejected",
    example="Onboarding latest --reason 'too late'",
    summary="Say no to an instance that waits.",
)


@instances.command(
    "skip", epilog="Example: stagelight instances skip Onboarding latest charge '{\"paid\": 0}'"
)
@workflow_argument
@instance_argument
@click.argument("step")
@click.argument("output", required=False)
@click.option("--count", type=click.IntRange(1), default=1, help="Which step of that name.")
@url_option
@json_option
def skip(
    workflow: str, instance: str, step: str, output: str | None, count: int, url: str, as_json: bool
) -> None:
    """Give a step this OUTPUT, which is JSON."""
    body = {"step": step, "count": count, "output": _json("OUTPUT", output)}
    found = Client(url).ask("POST", workflow, "instances", instance, "skip", body=body)
    if as_json:
        return print_json(found)
    if found["ahead"]:
        return click.echo(f"{step} of {found['id']} has not begun; when it does, this is its output.")
    return click.echo(f"Skipped {step} of {found['id']}; the instance is {found['status']}.")


@instances.command("delete", epilog="Example: stagelight instances delete Onboarding latest")
@workflow_argument
@instance_argument
@url_option
@json_option
def delete(workflow: str, instance: str, url: str, as_json: bool) -> None:
    """Forget an instance; a running one is stopped."""
    found = Client(url).ask("DELETE", workflow, "instances", instance)
    if as_json:
        return print_json(found)
    return click.echo(f"Deleted {found['id']}.")


# --- what is asked and answered ----------------------------------------------------------------------------------------------


def _change(url: str, workflow: str, instance: str, body: dict[str, Any], *, as_json: bool) -> None:
    found = Client(url).ask("PATCH", workflow, "instances", instance, "status", body=body)
    if as_json:
        return print_json(found)
    return click.echo(f"{found['id']} {becomes(found['status'])}.")


def _json(what: str, text: str | None) -> Any:
    if text is None:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Failed(f'{what} is not JSON ({error}); write it as in \'{{"name": "Ada"}}\'') from error
