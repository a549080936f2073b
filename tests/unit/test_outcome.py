"""Root causes: how much of a message is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.exceptions import ActivityError, ApplicationError, RetryState

from temporal_fanout.wire.outcome import ERROR_BYTES, TYPE_BYTES, cut, root_cause


def of_activity(cause: BaseException, retry_state: RetryState | None = None) -> ActivityError:
    error = ActivityError(
        "Activity task timed out", scheduled_event_id=1, started_event_id=2, identity="", activity_type="slow",
        activity_id="1", retry_state=retry_state,
    )  # fmt: skip
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("text", "limit", "kept"),
    [
        ("", 3, ""),
        ("abc", 3, "abc"),
        ("abcd", 3, "…"),
        ("abcdef", 5, "ab…"),
        ("яяя", 6, "яяя"),
        ("яяяя", 7, "яя…"),
        ("яяяя", 6, "я…"),
        ("😀😀", 7, "😀…"),
        ("😀😀", 6, "…"),
        ("a\ud800b\ud800", 7, "a\ud800…"),
        ("\ud83d\ude00", 6, "\ud83d\ude00"),
    ],
)
def test_text_is_cut_by_its_bytes_at_a_character(text: str, limit: int, kept: str) -> None:
    """What fits stays as it is; else whole characters and an …, within the limit."""
    assert cut(text, limit) == kept


ANY_TEXT = st.text(st.characters() | st.characters(categories=["Cs"]), max_size=60)


@given(ANY_TEXT, st.integers(3, 100))
def test_what_is_cut_begins_as_the_text_does(text: str, limit: int) -> None:
    """Never more bytes than the limit, never less than a character too few, always characters of the text."""
    kept = cut(text, limit)
    size = len(kept.encode("utf-8", "surrogatepass"))
    assert size <= limit
    if kept != text:
        assert kept[-1] == "…"
        assert text.startswith(kept[:-1])
        assert size + 4 > limit or len(text) == len(kept[:-1])


@given(ANY_TEXT, st.integers(0, 300))
def test_a_root_cause_is_bounded_as_it_is_encoded(text: str, times: int) -> None:
    """Whatever an activity raises, its message and its type stay within their bytes."""
    error = of_activity(ApplicationError(text * times, type=text * times))
    ended = root_cause(error, "")
    assert len(ended.error.encode("utf-8", "surrogatepass")) <= ERROR_BYTES
    assert len(ended.type.encode("utf-8", "surrogatepass")) <= TYPE_BYTES


def test_a_message_of_cyrillic_is_cut_by_its_bytes() -> None:
    """2,000 characters of two bytes each are 4,000 bytes: half of them stay."""
    ended = root_cause(of_activity(ApplicationError("я" * 2000, type="Ж" * 2000)), "")
    assert ended.error == "я" * 998 + "…"
    assert ended.type == "Ж" * 98 + "…"
