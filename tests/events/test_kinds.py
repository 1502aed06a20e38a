"""The table of kinds, whose classes are loaded one by one, and the list of names for type checkers."""

from __future__ import annotations

import pytest

from tconnectsync import events
from tconnectsync.events import kinds, vocabulary


@pytest.mark.parametrize("name", vocabulary.__all__)
def test_name_is_the_same_everywhere(name: str) -> None:
    assert getattr(events, name) is getattr(vocabulary, name)


def test_each_class_has_one_kind() -> None:
    others = {"ACCOUNT_KINDS", "BODIES", "Body", "Event", "FACTS", "PUMP_KINDS", "WEAR_SIGNS"}
    classes = [events.BODIES[kind] for kind in events.BODIES]
    assert len(set(classes)) == len(classes) == len(events.BODIES)
    assert {body.__name__ for body in classes} == set(vocabulary.__all__) - others
    assert events.BODIES.keys() >= events.FACTS | events.ACCOUNT_KINDS | events.PUMP_KINDS | events.WEAR_SIGNS


def test_unknown_names() -> None:
    assert "no.such_kind" not in events.BODIES
    with pytest.raises(KeyError):
        events.BODIES["no.such_kind"]
    with pytest.raises(AttributeError):
        _ = events.NoSuchBody  # type: ignore[attr-defined]
    assert len(kinds.MODULE_OF_CLASS) == len(events.BODIES)


def test_former_names() -> None:
    """Names of earlier releases keep working."""
    assert getattr(events, "WEAR_MARKS") is events.WEAR_SIGNS  # noqa: B009 - type checkers know the new name only
