"""The life of a process: its end, its forks, and collectors that are of no use."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.agent.conftest import Program, Sink

ETL = """
import sys
import stagelight

@stagelight.step
def load(rows):
    return rows * 2

@stagelight.workflow
def etl():
    with stagelight.step("extract"):
        pass
    return load(21)

print(etl())
sys.exit(7)
"""
LONGEST_EXIT = 12.0
"""Seconds for a whole process with an exit of five at most; generous, for machines under load."""

Serve = Callable[[Callable[[socket.socket], None]], str]


@pytest.fixture
def serve() -> Generator[Serve]:
    """Return what serves every connection with a function, in threads of their own, and gives the URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(talk: Callable[[socket.socket], None]) -> str:
        def one(connection: socket.socket) -> None:
            with connection:
                try:
                    talk(connection)
                except OSError:
                    return

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connections.append(connection)
                threads.append(threading.Thread(target=one, args=(connection,)))
                threads[-1].start()

        threads.append(threading.Thread(target=accept))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for connection in connections:
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue
    for thread in threads:
        thread.join(10)


def _until_closed(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def _black_hole(connection: socket.socket) -> None:
    _until_closed(connection)


def _garbage(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"\x16\x03\x01\x00\xa5 what is this\r\n\r\n\x00\xff" * 20)


def _cut(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")


def _drip(connection: socket.socket) -> None:
    connection.recv(65536)
    for byte in b"HTTP/1.1 200 OK\r\n" + b"X-Slow: " + b"a" * 1000:
        connection.sendall(bytes([byte]))
        if select.select([connection], [], [], 1.0)[0] and not connection.recv(65536):
            return


@pytest.mark.parametrize("talk", [_black_hole, _garbage, _cut, _drip])
def test_a_collector_of_no_use_changes_nothing_and_holds_nobody_up(
    talk: Callable[[socket.socket], None], serve: Serve, program: Program
) -> None:
    started = time.monotonic()
    done = program(ETL, check=False, OTEL_EXPORTER_OTLP_ENDPOINT=serve(talk))
    assert (done.returncode, done.stdout) == (7, "42\n")
    assert time.monotonic() - started < LONGEST_EXIT
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("status", [500, 503])
def test_a_collector_that_refuses_changes_nothing(status: int, sink: Sink, program: Program) -> None:
    sink.answer = lambda _path: (status, {"Retry-After": "30"}, b"")
    done = program(ETL, check=False, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url)
    assert (done.returncode, done.stdout) == (7, "42\n")
    assert "Traceback" not in done.stderr


def test_no_collector_at_all_is_said_in_one_line(program: Program) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    done = program(ETL, check=False, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}")
    assert (done.returncode, done.stdout) == (7, "42\n")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("stagelight: 6 records were not delivered")


def test_everything_is_sent_before_a_short_program_ends(sink: Sink, program: Program) -> None:
    done = program(ETL, check=False, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url)
    assert (done.returncode, done.stdout, done.stderr) == (7, "42\n", "")
    assert sorted(sink.names()) == ["etl", "extract", "load"]
    assert len(sink.logs) == 3


def test_a_disabled_sdk_does_nothing_at_all(sink: Sink, program: Program) -> None:
    code = ETL.replace("print(etl())", "print(etl()); import threading; print(threading.active_count())")
    done = program(code, check=False, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, OTEL_SDK_DISABLED="true")
    assert (done.returncode, done.stdout, done.stderr) == (7, "42\n1\n", "")
    assert sink.requests == []


def test_importing_the_door_and_the_contracts_loads_no_opentelemetry(program: Program) -> None:
    code = """
import sys, stagelight, stagelight.events, stagelight.conventions, stagelight.testing, stagelight.launcher
print([name for name in sys.modules if name.startswith("opentelemetry")])
print(stagelight.__version__, sorted({*dir(stagelight)} - {*stagelight.__all__}))
print(all(hasattr(stagelight, name) for name in dir(stagelight)))
"""
    assert program(code).stdout == "[]\n0.1.0 ['log', 'set']\nTrue\n"


def test_the_service_is_named_after_the_script_unless_it_is_named(sink: Sink, program: Program) -> None:
    program(ETL, check=False, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url)
    program(ETL, check=False, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, OTEL_SERVICE_NAME="billing")
    bodies = [request.body for request in sink.requests if request.path == "/v1/traces"]
    assert b"\x12\x05\n\x03app" in bodies[0]
    assert b"\x12\t\n\x07billing" in bodies[-1]


def test_what_was_flushed_survives_a_kill(sink: Sink, environ: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(
        "import signal, stagelight\n"
        "with stagelight.workflow('w'), stagelight.step('endless') as step:\n"
        "    step.progress(1, 2)\n"
        "    signal.pause()\n"
    )
    env = environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url}
    with subprocess.Popen([sys.executable, str(script)], env=env) as running:
        sink.wait_for(lambda: len(sink.logs) == 3)
        running.send_signal(signal.SIGKILL)
        assert running.wait(10) == -signal.SIGKILL
    assert [record.event_name for record in sink.logs] == [
        "workflow.run_started",
        "workflow.step_started",
        "workflow.progress",
    ]
    assert sink.spans == []


def test_sigterm_is_left_alone(sink: Sink, environ: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "stopped.py"
    script.write_text("import signal, stagelight\nwith stagelight.workflow('w'):\n    signal.pause()\n")
    env = environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url}
    with subprocess.Popen([sys.executable, str(script)], env=env) as running:
        sink.wait_for(lambda: bool(sink.logs))
        running.terminate()
        assert running.wait(10) == -signal.SIGTERM


FORK = """
import os, stagelight

@stagelight.step
def child(number):
    return number

with stagelight.workflow("w"):
    for number in range(3):
        if os.fork() == 0:
            child(number)
            stagelight.flush()
            os._exit(0)
        os.wait()
    child(99)
"""


def test_forked_children_send_their_own_and_nothing_twice(sink: Sink, program: Program) -> None:
    program(FORK, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url)
    assert sorted(sink.names()) == ["child"] * 4 + ["w"]
    assert len({span.span_id for span in sink.spans}) == 5
    assert len({span.trace_id for span in sink.spans}) == 1
    assert len(sink.events("run_started")) == 1
    assert len(sink.events("step_started")) == 4


MULTIPROCESSING = """
import multiprocessing, sys, stagelight
from concurrent.futures import ProcessPoolExecutor

@stagelight.step
def child(number):
    return number

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with stagelight.workflow("w"):
        process = context.Process(target=child, args=(1,))
        process.start()
        process.join()
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            assert list(pool.map(child, [2, 3])) == [2, 3]
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing_send_what_they_have(method: str, sink: Sink, program: Program) -> None:
    program(MULTIPROCESSING, method, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url)
    sink.wait_for(lambda: len(sink.spans) == 4)
    assert sorted(sink.names()) == ["child"] * 3 + ["w"]


FORKS_UNDER_LOAD = """
import os, threading, stagelight

stop = threading.Event()

def load():
    while not stop.is_set():
        with stagelight.step("busy") as step:
            step.log("line")

with stagelight.workflow("w"):
    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(200):
        pid = os.fork()
        if pid == 0:
            with stagelight.step("forked"):
                pass
            os._exit(0 if number % 20 or stagelight.flush(20) else 1)
        assert os.waitpid(pid, 0)[1] == 0
    stop.set()
    for thread in threads:
        thread.join()
"""


def test_two_hundred_forks_under_load_neither_hang_nor_send_twice(sink: Sink, program: Program) -> None:
    program(FORKS_UNDER_LOAD, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url)
    ids = [span.span_id for span in sink.spans]
    assert len(ids) == len(set(ids))
    assert sink.names().count("forked") >= 10


def test_a_process_that_is_full_of_records_leaves_within_its_bound(sink: Sink, program: Program) -> None:
    code = """
import stagelight
with stagelight.workflow("w"):
    for _ in range(5000):
        with stagelight.step("s"):
            pass
    print(stagelight.stats().dropped)
"""
    done = program(code, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, OTEL_BSP_MAX_QUEUE_SIZE="20000")
    assert done.stdout == "0\n"
    assert len(sink.spans) == 5001


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the resident size from /proc")
def test_hostile_values_neither_raise_nor_grow_the_process(sink: Sink, program: Program) -> None:
    code = """
import stagelight

class Raises:
    def __repr__(self): raise RuntimeError("no")
    __str__ = __repr__
class Lies(str):
    def __len__(self): raise RuntimeError
    def isascii(self): raise RuntimeError
class Liar:
    @property
    def __class__(self): raise RuntimeError
cyclic = []
cyclic.append(cyclic)
values = {"a": "x" * 10_000_000, "b": Raises(), "c": cyclic, "d": float("nan"), "e": "\\ud800", "f": 10 ** 5000,
    "g": Lies("ok"), "h": Liar(), "i": [Raises()], "j": -2 ** 63 - 1, "k": list(range(10 ** 6)), "l": b"x" * 10 ** 7,
    "m": {"a": Raises()}, "n": object, "o": True, "p": [1, "a", None], "q": ["x" * 10 ** 6] * 3}

def size():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])

