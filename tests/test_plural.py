"""Counted nouns: one helper, so that no message says "1 documents", or writes 1163 beside 1,163."""

from __future__ import annotations

import pytest

from tconnectsync import counted


@pytest.mark.parametrize(
    ("number", "noun", "words"),
    [
        (0, "document", "0 documents"),
        (1, "document", "1 document"),
        (2, "entry", "2 entries"),
        (3, "day", "3 days"),
        (1_163, "bolus", "1,163 boluses"),
        (75_469, "pump event", "75,469 pump events"),
        (4, "stretch", "4 stretches"),
    ],
)
def test_counted(number: int, noun: str, words: str) -> None:
    assert counted(number, noun) == words


def test_a_verb_may_come_with_it() -> None:
    assert counted(1, "document was", "documents were") == "1 document was"
    assert counted(12_000, "document was", "documents were") == "12,000 documents were"
