"""Redaction: what looks like a secret stays home.

Two rules. A value whose key names a secret is replaced whole; in any text, what looks like a credential is cut out.
Standard library only.
"""

from __future__ import annotations

import re
from functools import lru_cache, partial
from itertools import pairwise
from typing import Final

REDACTED: Final = "[redacted]"

_SECRET_WORDS: Final = frozenset(
    [
        "apikey",
        "auth",
        "authorization",
        "bearer",
        "cookie",
        "cookies",
        "credential",
        "credentials",
        "csrf",
        "cvc",
        "cvv",
        "jwt",
        "passphrase",
        "passwd",
        "password",
        "passwords",
        "pwd",
        "secret",
        "secrets",
        "ssn",
        "token",
        "xsrf",
    ]
)
_SECRET_PAIRS: Final = frozenset(
    {
        ("access", "key"),
        ("api", "key"),
        ("card", "number"),
        ("encryption", "key"),
        ("private", "key"),
        ("session", "id"),
        ("signing", "key"),
        ("ssh", "key"),
    }
)
_SECRET_ENDS: Final = ("password", "passwd", "secret", "apikey", "token", "cookie")
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_TELLING: Final = (
    r"(?i)((?:passw(?:or)?d|pwd|passphrase|secret|token|api[-_ ]?key|access[-_]?key|private[-_]?key"
    r"|authorization|cookie|credentials?)(?!s\b)[\w.-]{0,32}[\"']?"
)
_NAMED: Final = re.compile(
    _TELLING + r"\s{0,4}(?:=>|[=:])\s{0,4})(?!\[redacted\])(\"[^\"]*\"|'[^']*'|[^\s,;&)}\]\"']+)"
)
_ASSIGNED: Final = re.compile(
    _TELLING
    + r"\]?(?:\s{0,4}:\s{0,4}[\w.]{1,40})?\s{0,4}[=:]\s{0,4}[rbufRBUF]{0,2})(?:\"(?!\"\")[^\"\n]*\"|'(?!'')[^'\n]*')"
)
"""In code: a name or key that says secret, and the string that is given to it."""
_RULES: Final = (
    (
        re.compile(
            r"-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----.{0,8192}?"
            # One that never ends reaches to the next, so that nothing is read twice.
            r"(?:-----END [A-Z ]{0,32}PRIVATE KEY-----|(?=-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----)|\Z)",
            re.DOTALL,
        ),
        REDACTED,
    ),
    (re.compile(r"(?i)\b(bearer)\s{1,4}[A-Za-z0-9._~+/=-]{8,}"), rf"\1 {REDACTED}"),
    # Something other than small letters in it, so that "basic training" is not a credential.
    (re.compile(r"\b((?i:basic|digest))\s{1,4}(?=[a-z]*[^a-z\s])[A-Za-z0-9._~+/=-]{8,}"), rf"\1 {REDACTED}"),
    (re.compile(r"(://)[^/\s@]{1,256}@"), rf"\1{REDACTED}@"),
    (_NAMED, rf"\1{REDACTED}"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?"), REDACTED),
    (
        re.compile(
            r"\b(?:(?:sk|pk|rk|whsec)[-_][A-Za-z0-9_-]{16,}|gh[oprsu]_[A-Za-z0-9]{20,}|github_pat_\w{20,}"
            r"|glpat-[\w-]{16,}|(?:AKIA|ASIA)[0-9A-Z]{16}|xox[abeprs]-[A-Za-z0-9-]{10,}|AIza[\w-]{30,})"
        ),
        REDACTED,
    ),
)


@lru_cache(maxsize=1024)
def is_secret(key: str) -> bool:
    """Say whether a key names a secret (`db.password`, `X-Api-Key`, `sessionId`), by its words."""
    words = [word.lower() for word in _WORD.findall(key[:256])]
    return (
        not _SECRET_WORDS.isdisjoint(words)
        or not _SECRET_PAIRS.isdisjoint(pairwise(words))
        or any(word.endswith(_SECRET_ENDS) for word in words)
    )


def redact_source(code: str) -> str:
    """Return program text without what looks like a credential: only strings change, and no line moves."""
    code = _ASSIGNED.sub(rf'\1"{REDACTED}"', code)
    for pattern, replacement in _RULES:
        if pattern is not _NAMED:
            code = pattern.sub(partial(_in_place, replacement), code)
    return code


def _in_place(replacement: str, found: re.Match[str]) -> str:
    return found.expand(replacement) + "\n" * found[0].count("\n")


def redact(text: str) -> str:
    """Return the text without what looks like a credential. Linear in the length of the text."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text
