"""States of folds are stored whole, whichever kind of class they are, and read as an earlier build has stored them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, cast

import attrs
import msgspec
import pytest

from tconnectsync import Fold
from tconnectsync.events.pump_state import PumpState, Reported
from tconnectsync.projection.fold_runner import dump_state, load_state

AT = datetime(2026, 6, 1, 12, 30, 0, 123000, tzinfo=timezone.utc)


@attrs.frozen
class PlainState:
    """As a plugin may have it: with a private field, which msgspec alone would leave out."""

    count: int
    at: datetime
    _open: tuple[str, ...] = ()


class StructState(msgspec.Struct, frozen=True):
    """As the product has it."""

    count: int
    at: datetime | None = None


@attrs.frozen
class MixedState:
    """As a plugin may have it: a private field, and the product's own structs."""

    pump: PumpState
    _parts: tuple[StructState, ...] = ()


@attrs.frozen
class OneFold:
    """A fold with one of these states."""

    state_type: Any


def fold(state_type: Any) -> Fold[Any]:
    return cast(Fold[Any], OneFold(state_type))


@pytest.mark.parametrize(
    "state",
    [
        PlainState(1, AT, ("a", "b")),
        StructState(2, AT),
        StructState(3),
        MixedState(PumpState(iob_u=Reported(value=120.0, at=AT)), (StructState(2, AT),)),
    ],
)
def test_stored_state(state: Any) -> None:
    """What is read is what was stored."""
    assert load_state(fold(type(state)), dump_state(state)) == state


@pytest.mark.parametrize(("state_type", "zone"), [(PlainState, "+00:00"), (StructState, "+00:00"), (StructState, "Z")])
def test_state_of_an_earlier_build(state_type: Any, zone: str) -> None:
    """A time is read as both builds have written it."""
    state = load_state(fold(state_type), f'{{"count":1,"at":"2026-06-01T12:30:00.123000{zone}"}}'.encode())
    assert state == state_type(1, AT)
    assert state.at.utcoffset() == timedelta(0)
