"""Apps as users have them: with decorators, with threads, with no code change at all."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp

    from .processes import CollectorProcess, Finished

    RunProgram = Callable[..., Awaitable[Finished]]

ASYNCIO: Final = """
import asyncio, stagelight

@stagelight.step
async def fetch(name):
    await asyncio.sleep(0)
    if name == "c":
        raise LookupError("no c")
    return name

@stagelight.workflow(name="gather")
async def main():
    found = await asyncio.gather(*(fetch(name) for name in "abc"), return_exceptions=True)
    stagelight.set(found=len(found))
    print([type(item).__name__ for item in found])

asyncio.run(main())
"""

THREADED: Final = """
import threading, stagelight
from concurrent.futures import ThreadPoolExecutor

@stagelight.step
def work(number):
    with stagelight.step("inner"):
        return number * 2

@stagelight.workflow(name="threads")
def main():
    with ThreadPoolExecutor(4) as pool:
        print(sum(pool.map(work, range(8))))
    thread = threading.Thread(target=work, args=(9,))
    thread.start()
    thread.join()

main()
"""

PLAIN: Final = '''
"""An app that knows nothing of us."""
import sys

def load(path):
    return len(path)

def store(number):
    if number > 3:
        raise ValueError(f"{number} is too many")

def main():
    for path in ("abc", "abcd"):
        store(load(path))

if __name__ == "__main__":
    main()
'''


async def only_run(session: aiohttp.ClientSession, collector: CollectorProcess) -> dict[str, Any]:
    """Return the one run that there is, with its steps."""
    async with session.get(f"{collector.url}/api/v1/runs") as response:
        (run,) = (await response.json())["runs"]
    async with session.get(f"{collector.url}/api/v1/runs/{run['id']}") as response:
        return dict(await response.json())


def agent(collector: CollectorProcess) -> dict[str, str]:
    """Return the environment that points the agent at a collector."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}


async def test_an_asyncio_script(
    run_program: RunProgram, collector: CollectorProcess, session: aiohttp.ClientSession
) -> None:
    finished = await run_program(ASYNCIO, **agent(collector))
    snapshot = await only_run(session, collector)

    assert finished.stdout == "['str', 'str', 'LookupError']\n"
    assert (snapshot["run"]["workflow"], snapshot["run"]["status"]) == ("gather", "completed")
    assert snapshot["run"]["attributes"]["found"] == 3
    assert sorted(step["status"] for step in snapshot["steps"]) == ["completed", "completed", "failed"]
    assert [step["error"]["message"] for step in snapshot["steps"] if step["error"]] == ["no c"]


async def test_a_threaded_script(
    run_program: RunProgram, collector: CollectorProcess, session: aiohttp.ClientSession
) -> None:
    finished = await run_program(THREADED, **agent(collector))
    snapshot = await only_run(session, collector)
    steps = {step["id"]: step for step in snapshot["steps"]}
    inner = [step for step in steps.values() if step["name"] == "inner"]

    assert finished.stdout == "56\n"
    assert len(steps) == 18
    assert {steps[step["parent_id"]]["name"] for step in inner} == {"work"}
    assert snapshot["run"]["steps"]["completed"] == 18


async def test_a_script_with_no_code_change(
    run_program: RunProgram, collector: CollectorProcess, session: aiohttp.ClientSession
) -> None:
    run = (sys.executable, "-m", "stagelight_collector", "run", "--endpoint", collector.url)
    command = (*run, "--step", "__main__:*", sys.executable)
    plain = await run_program(PLAIN)
    finished = await run_program(PLAIN, *command)
    snapshot = await only_run(session, collector)

    assert (finished.code, finished.stdout) == (plain.code, plain.stdout)
    assert finished.stderr.splitlines()[-1] == plain.stderr.splitlines()[-1] == "ValueError: 4 is too many"
    assert snapshot["run"]["status"] == "failed"
    assert snapshot["run"]["error"]["message"] == "4 is too many"
    names = [step["name"] for step in snapshot["steps"]]
    assert names == ["main", "load", "store", "load", "store"]


@pytest.mark.parametrize("source", [ASYNCIO, THREADED], ids=["asyncio", "threads"])
async def test_an_app_runs_the_same_without_a_collector(run_program: RunProgram, source: str) -> None:
    finished = await run_program(source, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")

    assert finished.code == 0
    assert "Traceback" not in finished.stderr
