"""Attribute values and names on their way to the wire."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from stagelight.attributes import (
    CUT_MARK,
    MOST_ATTRIBUTES,
    MOST_CHARACTERS,
    clean,
    clean_attributes,
    name_text,
)
from stagelight.redaction import REDACTED


@pytest.mark.parametrize("value", ["text", True, 3, -1.5, 2**63 - 1, ["a", "b"], [1, 2], "ä € 😀"])
def test_primitives_stay_as_they_are(value: object) -> None:
    assert clean(value) == value


def test_what_is_too_long_or_too_wide_is_cut_and_marked() -> None:
    cut = clean("x" * 10_000_000)
    assert isinstance(cut, str)
    assert len(cut) == MOST_CHARACTERS + len(CUT_MARK)
    assert cut.endswith(CUT_MARK)
    assert clean(2**63) == str(2**63)
    assert clean(10**5000) == "<integer of 16610 bits>"
    assert len(clean_attributes({str(n): n for n in range(1000)})) == MOST_ATTRIBUTES
    assert len(name_text("n" * 1000)) == 256


def test_hostile_objects_become_their_type() -> None:
    class Hostile:
        def __repr__(self) -> str:
            raise RuntimeError

    assert clean(Hostile()) == "<Hostile that cannot be shown>"
    assert clean_attributes({Hostile(): 1, "workflow.status": 2, "": 3, "none": None, "a": 4}) == {
        "<Hostile that cannot be shown>": 1,
        "a": 4,
    }


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda s: st.lists(s) | st.dictionaries(st.text(), s),
    )
)
def test_any_value_can_be_said_in_utf_8(value: object) -> None:
    cleaned = clean(value)
    for item in cleaned if isinstance(cleaned, list) else [cleaned]:
        assert isinstance(item, (str, bool, int, float))
        if isinstance(item, str):
            item.encode("utf-8")


def test_secrets_are_redacted_by_key() -> None:
    assert clean_attributes({"db.password": "x", "rows": 1}) == {"db.password": REDACTED, "rows": 1}
