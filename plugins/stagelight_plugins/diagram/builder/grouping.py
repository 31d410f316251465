"""The finished graph: without what has no steps, and with what runs side by side in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stagelight_plugins.diagram.model import STEPS, Draft

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stagelight_plugins.diagram.builder.functions import Known

_NEVER: Final = 1 << 60


def with_steps(functions: Iterable[Known]) -> set[int]:
    """Return the ids of the functions that have a step, directly or by a call."""
    known = list(functions)
    found: set[int] = set()
    while True:
        more = {id(one) for one in known if id(one) not in found and _has_step(one.drafts, found)}
        if not more:
            return found
        found |= more


def _has_step(drafts: list[Draft], functions: set[int]) -> bool:
    for draft in drafts:
        if draft.type in STEPS or (draft.type == "function_call" and id(draft.function) in functions):
            return True
        if any(_has_step(nodes, functions) for _, nodes in draft.parts):
            return True
    return False


class Finisher:
    """Finishes the bodies of one graph.

    Args:
        functions: The ids of the functions that stay.
    """

    def __init__(self, functions: set[int]) -> None:
        self._functions = functions

    def body(self, drafts: list[Draft], *, waits: bool) -> list[Draft]:
        """Return the nodes of a function body."""
        return self._group(self._prune(drafts, followed=False, looped=False), waits=waits, within=False)

    def _prune(self, drafts: list[Draft], *, followed: bool, looped: bool) -> list[Draft]:
        kept: list[Draft] = []
        for draft in reversed(drafts):
            if draft.type in STEPS:
                on, again = followed and draft.open, looped and draft.open
                draft.parts = [
                    (key, self._prune(nodes, followed=on, looped=again)) for key, nodes in draft.parts
                ]
                kept.append(draft)
            elif draft.type == "function_call":
                if id(draft.function) in self._functions:
                    kept.append(draft)
            elif draft.type == "break":
                if followed or looped:
                    kept.append(draft)
            else:
                self._container(draft, followed=followed, looped=looped)
                if any(nodes for _, nodes in draft.parts):
                    kept.append(draft)
            followed = followed or (bool(kept) and kept[-1] is draft and draft.type != "break")
        return [part for draft in reversed(kept) for part in self._opened(draft)]

    def _container(self, draft: Draft, *, followed: bool, looped: bool) -> None:
        if draft.type == "block":
            followed = looped = False
        matters = followed or looped
        looped = looped or draft.type in {"loop", "switch"}
        draft.parts = [
            (key, self._prune(nodes, followed=followed, looped=looped)) for key, nodes in draft.parts
        ]
        _chained(draft)
        only_breaks = not any(_drawn(node) for _, nodes in draft.parts for node in nodes)
        if only_breaks and not (looped and draft.type == "if") and not (matters and _returns(draft)):
            draft.parts = [(key, []) for key, _ in draft.parts]

    def _opened(self, draft: Draft) -> list[Draft]:
        """Take a block apart that says nothing."""
        if draft.type != "block" or draft.settled != 0:
            return [draft]
        nodes = draft.parts[0][1]
        return [draft] if any(_returns(node) for node in nodes) else nodes

    def _group(self, drafts: list[Draft], *, waits: bool, within: bool) -> list[Draft]:
        groups: list[list[Draft]] = []
        until = 0
        for draft in drafts:
            if groups and _first(draft) < until:
                groups[-1].append(draft)
            else:
                groups.append([draft])
                until = 0
            until = max(until, _until(draft, waits=waits))
        found: list[Draft] = []
        for group in groups:
            found.extend(self._grouped(group, waits=waits, within=within))
        return found

    def _grouped(self, group: list[Draft], *, waits: bool, within: bool) -> list[Draft]:
        loop = len(group) == 1 and group[0].type == "loop" and _until(group[0], waits=waits) > 0
        alone = len(group) == 1 and not loop
        for draft in group:
            self._inner(draft, waits=waits, within=within or not alone or draft.type == "parallel")
            if alone and not within and draft.numbered:
                draft.starts = draft.resolves = None
        if within and loop:
            return group
        if alone:
            draft = group[0]
            return (
                draft.parts[0][1] if draft.type == "block" and not within and not _returns(draft) else group
            )
        kinds = {token.joined for draft in group for token in _tokens(draft)}
        kind = kinds.pop() if len(kinds) == 1 else ""
        nodes: list[Draft] = []
        for draft in group:
            flat = (
                draft.type == "parallel" and draft.fields["kind"] in {kind or "all", "all"} and len(group) > 1
            )
            nodes.extend(draft.parts[0][1] if flat else [_single(draft)])
        return [Draft("parallel", {"kind": kind or "all"}, [("nodes", nodes)], line=group[0].line)]

    def _inner(self, draft: Draft, *, waits: bool, within: bool) -> None:
        if draft.type == "parallel":
            for node in draft.parts[0][1]:
                self._inner(node, waits=waits, within=True)
            draft.parts = [("nodes", [_single(node) for node in draft.parts[0][1]])]
            return
        inner = within and draft.type not in STEPS
        draft.parts = [(key, self._group(nodes, waits=waits, within=inner)) for key, nodes in draft.parts]
        if draft.type == "loop" and len(draft.parts[0][1]) == 1 and draft.parts[0][1][0].type == "block":
            draft.parts = draft.parts[0][1][0].parts  # a round is what runs side by side; it needs no block


def _single(draft: Draft) -> Draft:
    """Return a block's only node instead of the block."""
    nodes = draft.parts[0][1] if draft.type == "block" else []
    return nodes[0] if len(nodes) == 1 and not _returns(draft) else draft


def _chained(draft: Draft) -> None:
    """Make an `else` that is nothing but another `if` a part of the chain."""
    while draft.type == "if" and draft.parts[-1][0] is None:
        nodes = draft.parts[-1][1]
        if len(nodes) != 1 or nodes[0].type != "if":
            return
        draft.parts = [*draft.parts[:-1], *nodes[0].parts]


def _drawn(draft: Draft) -> bool:
    return draft.type != "break" and (
        not draft.parts
        or draft.type in STEPS
        or any(_drawn(node) for _, nodes in draft.parts for node in nodes)
    )


def _returns(draft: Draft) -> bool:
    if draft.type == "break":
        return bool(draft.fields["kind"] == "return")
    return (draft.open or draft.type not in STEPS) and any(
        _returns(node) for _, nodes in draft.parts for node in nodes
    )


def _tokens(draft: Draft) -> list[Draft]:
    """Return the promises in a node that are waited for later."""
    own = [draft] if draft.settled != 0 and draft.type != "break" else []
    if draft.type in STEPS:
        return own
    return [*own, *(token for _, nodes in draft.parts for node in nodes for token in _tokens(node))]


def _until(draft: Draft, *, waits: bool) -> int:
    """Return when the last promise in a node is waited for; 0 if that is before anything else happens."""
    found = 0
    for token in _tokens(draft):
        if token is not draft and token.settled is not None and token.settled <= draft.began:
            continue
        never = _NEVER if waits else 0
        found = max(found, never if token.settled is None else token.settled)
    return found


def _first(draft: Draft) -> int:
    """Return when the first step in a node is met."""
    if draft.type in STEPS or not draft.parts:
        return _NEVER + 1 if draft.type == "break" else draft.began
    return min((_first(node) for _, nodes in draft.parts for node in nodes), default=draft.began)
