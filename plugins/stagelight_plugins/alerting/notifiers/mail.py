"""Mail over SMTP, with TLS unless it is switched off. Replies of a group are one conversation."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final

from stagelight_plugins.errors import DeliveryFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stagelight_plugins.alerting.receivers import Smtp
    from stagelight_plugins.hookspecs import Notification

TIMEOUT_SECONDS: Final = 20.0


@dataclass(slots=True)
class MailNotifier:
    """Sends through one server."""

    smtp: Smtp
    to: Sequence[str]

    async def send(self, notification: Notification) -> None:
        """Hand it to the server."""
        import aiosmtplib  # noqa: PLC0415 - of the extra `alerting`

        message = mail(notification, self.smtp.sender, self.to)
        try:
            await aiosmtplib.send(message, **self._way())
        except aiosmtplib.SMTPResponseException as error:
            # 5xx: this message will never be taken. 4xx: try again.
            raise DeliveryFailed(
                f"the mail server said {error.code}: {error.message[:200]}", final=500 <= error.code < 600
            ) from error
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = {refused.code for refused in error.recipients}
            raise DeliveryFailed(
                f"the mail server refused the recipients ({', '.join(map(str, sorted(codes)))})",
                final=all(500 <= code < 600 for code in codes),
            ) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise DeliveryFailed(
                f"the mail server cannot be used: {type(error).__name__}: {error}"
            ) from error

    def _way(self) -> dict[str, Any]:
        context = ssl.create_default_context(cafile=self.smtp.ca_file and str(self.smtp.ca_file))
        password = self.smtp.password.get_secret_value() if self.smtp.password else None
        return {
            "hostname": self.smtp.host,
            "port": self.smtp.port,
            "use_tls": self.smtp.tls == "implicit",
            "start_tls": self.smtp.tls == "starttls",
            "tls_context": context if self.smtp.tls != "none" else None,
            "username": self.smtp.user or None,
            "password": password,
            "timeout": TIMEOUT_SECONDS,
        }


def mail(notification: Notification, sender: str, to: Sequence[str]) -> EmailMessage:
    """Return the mail: plain text, which every reader shows and no name can be markup in."""
    message = EmailMessage()
    message["Subject"] = " ".join(f"[{notification.status.upper()}] {notification.title}".split())[:200]
    message["From"], message["To"] = sender, ", ".join(to)
    message["Date"] = formatdate(notification.created)
    message["Message-ID"] = f"<{notification.id}@stagelight>"
    thread = f"<{hashlib.sha256(notification.group.encode()).hexdigest()[:24]}@stagelight>"
    message["References"] = message["In-Reply-To"] = thread
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("\n".join(_lines(notification)))
    return message


def _lines(notification: Notification) -> list[str]:
    lines: list[str] = []
    for alert in notification.alerts:
        over = "RESOLVED  " if alert.status == "resolved" else ""
        lines += [f"{over}{alert.annotations.get('summary', alert.labels['alertname'])}", f"  {alert.url}"]
        details = {**alert.labels, **alert.annotations}
        lines += [f"  {name}: {value}" for name, value in details.items() if name not in {"summary", "error"}]
        lines.append("")
    if notification.truncated:
        lines += [f"… and {notification.truncated} more", ""]
    lines += [f"{words}: {address}" for words, address in notification.links]
    return [*lines, f"All alerts: {notification.url}"]
