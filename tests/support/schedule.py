"""In which order several workers run the tests: the long ones begin first, so that none begins when the other workers have finished."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice

LONGEST = (
    "tests/e2e/test_kill_points.py::test_killed_at_named_points",
    "tests/e2e/test_older_tconnect.py::test_tconnect_late_uploads_faults_restarts",
    "tests/fleet/test_chaos.py::test_chaos",
    "tests/e2e/test_thirty_days.py::test_thirty_days_right_once_and_restored",
    "tests/e2e/test_kills.py::test_killed_at_any_moment",
    "tests/e2e/test_kills.py::test_catch_up_resumes",
    "tests/e2e/test_adopt.py::test_adopt_on_real_nightscout",
    "tests/e2e/test_long_outage.py::test_thirty_days_without_cloud",
    "tests/e2e/test_many_cycles.py::test_late_uploads_clock_change_restarts",
    "tests/e2e/test_many_cycles.py::test_flight_and_return",
    "tests/e2e/test_older_tconnect.py::test_tconnect_thirty_days",
    "tests/e2e/test_daemon.py::test_daemon_stops_in_time",
    "tests/e2e/test_thirty_days.py::test_corrected_zone_leaves_no_stale_document",
    "tests/projection/test_projection_law.py::test_delivered_equals_one_pass",
    "tests/e2e/test_uploads.py::test_uploads_correct_zone",
    "tests/e2e/test_verify.py::test_two_machines_at_one_site",
)
"""Tests that take more than ten seconds, the longest first. Those of a file that are left out run with the rest of it."""


def longest_first(names: Sequence[str], workers: int) -> list[int]:
    """The order in which to hand these tests (``tests/a/test_b.py::test_c[…]``) to so many workers, as indexes.

    ``--dist=worksteal`` gives each worker an equal part, cut where the part before it ends. The long tests are dealt over the
    beginnings of these parts; the rest stays in its order, so that tests of one file meet the same fixtures.
    """
    rank = {name: place for place, name in enumerate(LONGEST)}
    long = sorted((at for at, name in enumerate(names) if _plain(name) in rank), key=lambda at: rank[_plain(names[at])])
    rest = (at for at, name in enumerate(names) if _plain(name) not in rank)
    return [*chain.from_iterable(_parts(long, rest, len(names), workers))]


def _parts(long: Sequence[int], rest: Iterator[int], count: int, workers: int) -> Iterator[list[int]]:
    for worker in range(workers):
        size = count // (workers - worker)
        count -= size
        first = [*long[worker::workers]]
        yield [*first, *islice(rest, max(0, size - len(first)))]
    yield [*rest]


def _plain(name: str) -> str:
    """Without the parameters."""
    return name.partition("[")[0]
