"""One kept connection, and one deadline for the whole of a request."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from stagelight.transport import PlainTransport, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from tests.agent.conftest import Sink

YES = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "netrc"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@contextlib.contextmanager
def serving(answer: Callable[[socket.socket], None]) -> Generator[str]:
    """Serve connections one after another; `answer` is called with each after its first bytes were read."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.settimeout(10)
                with connection, contextlib.suppress(OSError):
                    connection.recv(65536)
                    answer(connection)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1/logs"
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(20)
    assert not thread.is_alive()


def opened(url: str) -> PlainTransport:
    """Return a transport to the URL."""
    transport = plain(url)
    assert transport is not None
    return transport


@pytest.mark.parametrize(
    "prefix", [b"", YES[:-4] + b"\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"]
)
def test_an_answer_that_drips_byte_by_byte_is_given_up_at_the_deadline(prefix: bytes) -> None:
    is_over = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(prefix)
        for _ in range(500):
            if is_over.wait(0.01):
                return
            connection.sendall(b"x")

    with serving(drip) as url:
        transport = opened(url)
        try:
            result = transport.request("POST", url, headers={}, timeout=0.2, data=b"1")
        finally:
            is_over.set()
            transport.close()
    assert result.status_code is None
    assert isinstance(result.error, TimeoutError)


def test_a_connection_that_the_collector_closed_meanwhile_is_made_again() -> None:
    with serving(lambda connection: connection.sendall(YES)) as url:
        transport = opened(url)
        for _ in range(3):
            result = transport.request("POST", url, headers={}, timeout=10, data=b"1")
            assert (result.status_code, result.error) == (200, None)
            idle = transport._connection.sock  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # when it ends
            assert idle is None or select.select([idle], [], [], 10)[0]
        transport.close()


def test_one_connection_serves_many_requests(sink: Sink) -> None:
    transport = opened(sink.url + "/v1/logs")
    for number in range(3):
        result = transport.request("POST", "", headers={"X-Number": str(number)}, timeout=10, data=b"1")
        assert result.status_code == 200
    transport.close()
    assert [request.headers["X-Number"] for request in sink.requests] == ["0", "1", "2"]
    assert {request.path for request in sink.requests} == {"/v1/logs"}


def test_headers_of_an_answer_are_found_in_any_case(sink: Sink) -> None:
    sink.answer = lambda _path: (503, {"Retry-After": "7"}, b"later")
    transport = opened(sink.url + "/v1/logs")
    result = transport.request("POST", "", headers={}, timeout=10, data=b"1")
    transport.close()
    assert (result.status_code, result.headers().get("retry-after"), result.content()) == (503, "7", b"later")


def test_of_an_endless_answer_a_megabyte_is_read(sink: Sink) -> None:
    sink.answer = lambda _path: (200, {}, b"x" * 3_000_000)
    transport = opened(sink.url + "/v1/logs")
    sizes = [
        len(transport.request("POST", "", headers={}, timeout=10, data=b"1").content()) for _ in range(2)
    ]
    transport.close()
    assert sizes == [1024 * 1024] * 2


def test_nobody_listening_is_told_as_an_error() -> None:
    with serving(lambda _: None) as url:
        pass
    result = opened(url).request("POST", url, headers={}, timeout=1, data=b"1")
    assert isinstance(result.error, ConnectionRefusedError)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:4318/v1/logs",
        "http://user:secret@127.0.0.1:4318/v1/logs",
        "http://127.0.0.1:4318/v1/logs?token=1",
        "http://127.0.0.1:4318",
        "http://bücher.example/v1/logs",
        "http://127.0.0.1:4318/v1/logs\r\nX: y",
        "nonsense",
    ],
)
def test_whatever_is_not_plain_is_left_to_the_official_transport(url: str) -> None:
    assert plain(url) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("http_proxy", "http://proxy.example"),
        ("ALL_PROXY", "http://proxy.example"),
        ("NETRC", "/somewhere"),
        ("OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER", "theirs"),
    ],
)
def test_proxies_and_credentials_are_left_to_the_official_transport(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "http://collector.example:4318/v1/logs"
    assert plain(url) is not None
    monkeypatch.setenv(name, value)
    assert plain(url) is None


def test_a_netrc_file_is_left_to_the_official_transport(tmp_path: Path) -> None:
    assert plain("http://[::1]:4318/v1/logs") is not None
    (tmp_path / ".netrc").write_text("")
    assert plain("http://[::1]:4318/v1/logs") is None
