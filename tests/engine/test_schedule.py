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


def test_the_next_poll_comes_shortly_after_the_next_upload_is_expected() -> None:
    expected = NOW + timedelta(minutes=10, seconds=60)
    assert RHYTHM.next_poll(NOW, uploads(50, 110, 170, 230)) == expected


def test_it_is_never_sooner_than_poll_min_nor_later_than_poll_max() -> None:
    assert RHYTHM.next_poll(NOW, uploads(1, 2, 3, 4)) == NOW + timedelta(seconds=300)
    assert RHYTHM.next_poll(NOW, uploads(1, 601, 1201)) == NOW + timedelta(seconds=1500)


def test_without_a_known_rhythm_it_looks_often() -> None:
    assert RHYTHM.next_poll(NOW, uploads(30)) == NOW + timedelta(seconds=300)


def test_a_phone_that_has_gone_quiet_is_looked_for_at_the_slowest_pace() -> None:
    assert RHYTHM.next_poll(NOW, uploads(500, 560, 620)) == NOW + timedelta(seconds=1500)


def test_upload_times_in_the_future_are_not_believed() -> None:
    bogus = [NOW + timedelta(days=400)]
    assert RHYTHM.next_poll(NOW, [*uploads(50, 110, 170), *bogus]) == NOW + timedelta(minutes=10, seconds=60)


@pytest.mark.parametrize(("failures", "least", "most"), [(1, 22, 38), (2, 45, 75), (5, 360, 600), (40, 1350, 2250)])
def test_back_off_doubles_from_half_a_minute_to_half_an_hour(failures: int, least: float, most: float) -> None:
    assert least <= backoff_s(failures, after_s=None, rng=random.Random(1)) <= most


def test_what_the_other_side_asks_for_is_the_least() -> None:
    assert backoff_s(1, after_s=120.0, rng=random.Random(1)) >= 120.0


def test_a_block_grows_when_it_continues() -> None:
    rng = random.Random(1)
    waits = [backoff_s(failures, after_s=1800.0, rng=rng) for failures in (1, 2, 3, 20)]
    assert waits == sorted(waits)
    assert 1800 <= waits[0] < 2300
    assert waits[-1] >= LONGEST_ASKED_WAIT_S


def test_what_only_a_new_release_can_fix_is_asked_again_about_hourly() -> None:
    rng = random.Random(1)
    assert all(3600 <= backoff_s(failures, after_s=3600.0, rng=rng, grows=False) <= 3960 for failures in (1, 5, 50))
