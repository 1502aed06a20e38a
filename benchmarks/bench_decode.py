"""Vendor JSON to typed events, window by window, as a poll does it; beside parsing the same bytes and nothing else.

Windows of 28 days are simulated into a folder first; processes of their own then read them one by one. Nothing waits here, so
that the seconds are those of the processor: what else the machine does counts less.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date, datetime, timezone
from pathlib import Path

from measure import Row, Spread, main_of, run_python

WINDOW_DAYS = 28


def simulate_windows(folder: Path, days: int, *, start: date = date(2025, 1, 1), zone: str = "America/New_York") -> int:
    """Write one answer per window; returns how many events there are."""
    import msgspec

    from tconnectsync_simulator.pump.plan import SimulationPlan
    from tconnectsync_simulator.pump.pump import Simulation

    count, window = 0, []
    simulation = Simulation(SimulationPlan(start=start, days=days, zone=zone))
    for number, records in enumerate(simulation.days(), start=1):
        window += [msgspec.json.encode(record.entry) for record in records]
        if number % WINDOW_DAYS == 0 or number == days:
            body = b'{"events":[' + b",".join(window) + b'],"clockChanges":[]}'
            (folder / f"{number:05d}.json").write_bytes(body)
            count += len(window)
            window = []
    return count


def to_events(body: bytes) -> int:
    """What a poll does with an answer, without the log."""
    from tconnectsync_tandem.api.responses import split_answer
    from tconnectsync_tandem.decode.event_factory import make_event

    now = datetime.now(timezone.utc)
    count = 0
    for _, raw in split_answer(body, "events").entries():
        make_event(raw, pump="1", received_at=now)
        count += 1
    return count


def parse_by_json(body: bytes) -> int:
    """Parsed by the standard library."""
    return len(json.loads(body)["events"])


def parse_by_msgspec(body: bytes) -> int:
    """Parsed by msgspec."""
    import msgspec

    return len(msgspec.json.decode(body)["events"])


WAYS = {way.__name__: way for way in (to_events, parse_by_json, parse_by_msgspec)}


def read_windows(folder: Path, way: str) -> None:
    """Read every window one way; return the events and the seconds of CPU."""
    events, spent_s = 0, 0.0
    WAYS[way](b'{"events":[],"clockChanges":[]}')  # imports are no part of it
    for path in sorted(folder.iterdir()):
        body = path.read_bytes()
        begin = time.process_time()
        events += WAYS[way](body)
        spent_s += time.process_time() - begin
    print(json.dumps([events, spent_s]))


def rows(small: bool = False) -> Iterator[Row]:
    """Speed of a month, then a year."""
    with tempfile.TemporaryDirectory() as name:
        month = Path(name) / "month"
        month.mkdir()
        count = simulate_windows(month, WINDOW_DAYS)
        rates: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(2 if small else 7):
            for way, found in rates.items():  # in turns: they share what else the machine does
                events, spent_s = json.loads(run_python(__file__, str(month), way).told)
                assert events == count
                found.append(events / spent_s)
        speeds = {way: Spread.of(found) for way, found in rates.items()}
        yield Row(
            what=f"vendor JSON to typed events ({count:,} of them)",
            must="120,000 events/s",
            measured=speeds["to_events"].text(" events/s"),
            limit=f"parse alone: json {speeds['parse_by_json'].median:,.0f}, msgspec {speeds['parse_by_msgspec'].median:,.0f}",
            met=speeds["to_events"].median >= 120_000,
        )
        days = 60 if small else 365
        year = Path(name) / "year"
        year.mkdir()
        count = simulate_windows(year, days)
        runs = [run_python(__file__, str(year), "to_events") for _ in range(1 if small else 5)]
        seconds = Spread.of([json.loads(run.told)[1] for run in runs])
        memory = Spread.of([run.peak_mb for run in runs])
        yield Row(
            what=f"{days} days decoded, streamed ({count:,} events)",
            must="5 s, under 80 MB",
            measured=f"{seconds.text(' s', digits=1)}, {memory.text(' MB')}",
            met=seconds.median <= 5 and memory.median < 80,
        )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        read_windows(Path(sys.argv[1]), sys.argv[2])
    else:
        main_of(__doc__, rows)
