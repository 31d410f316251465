"""Garbage is not collected over what start-up made."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from stagelight_plugins import garbage

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def test_a_start_makes_much_before_it_is_looked_through_and_what_it_made_never_is() -> None:
    with garbage.starting():
        assert gc.isenabled()
        assert gc.get_threshold()[0] == garbage.STARTING
    assert gc.get_threshold() == garbage.THRESHOLDS
    assert gc.get_freeze_count() > 0


def test_a_start_that_fails_leaves_all_as_it_was() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    with pytest.raises(OSError, match="taken"), garbage.starting():
        raise OSError("taken")
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, frozen)


@pytest.mark.parametrize("enabled", [True, False])
def test_imports_are_not_looked_through(enabled: bool) -> None:
    if not enabled:
        gc.disable()
    try:
        with garbage.left():
            assert not gc.isenabled()
        assert gc.isenabled() == enabled
    finally:
        gc.enable()
