"""Receivers: who can be told, and what of their settings is a secret."""

from __future__ import annotations

import os
import re
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationInfo, field_validator

from stagelight_plugins.alerting.delivery.addresses import Network, check_url
from stagelight_plugins.alerting.delivery.signing import key_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEADER: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
STRICT: Final = ConfigDict(extra="forbid", frozen=True)


def _secret(value: object) -> SecretStr:
    """Read `env:NAME` or `file:/path`; a secret that stands in the file itself is refused."""
    match str(value).partition(":"):
        case "env", ":", name:
            found = os.environ.get(name, "")
            if not found:
                raise ValueError(f"the environment variable {name} is not set")
        case "file", ":", path:
            try:
                found = Path(path).expanduser().read_text(encoding="utf-8").strip()
            except (OSError, ValueError) as error:
                raise ValueError(f"the file {path} cannot be read") from error
        case _:
            raise ValueError(
                "a secret does not belong into this file; put it into an environment variable and write 'env:NAME', "
                "or into a file and write 'file:/path'"
            )
    return SecretStr(found)


def _address(value: object) -> SecretStr:
    """Read a URL that is a secret itself, as Slack's is: it may stand here or in the environment."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    return _secret(value) if text.startswith(("env:", "file:")) else SecretStr(text)


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else [value]


Secret = Annotated[SecretStr, BeforeValidator(_secret)]
Address = Annotated[SecretStr, BeforeValidator(_address)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(lambda value: tuple(map(_network, _list(value))))]


def _network(value: object) -> Network:
    try:
        return ip_network(str(value))
    except ValueError as error:
        raise ValueError(f"{value!r} is no address; write one such as '10.0.0.7' or '10.0.0.0/8'") from error


class _Called(BaseModel):
    """A receiver that is called over HTTP."""

    model_config = STRICT

    url: Address

    @field_validator("url")
    @classmethod
    def _can_be_called(cls, url: SecretStr, info: ValidationInfo) -> SecretStr:
        context: dict[str, Any] = info.context or {}
        check_url(url.get_secret_value(), context.get("allow", ()))
        return url

    @property
    def shown(self) -> str:
        """Where it is, without what may be a secret."""
        parts = urlsplit(self.url.get_secret_value())
        return (
            f"{parts.scheme}://{parts.netloc}/…"
            if parts.path.strip("/")
            else f"{parts.scheme}://{parts.netloc}"
        )


class Webhook(_Called):
    """Alertmanager's body, signed as Standard Webhooks says where there is a secret."""

    secret: Annotated[tuple[Secret, ...], BeforeValidator(_list)] = ()
    """The newest first; while there are two, every message carries both signatures."""
    headers: dict[str, Secret] = Field(default_factory=dict[str, SecretStr])

    @field_validator("secret")
    @classmethod
    def _is_a_key(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for secret in secrets:
            key_of(secret.get_secret_value())
        return secrets

    @field_validator("headers")
    @classmethod
    def _can_be_sent(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            if not _HEADER.fullmatch(name) or not value.get_secret_value().isprintable():
                raise ValueError("a header's name has letters, digits and '-', its value no line break")
        return headers


class Slack(_Called):
    """An incoming webhook of Slack, or of what takes the same."""


class PagerDuty(_Called):
    """Events v2."""

    url: Address = Field(default=SecretStr("https://events.pagerduty.com/v2/enqueue"), validate_default=True)
    routing_key: Secret


class Smtp(BaseModel):
    """`[alerting.smtp]`: the server that takes mail."""

    model_config = STRICT

    host: str
    port: int = Field(default=587, gt=0, lt=65536)
    tls: str = Field(default="starttls", pattern="^(starttls|implicit|none)$")
    user: str = ""
    password: Secret | None = None
    sender: str = Field(default="stagelight@localhost", alias="from")
    ca_file: Path | None = None
    """Whom to trust, where the server's certificate is of a house of your own."""

    @field_validator("ca_file")
    @classmethod
    def _is_there(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_file():
            raise ValueError(f"there is no file {path}")
        return path

    @field_validator("password")
    @classmethod
    def _is_not_sent_in_the_clear(cls, password: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if password is not None and info.data.get("tls") == "none":
            raise ValueError("a password would be sent in the clear; write tls = 'starttls'")
        return password


class Email(BaseModel):
    """Mail, through `[alerting.smtp]`."""

    model_config = STRICT

    to: Annotated[tuple[str, ...], BeforeValidator(_list)]

    @field_validator("to")
    @classmethod
    def _are_addresses(cls, to: tuple[str, ...]) -> tuple[str, ...]:
        if not to:
            raise ValueError("write at least one address, such as 'ops@example.com'")
        for each in to:
            if "@" not in each or any(letter.isspace() for letter in each):
                raise ValueError(f"{each!r} is no address; write one such as 'ops@example.com'")
        return to

    @property
    def shown(self) -> str:
        """To whom."""
        return ", ".join(self.to)


class Apprise(BaseModel):
    """Whatever Apprise can reach; its own rules hold there, not ours."""

    model_config = STRICT

    urls: Annotated[tuple[Secret, ...], BeforeValidator(_list)]

    @property
    def shown(self) -> str:
        """Nothing: an address of Apprise is a secret."""
        return "through Apprise"


class Other(BaseModel):
    """A receiver of a plugin's notifier, which checks the rest."""

    model_config = ConfigDict(extra="allow", frozen=True)

    kind: str

    @property
    def shown(self) -> str:
        """Which notifier it is."""
        return f"through {self.kind}"


Receiver = Webhook | Slack | PagerDuty | Email | Apprise | Other
TYPES: Final[Mapping[str, type[Webhook | Slack | PagerDuty | Email | Apprise]]] = {
    "webhook": Webhook, "slack": Slack, "pagerduty": PagerDuty, "email": Email, "apprise": Apprise,
}  # fmt: skip
SHORT: Final = {
    "webhook": "url",
    "slack": "url",
    "pagerduty": "routing_key",
    "email": "to",
    "apprise": "urls",
}
"""`slack = "https://…"` is a receiver called slack; this is the key that the value stands for."""
