"""Several messages become one text."""

from __future__ import annotations

import pytest

from tconnectsync.text.sentences import as_sentences


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ((), ""),
        (("", "one"), "one"),
        (("One.", "", "Two.", "three"), "One. Two. Three"),
        (("it failed (port 9)", "no current IOB"), "it failed (port 9). No current IOB"),
    ],
)
def test_as_sentences(messages: tuple[str, ...], text: str) -> None:
    assert as_sentences(*messages) == text
