"""Secrets: which keys name one, and what is cut out of any text."""

from __future__ import annotations

import math
import re
import time

import pytest

from stagelight.attributes import MOST_CHARACTERS
from stagelight.redaction import REDACTED, is_secret, redact


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "db.password",
        "DB_PASSWORD",
        "userPassword",
        "X-Api-Key",
        "apiKey",
        "api_key",
        "authorization",
        "Authorization",
        "cookie",
        "set-cookie",
        "access_token",
        "accessToken",
        "refreshtoken",
        "client_secret",
        "privateKey",
        "session.id",
        "credit_card_number",
        "csrf",
        "jwt",
        "dbpasswd",
    ],
)
def test_keys_that_name_secrets_are_known(key: str) -> None:
    assert is_secret(key)


@pytest.mark.parametrize(
    "key",
    [
        "rows",
        "author",
        "token_count",
        "tokens",
        "gen_ai.usage.input_tokens",
        "keyboard",
        "monkey",
        "passage",
        "session",
        "key",
        "compass",
    ],
)
def test_keys_that_do_not_are_left_alone(key: str) -> None:
    assert is_secret(key) is (key == "token_count")


SECRETS = [
    "Authorization: Bearer {}",
    "authorization=Basic {}",
    "password={}",
    "password: '{}'",
    '{{"password": "{}"}}',
    "api_key={}&page=2",
    "https://user:{}@host/path",
    "postgres://app:{}@db:5432/x",
    "token => {}",
    "client_secret='{}'",
    "Cookie: session={}",
    "key sk-live-{}",
    "ghp_{}AAAA",
    "eyJhbGciOiJIUzI1NiJ9.{}.sig",
    "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----",
]


@pytest.mark.parametrize("shape", SECRETS)
def test_secrets_in_text_are_cut_out(shape: str) -> None:
    planted = "hunter2" * 3
    assert planted not in redact("before " + shape.format(planted) + " after")


@pytest.mark.parametrize(
    "text",
    ["loaded 3 rows", "3 tokens: fine", "see https://host/path?page=2", "the author: me", "basic training"],
)
def test_plain_text_is_left_alone(text: str) -> None:
    assert redact(text) == text


def test_a_key_that_never_ends_is_cut_out_up_to_the_next_one() -> None:
    begin, end = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"
    text = f"a {begin} hunter2 {begin}\nhunter2\n{end} b {begin} hunter2"
    assert redact(text) == f"a {REDACTED}{REDACTED} b {REDACTED}"


PIECES = [
    "a.",
    "token",
    "password=",
    "://",
    "bearer ",
    "eyJ",
    "-----BEGIN PRIVATE KEY-----",
    "a",
    " ",
    "sk-",
    "x@",
    "'",
]


def cost(text: str) -> float:
    """Return the CPU seconds that redaction takes at best; what others do on this machine does not count."""
    found = math.inf
    for _ in range(5):
        before = time.thread_time()
        redact(text)
        found = min(found, time.thread_time() - before)
    return found


@pytest.mark.parametrize("piece", PIECES)
def test_redaction_is_linear_in_the_length(piece: str) -> None:
    """Four times the text is four times the work; of a quadratic expression it would be sixteen times."""
    text = piece * (MOST_CHARACTERS // len(piece))
    ratio = cost(text) / max(cost(text[: len(text) // 4]), 1e-5)
    assert ratio < 10


def test_the_measure_of_the_work_tells_quadratic_from_linear(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = re.compile("(?:a+)b")
    monkeypatch.setitem(globals(), "redact", slow.findall)
    text = "a" * 8192
    assert cost(text) / cost(text[:2048]) > 10
