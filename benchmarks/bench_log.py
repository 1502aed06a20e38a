"""How fast the event log appends, reads and opens, beside what the disk and the encoder could do in the same run.

``python benchmarks/bench_log.py [--events 200000] [--years 10]`` prints a row of a Markdown table per figure.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

from tconnectsync import events
from tconnectsync.clock import SystemClock
from tconnectsync.eventlog import EventLog, check_log
from tconnectsync.eventlog.codec import Codec
from tconnectsync.eventlog.lines import frame

BATCH = 1000
EVENTS_A_DAY = 1200
BEGIN = datetime(2016, 1, 1)


def day_of_events(first: int, count: int) -> Iterator[events.Event]:
    """Events like those of a pump that is worn: basal and glucose alternate, now and then a bolus."""
    received = datetime(2026, 1, 1, tzinfo=timezone.utc)
    for seq in range(first, first + count):
        at = BEGIN + timedelta(seconds=72 * seq)
        stamp = at.isoformat()
        raw: dict[str, object] = {"sequenceNumber": seq, "sequenceGroup": 0, "pumpDateTime": stamp}
        body: object
        if seq % 2:
            kind = "basal.delivered"
            rate = 600 + seq % 700
            body = events.BasalDelivered(
                rate_u_per_h=rate / 1000,
                rate_source="algorithm",
                profile_rate_u_per_h=0.8,
                algorithm_rate_u_per_h=rate / 1000,
            )
            raw |= {
                "eventCode": 279,
                "eventProperties": {
                    "commandedRateSource": 3,
                    "commandedRate": rate,
                    "profileBasalRate": 800,
                    "algorithmRate": rate,
                    "tempRate": 65535,
                },
            }
        elif seq % 200:
            kind = "glucose.reading"
            body = events.GlucoseReading(
                mark="value", reading_time=at, glucose_mg_dl=float(80 + seq % 120), sensor="dexcom_g6"
            )
            raw |= {
                "eventCode": 256,
                "eventProperties": {"currentGlucoseDisplayValue": 80 + seq % 120, "rate": 3, "status": 0, "rssi": -60},
            }
        else:
            kind = "bolus.completed"
            body = events.BolusCompleted(bolus_id=seq % 65536, status="completed", delivered_u=2.5, requested_u=2.5)
            raw |= {"eventCode": 20, "eventProperties": {"bolusId": seq % 65536, "insulinDelivered": 2.5}}
        yield events.Event(
            id=f"tandem:1234567:0:{seq}",
            kind=kind,
            pump="1234567",
            group=0,
            seq=seq,
            pump_time=at,
            source="tandem",
            received_at=received,
            body=body,
            raw=raw,
        )


def batches(count: int) -> Iterator[Sequence[events.Event]]:
    """Batches of a thousand."""
    for first in range(1, count + 1, BATCH):
        yield list(day_of_events(first, min(BATCH, count + 1 - first)))


def row(what: str, figure: str) -> None:
    """One row of the table."""
    print(f"| {what} | {figure} |", flush=True)


def rate(count: int, seconds: float) -> str:
    """Events a second."""
    return f"{count / seconds:,.0f} events/s"


def bare_limits(folder: Path, count: int) -> None:
    """The same bytes, encoded and nothing else, and written and nothing else."""
    codec = Codec()
    encoding = writing = 0.0
    crc, position = 0, 0
    descriptor = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for batch in batches(count):
        start = time.perf_counter()
        lines = []
        for event in batch:
            position += 1
            draft = codec.draft(event)
            draft.entry.pos = position
            line, crc = frame(codec.record(draft), crc)
            lines.append(line)
        between = time.perf_counter()
        os.write(descriptor, b"".join(lines))
        os.fsync(descriptor)
        writing += time.perf_counter() - between
        encoding += between - start
    os.close(descriptor)
    row("encode and checksum alone", rate(count, encoding))
    row("write and sync the same bytes, alone", rate(count, writing))


def append_and_read(folder: Path, count: int) -> None:
    """Append, append again, read in both orders, check."""
    with EventLog.open(folder, clock=SystemClock(), writable=True) as log:
        seconds = 0.0
        for batch in batches(count):
            start = time.perf_counter()
            log.append(batch)
            seconds += time.perf_counter() - start
        row("append (encode, checksum, write, sync, index) in batches of 1,000", rate(count, seconds))
        seconds = 0.0
        for batch in batches(min(count, 50_000)):
            start = time.perf_counter()
            assert log.append(batch).duplicates == len(batch)
            seconds += time.perf_counter() - start
        row("append what is there already", rate(min(count, 50_000), seconds))
        start = time.perf_counter()
        assert sum(1 for _ in log.events()) == count
        row("decode in the log's order", rate(count, time.perf_counter() - start))
        [stream] = log.streams()
        start = time.perf_counter()
        read = sum(len(log.read(stream.id, key, key + 299)) for key in range(1, count + 1, 300))
        assert read == count
        row("read in the pump's order, 300 keys at a time", rate(count, time.perf_counter() - start))
        start = time.perf_counter()
        assert sum(1 for _ in log.touched(0)) == count
        row("touched", rate(count, time.perf_counter() - start))
        start = time.perf_counter()
        packed = log.maintain(3)
        row("compress a segment", f"{(time.perf_counter() - start) / max(packed, 1):.2f} s")
    start = time.perf_counter()
    assert all(line.good for line in check_log(folder))
    row("log check", rate(count, time.perf_counter() - start))


def ten_years(folder: Path, years: float) -> None:
    """Opening a long log, in a process of its own."""
    count = int(years * 365 * EVENTS_A_DAY) or 1
    with EventLog.open(folder, clock=SystemClock(), writable=True) as log:
        for batch in batches(count):
            log.append(batch)
        [stream] = log.streams()
        start = time.perf_counter()
        log.read(stream.id, count - 300, count)
        row(f"read the newest 300 of {count:,}", f"{(time.perf_counter() - start) * 1000:.1f} ms")
    program = (
        "import sys,time\n"
        "from pathlib import Path\n"
        "from tconnectsync.clock import SystemClock\n"
        "from tconnectsync.eventlog import EventLog\n"
        "start=time.perf_counter()\n"
        "log=EventLog.open(Path(sys.argv[1]),clock=SystemClock(),writable=True)\n"
        "seconds=time.perf_counter()-start\n"
        "status=dict(line.split(':',1) for line in open('/proc/self/status'))\n"
        "print(seconds, int(status['VmHWM'].split()[0])//1024, log.end)\n"
        "log.close()\n"
    )
    answer = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=True)
    seconds, memory, end = answer.stdout.split()
    assert int(end) == count
    row(f"open {count:,} events", f"{float(seconds) * 1000:.0f} ms, peak {memory} MB")
    for name in ("index.sqlite", "index.sqlite-wal", "index.sqlite-shm"):
        (folder / name).unlink(missing_ok=True)
    start = time.perf_counter()
    EventLog.open(folder, clock=SystemClock(), writable=True).close()
    row(f"build the index of {count:,} events again", rate(count, time.perf_counter() - start))
    row("index on disk", f"{(folder / 'index.sqlite').stat().st_size / count:.0f} bytes an event")


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000, help="events to append and read")
    parser.add_argument("--years", type=float, default=10.0, help="length of the log that is opened; 0 leaves it out")
    parser.add_argument("--folder", type=Path, default=None, help="where to work; a temporary folder by default")
    options = parser.parse_args()
    print("| what | figure |\n|---|---|")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        bare_limits(folder, options.events)
        append_and_read(folder / "short", options.events)
        if options.years:
            ten_years(folder / "long", options.years)
    row("peak memory of this run", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


if __name__ == "__main__":
    main()
