"""The health of a source or sink, and the state of a source, as they are kept in JSON."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tconnectsync.health.states import Health, HealthState
from tconnectsync.ingest.source_state import SourceState
from tconnectsync.json_converter import CONVERTER
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.stored_values import HEALTH
from tconnectsync.retry.deadline import RememberedDeadline

NOW = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)
STATES = {"ok", "waiting", "backing_off", "refused", "changed", "halted", "braked", "damaged", "off"}
OLD_FILE = {
    "condition": {
        "state": "refused", "since": "2026-05-31T10:00:00+00:00", "message": "refused", "remedy": "Correct it.",
        "failures": 2, "not_before": "2026-06-01T13:00:00+00:00", "mark": "abc", "refusals": 2,
    },
    "last_fetch": "2026-06-01T11:00:00+00:00",
    "last_began": None,
    "next_poll": {"until": "2026-06-01T12:30:00+00:00", "set_at": "2026-06-01T12:00:00+00:00", "longest_s": 1800.0},
    "unknown_codes": {"999": 3},
    "set_aside": 1,
    "mended": {"5-9": "2026-05-30"},
    "overruled": "2026-05-01T00:00:00+00:00",
}  # fmt: skip
"""A source's file as the previous release wrote it."""


def test_words_on_disk() -> None:
    """The words that scripts and kept files use do not change."""
    assert {state.value for state in HealthState} == STATES
    assert f"{HealthState.BACKING_OFF}" == str(HealthState.BACKING_OFF) == "backing_off"


@pytest.mark.parametrize("state", HealthState)
def test_round_trip(state: HealthState) -> None:
    """Health survives a restart, and its cause is kept under its old key."""
    health = Health(state=state, since=NOW, message="m", remedy="r", failures=2, fingerprint="f", refusals=1)
    kept = json.loads(CONVERTER.dumps(health))
    assert (kept["state"], kept["mark"]) == (state.value, "f")
    assert CONVERTER.loads(json.dumps(kept), Health) == health


@pytest.mark.parametrize("text", ["", "[]", '{"state": "unheard of"}', '{"since": "yesterday"}'])
def test_unreadable_health_starts_afresh(tmp_path: Path, text: str) -> None:
    """Text that cannot be read is no reason to stop."""
    with closing(Outbox(tmp_path / "sink.sqlite")) as outbox:
        outbox.values.put_text(HEALTH.name, text)
        assert outbox.values.get(HEALTH) == Health()


def test_since_stays_while_the_state_does() -> None:
    """``since`` is the beginning of the state, not of its newest message."""
    first = Health(state=HealthState.WAITING, message="a").with_since(Health(), NOW)
    second = Health(state=HealthState.WAITING, message="b").with_since(first, NOW + timedelta(hours=1))
    third = Health().with_since(second, NOW + timedelta(hours=2))
    assert [each.since for each in (first, second, third)] == [NOW, NOW, NOW + timedelta(hours=2)]


def test_file_of_the_previous_release(tmp_path: Path) -> None:
    """A state file that the previous release wrote is read, and written again with the same keys and one more."""
    path = tmp_path / "tandem.json"
    path.write_text(json.dumps(OLD_FILE))
    state = SourceState.load(path)
    assert state.health.state is HealthState.REFUSED
    assert state.health.fingerprint == "abc"
    assert state.health.not_before is not None
    assert state.health.not_before.until == NOW + timedelta(hours=1)
    assert state.next_poll == RememberedDeadline(until=NOW + timedelta(minutes=30), set_at=NOW, longest_s=1800.0)
    assert (state.unknown_codes, state.unreadable_records) == ({"999": 3}, 1)
    assert state.refetched_until == {"5-9": "2026-05-30"}
    assert state.clock_override == "2026-05-01T00:00:00+00:00"
    state.save()
    written = json.loads(path.read_text())
    assert written.pop("gap_wait", 0) is None
    assert written.keys() == OLD_FILE.keys()
    assert {key: value for key, value in written.items() if key != "condition"} == {
        key: value for key, value in OLD_FILE.items() if key != "condition"
    }


def test_since_is_never_later_than_now() -> None:
    """If the clock was ahead when a trouble began, it counts from the moment at which the clock is right."""
    ahead = Health(state=HealthState.BACKING_OFF).with_since(Health(), NOW + timedelta(days=10))
    again = Health(state=HealthState.BACKING_OFF).with_since(ahead, NOW)
    assert again.since == NOW
    assert Health(state=HealthState.BACKING_OFF).with_since(again, NOW + timedelta(hours=5)).since == NOW
