"""Parsers that other plugins give: which there are, how a child process finds them, and what they may answer."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from stagelight_plugins.diagram import model

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Parser: TypeAlias = Callable[[bytes, str], Any]


def others(gathered: Iterable[tuple[str, Mapping[str, Parser]]]) -> dict[str, Parser]:
    """Return what plugins answered to `register_parsers`, by suffix, without what is our own."""
    return {
        suffix: parser
        for _, answer in gathered
        for suffix, parser in answer.items()
        if parser.__module__ != "stagelight_plugins.diagram.parse"
    }


def named(parser: Parser) -> str:
    """Return by what name another process finds a parser: `module:function`."""
    return f"{parser.__module__}:{parser.__qualname__}"


def found(name: str) -> Parser:
    """Return the parser of a name."""
    module, _, function = name.partition(":")
    parser: Parser = getattr(importlib.import_module(module), function)
    return parser


def asked(parser: Parser, source: bytes, path: str) -> dict[str, Any]:
    """Return what a parser finds in a source; what it raises is an answer, too."""
    try:
        answer = parser(source, path)
    except Exception as error:  # noqa: BLE001 - as with our own, whatever the source
        return model.failure(f"{path}: the parser {named(parser)} failed: {type(error).__name__}: {error}")
    if not isinstance(answer, dict) or "success" not in answer:
        return model.failure(f"{path}: the parser {named(parser)} returned no diagrams")
    return {"v": 1, "workflows": [], "error": "", **answer}
