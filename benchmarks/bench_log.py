"""How fast the event log appends, reads and opens, beside what the disk and the encoder can do in the same run."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

from measure import Ended, Row, Spread, main_of, run_python

from tconnectsync import events
from tconnectsync.clock import SystemClock
from tconnectsync.eventlog import EventLog
from tconnectsync.eventlog.check import check_log
from tconnectsync.eventlog.codec import Codec
from tconnectsync.eventlog.framing import frame

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


def bare_limits(folder: Path, count: int) -> tuple[float, float]:
    """Events a second: the same bytes encoded and nothing else; written and synced in the same batches and nothing else."""
    codec = Codec()
    encoding_s = writing_s = 0.0
    crc, position = 0, 0
    path = folder / "bare"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for batch in batches(count):
        begin = time.perf_counter()
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
        writing_s += time.perf_counter() - between
        encoding_s += between - begin
    os.close(descriptor)
    path.unlink()
    return count / encoding_s, count / writing_s


def append_all(folder: Path, count: int) -> tuple[float, float]:
    """Events a second, and events a second of CPU."""
    spent_s = processor_s = 0.0
    with EventLog.open(folder, clock=SystemClock(), writable=True) as log:
        for batch in batches(count):
            begin, processor_begin = time.perf_counter(), time.process_time()
            log.append(batch)
            spent_s += time.perf_counter() - begin
            processor_s += time.process_time() - processor_begin
    return count / spent_s, count / processor_s


def again_and_read(folder: Path, count: int) -> Iterator[Row]:
    """What is there already appended again, both reading orders, the check."""
    with EventLog.open(folder, clock=SystemClock(), writable=True) as log:
        again, spent_s = min(count, 50_000), 0.0
        for batch in batches(again):
            begin = time.perf_counter()
            assert log.append(batch).duplicates == len(batch)
            spent_s += time.perf_counter() - begin
        yield Row(what="append what is there already", measured=f"{again / spent_s:,.0f} events/s")
        begin = time.perf_counter()
        assert sum(1 for _ in log.events()) == count
        yield Row(what="read in the log's order", measured=f"{count / (time.perf_counter() - begin):,.0f} events/s")
        [stream] = log.streams()
        begin = time.perf_counter()
        assert sum(len(log.read(stream.id, key, key + 299)) for key in range(1, count + 1, 300)) == count
        speed = count / (time.perf_counter() - begin)
        yield Row(what="read in the pump's order, 300 keys at a time", measured=f"{speed:,.0f} events/s")
    begin = time.perf_counter()
    assert all(line.good for line in check_log(folder))
    yield Row(what="`log check`", measured=f"{count / (time.perf_counter() - begin):,.0f} events/s")


def tell_opening(folder: Path) -> None:
    """Open a log for writing, as the daemon does; tells milliseconds and the last position."""
    begin = time.perf_counter()
    log = EventLog.open(folder, clock=SystemClock(), writable=True)
    took_s = time.perf_counter() - begin
    end = log.end
    log.close()
    print(json.dumps([took_s * 1000, end]))


def open_often(folder: Path, runs: int) -> tuple[Spread, Spread]:
    """Milliseconds and peak memory of opening, each time in another process."""
    ended: list[Ended] = [run_python(__file__, str(folder)) for _ in range(runs)]
    return Spread.of([json.loads(each.told)[0] for each in ended]), Spread.of([each.peak_mb for each in ended])


def rows(small: bool = False) -> Iterator[Row]:
    """Appending, reading, and opening a log of five million events."""
    count, runs, long = (20_000, 2, 100_000) if small else (200_000, 5, 5_000_000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        speeds, processor_speeds, encoding, writing = [], [], [], []
        for number in range(runs):
            encoded, written = bare_limits(folder, count)
            encoding.append(encoded)
            writing.append(written)
            appended, by_processor = append_all(folder / f"short{number}", count)
            speeds.append(appended)
            processor_speeds.append(by_processor)
        speed = Spread.of(speeds)
        yield Row(
            what="events to the log (encode, checksum, write, sync, index), batches of 1,000",
            must="150,000 events/s",
            measured=f"{speed.text(' events/s')}; {Spread.of(processor_speeds).text(' per second of CPU')}",
            limit=f"encode and checksum alone {Spread.of(encoding).median:,.0f};"
            f" write and fsync alone {Spread.of(writing).median:,.0f}",
            met=speed.median >= 150_000,
        )
        yield from again_and_read(folder / "short0", count)
        append_all(folder / "day", EVENTS_A_DAY)
        append_all(folder / "long", long)
        day_ms, day_mb = open_often(folder / "day", runs)
        took_ms, memory = open_often(folder / "long", runs)
        yield Row(
            what=f"opening a log of {long:,} events",
            must="1 s, memory as for one day",
            measured=f"{took_ms.text(' ms')}, {memory.text(' MB')}",
            limit=f"a log of one day: {day_ms.median:.0f} ms, {day_mb.median:.0f} MB",
            met=took_ms.median <= 1000 and memory.median <= day_mb.median + 5,
        )
        for ending in ("", "-wal", "-shm"):
            (folder / "long" / f"index.sqlite{ending}").unlink(missing_ok=True)
        begin = time.perf_counter()
        EventLog.open(folder / "long", clock=SystemClock(), writable=True).close()
        took_s = time.perf_counter() - begin
        yield Row(
            what=f"– with its index lost: made again from {long:,} events",
            measured=f"{took_s:.1f} s ({long / took_s:,.0f} events/s)",
        )


if __name__ == "__main__":
    if len(sys.argv) == 2 and not sys.argv[1].startswith("-"):
        tell_opening(Path(sys.argv[1]))
    else:
        main_of(__doc__, rows)
