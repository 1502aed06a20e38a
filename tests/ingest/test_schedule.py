"""The learned upload rhythm."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from tconnectsync.ingest.schedule import PollSchedule

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
