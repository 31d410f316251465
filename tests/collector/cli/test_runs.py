"""`stagelight runs` against a real collector."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from stagelight_collector.cli.client import TRIES, Client, CollectorGone, NotFound

from .conftest import PATIENCE_SECONDS, Answer, Running, collecting

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    Program = Callable[[Running, str], subprocess.Popen[str]]

APP = """
import sys, stagelight

with stagelight.workflow("etl", run_id="RUN"):
    stagelight.set(colour="blue", count=3)
    with stagelight.step("outer"), stagelight.step("inner"):
        stagelight.progress(1, 3, "part")
        for number in range(12):
            stagelight.log(f"line {number}")
        sys.stdin.readline()
    END
"""
FAIL = "raise ValueError('no good ' + 'x' * 120)"


def app(run_id: str, end: str = "") -> str:
    return APP.replace("RUN", run_id).replace("END", end)


@contextmanager
def stranger(body: bytes) -> Generator[str]:
    """Another program's server."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            if body.startswith(b"data"):
                self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the library's
            del format, args

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_configuration_says_where_the_collector_is(
    stagelight: Callable[..., Answer], shared: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stagelight.toml").write_text(f"port = {shared.port}\n")
    assert stagelight("runs", "list").code == 0

    monkeypatch.setenv("STAGELIGHT_URL", "http://127.0.0.1:9")
    assert "http://127.0.0.1:9" in stagelight("runs", "list").err
    assert stagelight("runs", "list", "--url", shared.url).code == 0


def test_commands_ask_the_collector_that_the_agent_is_told_to_send_to(
    stagelight: Callable[..., Answer], shared: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAGELIGHT_ENDPOINT", shared.url)
    assert stagelight("runs", "list").code == 0


def test_the_default_address_is_told_once_in_the_help(stagelight: Callable[..., Answer]) -> None:
    text = stagelight("runs", "list", "--help").out

    assert "((" not in text
    assert "[env var: STAGELIGHT_URL]" in re.sub(r"\s+", " ", text)


def test_ids_and_errors_are_whole_in_a_pipe(
    stagelight: Callable[..., Answer], shared: Running, program: Program
) -> None:
    run_id = "long-" + "i" * 150
    program(shared, app(run_id, FAIL)).communicate("\n", PATIENCE_SECONDS)
    shared.wait_for(run_id, "failed")

    (line,) = [
        line for line in stagelight("runs", "list", "--url", shared.url).out.splitlines() if run_id in line
    ]
    assert line.endswith("ValueError: no good " + "x" * 120)


def test_runs_are_found_by_duration_error_and_attribute(
    stagelight: Callable[..., Answer], shared: Running, program: Program
) -> None:
    program(shared, app("found", FAIL)).communicate("\n", PATIENCE_SECONDS)
    shared.wait_for("found", "failed")

    def listed(*options: str) -> list[str]:
        answer = stagelight("runs", "list", "-q", "found", "--json", "--url", shared.url, *options)
        return [run["id"] for run in json.loads(answer.out)["runs"]]

    assert listed("-a", "colour=blue", "-a", "count=3", "--error", "valueerror: NO GOOD") == ["found"]
    assert listed("-a", "colour=red") == listed("--error", "other") == listed("--min-duration", "2h") == []
    assert listed("--max-duration", "1.5m") == ["found"]
    assert (
        listed("--since", "1h")
        == listed("--until", "2999-01-01", "--since", "2026-01-01T09:30Z")
        == ["found"]
    )
    assert listed("--until", "1h") == listed("--since", "2999-01-01") == []
    wrong = stagelight("runs", "list", "--since", "yesterday", "--url", shared.url)
    assert (wrong.code, "write 2h for two hours ago" in wrong.err) == (2, True)
    wrong = stagelight("runs", "list", "--min-duration", "2 hours", "--url", shared.url)
    assert (wrong.code, "write 250ms, 1.5s, 2m, 3h or 1d" in wrong.err) == (2, True)
    assert "is not key=value" in stagelight("runs", "list", "-a", "colour", "--url", shared.url).err


def test_a_page_that_is_not_the_last_says_how_to_go_on_with_what_was_asked_for(
    stagelight: Callable[..., Answer], shared: Running, program: Program
) -> None:
    for run_id in ("page-1", "page-2"):
        program(shared, app(run_id, FAIL)).communicate("\n", PATIENCE_SECONDS)
        shared.wait_for(run_id, "failed")
    asked = ("runs", "list", "-q", "page-", "-n", "1", "--url", shared.url)
    first = stagelight(*asked)
    said, _, cursor = first.err.strip().rpartition(" ")
    assert ("page-2" in first.out, said) == (True, "More: the same command with --cursor")
    second = stagelight(*asked, "--cursor", cursor)
    assert ("page-1" in second.out, "page-2" in second.out, second.err) == (True, False, "")


def test_show_tells_service_error_attributes_steps_and_the_last_log_lines(
    stagelight: Callable[..., Answer], shared: Running, program: Program
) -> None:
    program(shared, app("shown", FAIL)).communicate("\n", PATIENCE_SECONDS)
    shared.wait_for("shown", "failed")

    head, *rest = stagelight("runs", "show", "shown", "--url", shared.url).out.splitlines()
    assert re.fullmatch(r"failed etl shown · tests · [\d-]+ [\d:]+ · [\d.]+m?s", head)
    text = "\n".join(rest)
    for part in ("ValueError: no good", "colour = blue", "count = 3", "Last 10 of 12 log lines", "line 11"):
        assert part in text
    assert "line 1\n" not in text
    assert text.index("\n  completed outer") < text.index("\n    completed inner")


def test_tail_shows_nesting_and_progress_and_exits_by_the_runs_end(shared: Running, program: Program) -> None:
    process = program(shared, app("tailed", FAIL))
    shared.wait_for("tailed", "running")
    with subprocess.Popen(
        [sys.executable, "-m", "stagelight_collector", "runs", "tail", "tailed", "--url", shared.url],
        stdout=subprocess.PIPE,
        text=True,
    ) as tail:
        assert tail.stdout is not None
        lines = iter(tail.stdout.readline, "")
        assert next(line for line in lines if re.match(r"    running   inner .*  1/3 part$", line))
        process.communicate("\n", PATIENCE_SECONDS)
        *_, last = lines

    assert (tail.returncode, last[:22]) == (1, "  ValueError: no good ")


def test_tail_all_follows_every_run_in_a_pipe(shared: Running, program: Program) -> None:
    command = [sys.executable, "-m", "stagelight_collector", "runs", "tail", "--all", "--url", shared.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tail:
        assert tail.stdout is not None
        lines = iter(tail.stdout.readline, "")
        for run_id, end in (("first", ""), ("second", FAIL)):
            process = program(shared, app(run_id, end))
            assert next(line for line in lines if re.match(rf"running etl {run_id} ", line))
            process.communicate("\n", PATIENCE_SECONDS)
            status = "failed" if end else "completed"
            assert next(line for line in lines if re.match(rf"{status} etl {run_id} ", line))
        tail.terminate()


@pytest.mark.parametrize("arguments", [(), ("r1", "--all")])
def test_tail_wants_one_run_or_all(stagelight: Callable[..., Answer], arguments: tuple[str, ...]) -> None:
    answer = stagelight("runs", "tail", *arguments)

    assert (answer.code, "name one run, or follow them with --all" in answer.err) == (2, True)


def test_a_run_is_followed_over_a_restart_of_the_collector(
    own: Running, program: Program, tmp_path: Path
) -> None:
    process = program(own, app("carried"))
    own.wait_for("carried", "running")
    with ExitStack() as stack:
        kinds: list[str] = []

        def restart(_seconds: float) -> None:
            if not kinds.count("away"):
                kinds.append("away")
                stack.enter_context(collecting(tmp_path / "data", port=own.port))
                process.communicate("\n", PATIENCE_SECONDS)

        for kind, data in Client(own.url).feed("carried", sleep=restart):
            kinds.append(kind)
            if kinds == ["snapshot"]:
                own.kill()
            if data.get("run", {}).get("status") == "completed":
                break

    assert kinds.index("away") < len(kinds) - 1


def test_a_collector_that_does_not_come_back_is_said_with_exit_code_3(own: Running, program: Program) -> None:
    program(own, app("orphan"))
    own.wait_for("orphan", "running")
    pauses: list[float] = []
    feed = Client(own.url).feed("orphan", sleep=pauses.append)
    next(feed)
    own.kill()

    with pytest.raises(CollectorGone, match="went away and did not come back") as error:
        list(feed)
    assert error.value.exit_code == 3
    assert len(pauses) <= 2 * TRIES


def test_a_run_that_is_deleted_while_it_is_followed_is_said_to_be(own: Running, program: Program) -> None:
    program(own, app("doomed"))
    own.wait_for("doomed", "running")
    tail = [sys.executable, "-m", "stagelight_collector", "runs", "tail", "doomed", "--url", own.url]
    with subprocess.Popen(tail, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "doomed" in process.stdout.readline()
        assert Client(own.url).delete("api", "v1", "runs", "doomed", force=1)["deleted"]
        _, said = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 2
    assert said == ("stagelight: run 'doomed' was deleted; see which there are with `stagelight runs list`\n")


def test_a_collector_that_comes_back_without_the_run_is_not_said_to_be_away(
    own: Running, program: Program, tmp_path: Path
) -> None:
    process = program(own, app("lost"))
    own.wait_for("lost", "running")
    process.kill()  # it would tell the other collector of its run
    process.communicate()
    with ExitStack() as stack:

        def restart(_seconds: float) -> None:
            if own.process.poll() is not None and not (tmp_path / "other").exists():
                stack.enter_context(collecting(tmp_path / "other", port=own.port))

        feed = Client(own.url).feed("lost", sleep=restart)
        next(feed)
        own.kill()
        with pytest.raises(NotFound, match=r"^there is no run 'lost'; see which there are"):
            list(feed)


@pytest.mark.parametrize("command", [("list",), ("tail", "--all"), ("tail", "x")])
@pytest.mark.parametrize(
    "body", [b"<h1>It works</h1>", b"[]", b'{"hello": 1}', b"\xff", b"data: <h1>It works</h1>\n"]
)
def test_another_programs_answer_is_said_to_be_that(
    stagelight: Callable[..., Answer], body: bytes, command: tuple[str, ...]
) -> None:
    with stranger(body) as url:
        answer = stagelight("runs", *command, "--url", url)

    assert answer.code == 2
    assert answer.err.startswith(f"stagelight: what answers at {url} is not a Stagelight collector")


def test_nobody_there_is_said_with_the_remedy(stagelight: Callable[..., Answer]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    answer = stagelight("runs", "list", "--url", f"http://127.0.0.1:{port}")

    assert answer.err == (
        f"stagelight: no collector answers at http://127.0.0.1:{port}; start one with `stagelight up`\n"
    )


def test_doctor_tells_another_program_from_a_collector(
    stagelight: Callable[..., Answer], shared: Running, tmp_path: Path
) -> None:
    with stranger(b"hello") as url:
        (tmp_path / "stagelight.toml").write_text(f"port = {url.rpartition(':')[2]}\n")
        assert "is not a Stagelight collector" in stagelight("doctor").out
    (tmp_path / "stagelight.toml").write_text(f"port = {shared.port}\n")
    answer = stagelight("doctor")
    assert (answer.code, f"ok at {shared.url}" in answer.out) == (0, True), answer.out


def test_doctor_says_each_wrong_key_once(stagelight: Callable[..., Answer], tmp_path: Path) -> None:
    (tmp_path / "stagelight.toml").write_text("prot = 1\nhost = '::1'\n[agent]\nstep = ['a:b']\n")
    answer = stagelight("doctor")

    assert answer.code == 1
    assert answer.out.count("prot") == answer.out.count("step:") == 1
    assert "not running at http://[::1]:4318" in answer.out


def test_doctor_looks_at_the_data_directory(stagelight: Callable[..., Answer], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "stagelight.toml").write_text("data_dir = 'file/below'\n")

    assert re.search(r"wrong +data directory: .*file is a file; name another", stagelight("doctor").out)


def test_a_run_goes_into_a_file_and_back(
    stagelight: Callable[..., Answer], shared: Running, program: Program, tmp_path: Path
) -> None:
    process = program(shared, app("travels"))
    shared.wait_for("travels", "running")
    process.communicate("\n" * 10, timeout=30)
    file = tmp_path / "run.jsonl"

    assert stagelight("runs", "export", "travels", "-o", str(file), "--url", shared.url) == Answer(0, "", "")
    answer = stagelight("runs", "import", str(file), "--url", shared.url)
    assert (answer.code, answer.err) == (0, "")
    assert re.fullmatch(r"Imported travels: \d+ events, \d+ spans, \d+ log lines\.\n", answer.out)
    assert json.loads(file.read_text().splitlines()[0])["version"] == 1
    assert stagelight("runs", "export", "travels", "--url", shared.url).out == file.read_text()

    file.write_text("hello\n")
    answer = stagelight("runs", "import", str(file), "--url", shared.url)
    assert answer.code == 2
    assert answer.err.startswith(
        "stagelight: This is not the file of a run: line 1 of the file: it is no header"
    )
    assert len(answer.err.splitlines()) == 1

    answer = stagelight("runs", "export", "nobody", "--url", shared.url)
    assert (answer.out, "there is no run 'nobody'" in answer.err) == ("", True)
    answer = stagelight("runs", "export", "travels", "-o", "no/such/folder", "--url", shared.url)
    assert "cannot write no/such/folder (No such file or directory)" in answer.err
