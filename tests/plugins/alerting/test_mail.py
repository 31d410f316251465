"""Mail, to a real SMTP server."""

from __future__ import annotations

import asyncio
import email
import ssl
import subprocess
from email.policy import default
from typing import TYPE_CHECKING, Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from stagelight_plugins.alerting.notifiers.mail import MailNotifier
from stagelight_plugins.alerting.receivers import Smtp
from stagelight_plugins.errors import DeliveryFailed

from .conftest import world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from stagelight_plugins.hookspecs import Notification


class Inbox:
    """Keeps mail; answers what the test says."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.answer = "250 OK"
        self.users: list[str] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name
        del server, session
        if self.answer.startswith("250"):
            assert isinstance(envelope.content, bytes)
            self.mails.append(email.message_from_bytes(envelope.content, policy=default))
        return self.answer

    def authenticate(
        self, _server: Any, _session: Any, _envelope: Any, mechanism: str, data: Any
    ) -> AuthResult:
        del mechanism
        assert isinstance(data, LoginPassword)
        self.users.append(data.login.decode())
        return AuthResult(success=data.password == b"open sesame", handled=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", "key", "-out", "cert"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder


@pytest.fixture
async def inbox(certificate: Path) -> AsyncIterator[tuple[Inbox, int]]:
    inbox = Inbox()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert", certificate / "key")
    loop = asyncio.get_running_loop()

    def protocol() -> SMTP:
        return SMTP(
            inbox, hostname="localhost", tls_context=context, require_starttls=True, auth_require_tls=True,
            authenticator=inbox.authenticate, loop=loop,
        )  # fmt: skip

    server = await loop.create_server(protocol, "127.0.0.1", 0)
    yield inbox, server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


def smtp(
    port: int,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
    password: str = "open sesame",  # noqa: S107 - of a server of the test's own
) -> Smtp:
    monkeypatch.setenv("SMTP_PASSWORD", password)
    return Smtp.model_validate(
        {"host": "localhost", "port": port, "user": "ops", "password": "env:SMTP_PASSWORD", "from": "alerts@example.com", "ca_file": certificate / "cert"}
    )  # fmt: skip


def message() -> Notification:
    here = world()
    here.fail(workflow="etl\r\nBcc: everybody@example.com")
    (delivery,) = here.pass_(2)
    return delivery.notification


async def test_mail_goes_out_encrypted_and_signed_in(
    inbox: tuple[Inbox, int], certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box, port = inbox
    await MailNotifier(smtp(port, certificate, monkeypatch), ["a@example.com", "b@example.com"]).send(
        message()
    )
    (mail,) = box.mails

    assert box.users == ["ops"]
    assert mail["Subject"] == "[FIRING] etl Bcc: everybody@example.com failed: ValueError: no rows"
    assert mail["To"] == "a@example.com, b@example.com"
    assert mail["Bcc"] is None
    assert "http://127.0.0.1:4318/#/runs/run-1" in mail.get_content()


async def test_a_server_that_cannot_be_trusted_gets_no_password(
    inbox: tuple[Inbox, int], certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box, port = inbox
    settings = smtp(port, certificate, monkeypatch).model_copy(update={"ca_file": None})
    with pytest.raises(DeliveryFailed, match="cannot be used"):
        await MailNotifier(settings, ["a@example.com"]).send(message())

    assert (box.users, box.mails) == ([], [])


@pytest.mark.parametrize(("answer", "final"), [("550 no such mailbox", True), ("451 come back later", False)])
async def test_what_the_server_says_decides_whether_it_is_tried_again(
    inbox: tuple[Inbox, int], certificate: Path, monkeypatch: pytest.MonkeyPatch, answer: str, final: bool
) -> None:
    box, port = inbox
    box.answer = answer
    with pytest.raises(DeliveryFailed) as failure:
        await MailNotifier(smtp(port, certificate, monkeypatch), ["a@example.com"]).send(message())

    assert (failure.value.final, box.mails) == (final, [])


async def test_a_wrong_password_and_a_closed_port_are_said_without_the_password(
    inbox: tuple[Inbox, int], certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, port = inbox
    with pytest.raises(DeliveryFailed) as refused:
        await MailNotifier(smtp(port, certificate, monkeypatch, "wrong word"), ["a@example.com"]).send(
            message()
        )
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    closed = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(DeliveryFailed, match="cannot be used"):
        await MailNotifier(smtp(closed, certificate, monkeypatch), ["a@example.com"]).send(message())

    assert "wrong word" not in str(refused.value)
