"""How long to wait after a failure."""

from __future__ import annotations

import random

import pytest

from tconnectsync.retry.backoff import LONGEST_ASKED_WAIT_S, backoff_s


@pytest.mark.parametrize(("failures", "least", "most"), [(1, 22, 38), (2, 45, 75), (5, 360, 600), (40, 1350, 2250)])
def test_backoff_doubles(failures: int, least: float, most: float) -> None:
    """Back-off doubles from half a minute to half an hour."""
    assert least <= backoff_s(failures, after_s=None, rng=random.Random(1)) <= most


def test_backoff_asked_for() -> None:
    """The wait is at least what the other side asks for."""
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
