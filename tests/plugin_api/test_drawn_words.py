"""The random events of the contract suites say what a pump says, so that a fold's rare branches are tried too."""

from __future__ import annotations

import pytest
from hypothesis import find, settings

from tconnectsync.testing.strategies import bodies_of

ENOUGH = settings(max_examples=5000, deadline=None)
"""A word is drawn in one of 24 examples or more."""


@pytest.mark.parametrize(
    ("kind", "field", "word"),
    [
        ("mode.changed", "mode", "exercise"),
        ("mode.changed", "previous", "eating_soon"),
        ("glucose.reading", "mark", "low"),
        ("pumping.suspended", "reason", "alarm"),
        ("alarm.raised", "name", "occlusion"),
        ("bolus.completed", "status", "user_aborted"),
    ],
)
def test_words_of_the_pump_are_drawn(kind: str, field: str, word: str) -> None:
    body = find(bodies_of([kind]), lambda drawn: bool(getattr(drawn, field) == word), settings=ENOUGH)
    assert getattr(body, field) == word
