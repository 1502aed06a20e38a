"""The first sync of 1, 30 and 365 days, all on (treatments with glucose, pump events): time, requests, peak memory.

The command runs as a user types it. The simulated cloud is another process; so is the site, which is simulated (the rules of
15.0.6) for the figures, and a real Nightscout 0.12.8 over MongoDB for the 30 days again.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from measure import Ended, Row, Spread, main_of, run_python
from simulated_services import SimulatedServices, clean_environment, running_world

ALL_ON = """
[sinks.nightscout-iob]
enabled = false

[sinks.nightscout-pump-events]
alerts = true
control_modes = true
sensor_alerts = true
"""


class Promise(NamedTuple):
    """The limit for a first sync of this number of days; None: nothing is promised."""

    days: int
    wall_s: float
    cloud: int | None
    all_requests: int | None
    memory_mb: float | None


PROMISES = (Promise(1, 1.0, 10, 20, None), Promise(30, 6.0, None, 120, 60), Promise(365, 75.0, None, None, 80))


class Synced(NamedTuple):
    """A first sync into an empty data folder with the requests that it made, and a second one that finds nothing new."""

    first: Ended
    requests: dict[str, int]
    second: Ended
    second_requests: dict[str, int]


def sync_twice(
    world: SimulatedServices, days: int, *, site: tuple[str, str] | None = None, window_days: int = 28
) -> Synced:
    """Run the command as a user types it, twice."""
    found: list[tuple[Ended, dict[str, int]]] = []
    with tempfile.TemporaryDirectory() as folder:
        config = world.configure(Path(folder), history_days=days, site=site, more=ALL_ON)
        config.write_text(config.read_text().replace("history_days", f"window_days = {window_days}\nhistory_days"))
        for _ in range(2):
            before = world.counts()
            ended = run_python("tconnectsync", "--config", str(config), "sync", environment=clean_environment())
            after = world.counts()
            found.append((ended, {name: after[name] - before.get(name, 0) for name in after}))
    return Synced(*found[0], *found[1])


@contextlib.contextmanager
def real_site() -> Iterator[tuple[str, str] | None]:
    """Address and secret of a real, empty Nightscout 0.12.8; None where this machine cannot run one."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tests.support import real_servers

    try:
        programs = real_servers.find_programs(real_servers.cache_folder(os.environ))
    except real_servers.ServersMissing as error:
        print(f"no real Nightscout: {error}", file=sys.stderr)
        yield None
        return
    with tempfile.TemporaryDirectory() as folder, real_servers.running_nightscout(programs, Path(folder)) as site:
        yield site.url, site.secret


def rows(small: bool = False) -> Iterator[Row]:
    """One row for time and requests, one for memory, per length of history; then the run that finds nothing new."""
    found: list[Synced] = []
    for promise in PROMISES[: 2 if small else 3]:
        runs = 1 if small or promise.days > 100 else 5
        found = []
        for _ in range(runs):  # each in its own world, so that every one is a first sync
            with running_world(days=promise.days + 2) as world:
                found.append(sync_twice(world, promise.days))
        yield from _first(promise, found)
    idle_s, wall_s = Spread.of([each.second.cpu_s for each in found]), Spread.of([each.second.wall_s for each in found])
    asked = found[-1].second_requests
    yield Row(
        what=f"`sync` from cron with nothing new ({PROMISES[len(PROMISES) - 1 - small].days} days of history)",
        measured=f"{wall_s.text(' s', digits=2)}, {1000 * idle_s.median:.0f} ms of CPU with the process's start,"
        f" {found[-1].second.peak_mb:.0f} MB; {asked['cloud']} + {asked['site']} requests",
    )
    with running_world(days=32) as world:
        weekly = sync_twice(world, 30, window_days=7)
    yield Row(
        what="– peak memory, 30 days, with `window_days = 7`",
        must="60 MB",
        measured=f"{weekly.first.peak_mb:.0f} MB, {weekly.requests['cloud']} + {weekly.requests['site']} requests",
        met=weekly.first.peak_mb <= 60,
    )
    into_real: list[Ended] = []
    for _ in range(1 if small else 5):
        with real_site() as site:
            if site is None:
                return
            with running_world(days=32) as world:
                into_real.append(sync_twice(world, 30, site=site).first)
    spread = Spread.of([ended.wall_s for ended in into_real])
    processor_s = Spread.of([ended.cpu_s for ended in into_real]).median
    yield Row(
        what="first sync of 30 days into a real Nightscout 0.12.8",
        must="6 s",
        measured=f"{spread.text(' s', digits=2)}, of it {processor_s:.2f} s of CPU",
        limit="see the bare client below",
        met=spread.median <= 6,
    )


def _first(promise: Promise, found: list[Synced]) -> Iterator[Row]:
    spread = Spread.of([each.first.wall_s for each in found])
    memory = Spread.of([each.first.peak_mb for each in found])
    processor_s = Spread.of([each.first.cpu_s for each in found]).median
    asked, sent = found[-1].requests["cloud"], found[-1].requests["site"]
    must, met = f"{promise.wall_s:.0f} s", spread.median <= promise.wall_s
    if promise.cloud is not None and promise.all_requests is not None:
        must += f", {promise.cloud} + {promise.all_requests - promise.cloud} requests"
    elif promise.all_requests is not None:
        must += f", {promise.all_requests} requests"
    if promise.all_requests is not None:
        met &= asked + sent <= promise.all_requests
    length = "1 day" if promise.days == 1 else f"{promise.days} days"
    yield Row(
        what=f"first sync of {length}, all on ({found[-1].requests['treatments']:,} treatments)",
        must=must,
        measured=f"{spread.text(' s', digits=2)}, of it {processor_s:.2f} s of CPU; {asked} + {sent} requests",
        met=met,
    )
    yield Row(
        what=f"– peak memory, {length}",
        must="" if promise.memory_mb is None else f"{promise.memory_mb:.0f} MB",
        measured=memory.text(" MB"),
        met=None if promise.memory_mb is None else memory.median <= promise.memory_mb,
    )


if __name__ == "__main__":
    main_of(__doc__, rows)
