"""The first sync of 1, 30 and 365 days, everything on: time, requests, peak memory.

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
from world import World, clean_environment, running_world

ALL_ON = """
[sinks.nightscout-pump-events]
alerts = true
control_modes = true
sensor_alerts = true
"""


class Promise(NamedTuple):
    """What a first sync of so many days must not exceed; None: nothing promised."""

    days: int
    wall_s: float
    cloud: int | None
    all_requests: int | None
    memory_mb: float | None


PROMISES = (Promise(1, 1.0, 10, 20, None), Promise(30, 6.0, None, 120, 60), Promise(365, 75.0, None, None, 80))


def first_sync(world: World, days: int, site: tuple[str, str] | None = None) -> tuple[Ended, dict[str, int]]:
    """One first sync into an empty data folder, and the requests that it made."""
    before = world.counts()
    with tempfile.TemporaryDirectory() as folder:
        config = world.configure(Path(folder), history_days=days, site=site, more=ALL_ON)
        ended = run_python("tconnectsync", "--config", str(config), "sync", environment=clean_environment())
    after = world.counts()
    return ended, {name: after[name] - before.get(name, 0) for name in after}


@contextlib.contextmanager
def real_site() -> Iterator[tuple[str, str] | None]:
    """Address and secret of a real, empty Nightscout 0.12.8; None where this machine cannot run one."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    import real_servers

    try:
        programs = real_servers.find_programs(real_servers.cache_folder(os.environ))
    except real_servers.ServersMissing as error:
        print(f"no real Nightscout: {error}", file=sys.stderr)
        yield None
        return
    with tempfile.TemporaryDirectory() as folder, real_servers.running_nightscout(programs, Path(folder)) as site:
        yield site.url, site.secret


def rows(small: bool = False) -> Iterator[Row]:
    """One row for time and requests, one for memory, per length of history."""
    for promise in PROMISES[: 2 if small else 3]:
        days, runs = promise.days, 1 if small or promise.days > 100 else 5
        found: list[tuple[Ended, dict[str, int]]] = []
        for _ in range(runs):  # a site of its own each, so that every one is a first sync
            with running_world(days=days + 2) as world:
                found.append(first_sync(world, days))
        spread = Spread.of([ended.wall_s for ended, _ in found])
        memory = Spread.of([ended.peak_mb for ended, _ in found])
        counts = found[-1][1]
        asked, sent = counts["cloud"], counts["site"]
        must = f"{promise.wall_s:.0f} s"
        met = spread.median <= promise.wall_s
        if promise.cloud is not None and promise.all_requests is not None:
            must += f", {promise.cloud} + {promise.all_requests - promise.cloud} requests"
            met &= asked <= promise.cloud and sent <= promise.all_requests - promise.cloud
        elif promise.all_requests is not None:
            must += f", {promise.all_requests} requests"
            met &= asked + sent <= promise.all_requests
        processor_s = Spread.of([ended.cpu_s for ended, _ in found]).median
        yield Row(
            what=f"first sync of {days} day{'s' * (days > 1)}, all on ({counts['treatments']:,} treatments)",
            must=must,
            measured=f"{spread.text(' s', digits=2)}, of it {processor_s:.2f} s of CPU; {asked} + {sent} requests",
            met=met,
        )
        yield Row(
            what=f"– peak memory, {days} day{'s' * (days > 1)}",
            must="" if promise.memory_mb is None else f"{promise.memory_mb:.0f} MB",
            measured=memory.text(" MB"),
            met=None if promise.memory_mb is None else memory.median <= promise.memory_mb,
        )
    with real_site() as site:
        if site is not None:
            with running_world(days=32) as world:
                ended, _ = first_sync(world, 30, site)
            yield Row(
                what="first sync of 30 days into a real Nightscout 0.12.8",
                must="6 s",
                measured=f"{ended.wall_s:.1f} s, of it {ended.cpu_s:.1f} s of CPU",
                met=ended.wall_s <= 6,
            )


if __name__ == "__main__":
    main_of(__doc__, rows)
