"""Back-off and the learned upload rhythm."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone

import pytest

from tconnectsync.ingest.schedule import PollSchedule
from tconnectsync.retry.backoff import LONGEST_ASKED_WAIT_S, backoff_s

NOW = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)
RHYTHM = PollSchedule(poll_min_s=300, poll_max_s=1500)


def uploads(*minutes_ago: float) -> list[datetime]:
    return [NOW - timedelta(minutes=ago) for ago in minutes_ago]


def test_poll_after_expected_upload() -> None:
    """The next poll comes shortly after the next expected upload."""
    expected = NOW + timedelta(minutes=10, seconds=60)
    assert RHYTHM.next_poll(NOW, uploads(50, 110, 170, 230)) == expected


def test_poll_within_limits() -> None:
    """A poll is never sooner than ``poll_min`` and never later than ``poll_max``."""
    assert RHYTHM.next_poll(NOW, uploads(1, 2, 3, 4)) == NOW + timedelta(seconds=300)
    assert RHYTHM.next_poll(NOW, uploads(1, 601, 1201)) == NOW + timedelta(seconds=1500)


def test_poll_without_rhythm() -> None:
    """Without a known rhythm it polls often."""
    assert RHYTHM.next_poll(NOW, uploads(30)) == NOW + timedelta(seconds=300)


def test_poll_of_quiet_phone() -> None:
    """A phone that has gone quiet is polled for at the slowest pace."""
    assert RHYTHM.next_poll(NOW, uploads(500, 560, 620)) == NOW + timedelta(seconds=1500)


def test_upload_times_in_future() -> None:
    """Upload times in the future are not believed."""
    bogus = [NOW + timedelta(days=400)]
    assert RHYTHM.next_poll(NOW, [*uploads(50, 110, 170), *bogus]) == NOW + timedelta(minutes=10, seconds=60)


@pytest.mark.parametrize(("failures", "least", "most"), [(1, 22, 38), (2, 45, 75), (5, 360, 600), (40, 1350, 2250)])
def test_backoff_doubles(failures: int, least: float, most: float) -> None:
    """Back-off doubles from half a minute to half an hour."""
    assert least <= backoff_s(failures, after_s=None, rng=random.Random(1)) <= most


def test_backoff_asked_for() -> None:
    """A wait that the other side asks for is the least."""
    assert backoff_s(1, after_s=120.0, rng=random.Random(1)) >= 120.0


def test_backoff_grows_when_blocked() -> None:
    """The wait after a block grows if the block continues."""
    rng = random.Random(1)
    waits = [backoff_s(failures, after_s=1800.0, rng=rng) for failures in (1, 2, 3, 20)]
    assert waits == sorted(waits)
    assert 1800 <= waits[0] < 2300
    assert waits[-1] >= LONGEST_ASKED_WAIT_S


def test_backoff_needs_new_release() -> None:
    """A failure that only a new release can fix is retried about hourly."""
    rng = random.Random(1)
    assert all(3600 <= backoff_s(failures, after_s=3600.0, rng=rng, grows=False) <= 3960 for failures in (1, 5, 50))