with stagelight.workflow("w") as run:
    before = size()
    for _ in range(20):
        with stagelight.step("s") as step:
            step.set(values)
            step.set({f"k{n}": n for n in range(10_000)})
            step.set({Raises(): 1, 5: 2, "": 3, "workflow.status": "mine"})
            step.log(Raises(), Raises(), **{"x": Raises()})
            step.progress(Raises(), "a", Raises())
            step.progress(float("inf"), 10 ** 400, "ok")
    grown = size() - before
    assert stagelight.flush(30)
print(grown // 1024, stagelight.stats().faults > 0)
assert grown < 64 * 1024, grown
"""
    done = program(code, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url)
    assert done.stdout.endswith("True\n")
    assert "Traceback" not in done.stderr
    assert sink.names().count("s") == 20
    assert os.getpid()


def test_the_worker_imports_nothing_so_that_a_fork_finds_no_import_half_done(
    sink: Sink, program: Program
) -> None:
    code = """
import sys, threading, stagelight, stagelight.recording
stagelight.configure()
before = set(sys.modules)
with stagelight.workflow("w"):
    try:
        with stagelight.step("s") as step:
            step.log("x", a=object())
            raise ValueError
    except ValueError:
        pass
assert stagelight.flush()
print(sorted(set(sys.modules) - before))
"""
    sink.answer = lambda _path: (503, {"Retry-After": "0"}, b"") if not sink.requests else (200, {}, b"x")
    url = sink.url.replace("127.0.0.1", "localhost")
    assert program(code, OTEL_EXPORTER_OTLP_ENDPOINT=url, STAGELIGHT_SOURCE="on").stdout == "[]\n"
    assert sink.events("source")
