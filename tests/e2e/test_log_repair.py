"""A corrupt log through the whole product: what stops, and what a repair brings back."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest

from tconnectsync.eventlog.repair import repair_log
from tconnectsync.plugin.manager import load_plugins
from tconnectsync.queries.verify import verify
from tconnectsync.reconcile.report import ComparisonChunk, ComparisonReport
from tconnectsync_simulator.pump.pump import simulate
from tests.e2e.simulated_home import BEGIN, DAY, differences, plan_of, simulated_home
from tests.support.cloud_faults import answered


def flip(data_dir: Path, kind: str, number: int) -> str:
    """Change one byte of the ``number``-th record of a kind; return its line."""
    mark = f'"kind":"{kind}"'.encode()
    for path in sorted((data_dir / "log").glob("[0-9]*")):
        data = path.read_bytes()
        text = bytearray(gzip.decompress(data) if path.suffix == ".gz" else data)
        places = [at for at in range(len(text)) if text.startswith(mark, at)] if mark in text else []
        if number < len(places):
            at = places[number]
            line = bytes(text[text.rfind(b"\n", 0, at) + 1 : text.index(b"\n", at)])
            text[at + len(mark) + 12] ^= 1
            path.unlink()
            path.with_name(path.name.removesuffix(".gz")).write_bytes(text)
            return line.decode()
        number -= len(places)
    pytest.fail(f"the log has no such {kind}")


def test_corruption_and_repair(tmp_path: Path) -> None:
    """Corruption stops what needs the corrupt part, and a repair brings everything back.

    A rate's record is corrupt, and everything must be folded again: the worst moment for it.
    """
    pump = simulate(plan_of(41))
    with simulated_home(tmp_path, pump, now=BEGIN + 6 * DAY, history_days=4) as home:
        assert home.ask("sync").status == 0
        before = home.treatments()
        home.running.engine.close()
        data = home.running.folder / "data"
        flip(data, "basal.delivered", 700)
        home.running.open()
        home.wipe("outbox")
        home.clock.sleep(12 * 3600)

        result = home.ask("sync")
        assert result.status == 7
        sinks = home.status()["sinks"]
        assert sinks["nightscout-treatments"]["state"] == "damaged"
        assert "log repair" in sinks["nightscout-treatments"]["remedy"]
        assert sinks["nightscout-pump-events"]["state"] == "ok", "of a rate it needs only the time, which the index has"
        assert sinks["nightscout-iob"]["state"] == "ok"
        now = home.treatments()
        assert {name for name, doc in before.items() if name not in now} == set()
        basal = {name: doc for name, doc in before.items() if doc["eventType"] == "Temp Basal"}
        assert {name: now[name] for name in basal} == basal, "no rate was shortened by what cannot be read"
        newest = max(doc["created_at"] for doc in now.values() if doc["eventType"] != "Temp Basal")
        assert newest > max(doc["created_at"] for doc in before.values() if doc["eventType"] != "Temp Basal")

        home.running.engine.close()
        assert repair_log(data, clock=home.clock).unrepaired == ()
        home.running.open()
        home.cloud.fail(answered(503, path="pump-logs", times=100))
        home.clock.sleep(3600)
        assert home.ask("sync").status == 3
        home.cloud.faults.clear()
        assert before.keys() <= home.treatments().keys()
        home.clock.sleep(3600)
        assert home.ask("sync").status == 0
        assert before.keys() <= home.treatments().keys()
        assert differences(home, pump, begin=BEGIN + 2 * DAY + timedelta(hours=6)) == []
        assert home.status()["sinks"]["nightscout-treatments"]["state"] == "ok"
        calls = home.cloud.count("pump-logs")
        home.clock.sleep(60)
        assert home.ask("sync").status == 0
        assert home.cloud.count("pump-logs") == calls, "once is enough"


def tallied(parts: Iterable[ComparisonChunk]) -> ComparisonReport:
    tally = ComparisonReport()
    for part in parts:
        tally.add(part)
    return tally


def test_verify_of_repaired_log(tmp_path: Path) -> None:
    """``verify`` beside the daemon reports the same about a repaired log as the daemon.

    Until the repaired days were fetched again, a document that no fold makes may belong to a lost event.
    """
    sink = "nightscout-treatments"
    with simulated_home(tmp_path, simulate(plan_of(42)), now=BEGIN + 6 * DAY) as home:
        assert home.ask("sync").status == 0
        home.running.engine.close()
        data = home.running.folder / "data"
        flip(data, "basal.delivered", 700)
        assert repair_log(data, clock=home.clock).unrepaired == ()
        home.running.open()
        [gap] = home.running.engine.events.facts("log.gap")
        stale = next(doc for doc in home.treatments().values() if doc["eventType"] == "Temp Basal")
        stale["identifier"] = "11111111-2222-5333-8444-555555555555"
        stale["created_at"] = f"{gap.body.first_time:%Y-%m-%d}T12:00:00.001Z"
        home.site.put("treatments", stale)
        home.cloud.fail(answered(503, path="pump-logs", times=100))
        for fetched, verdict in ((False, "foreign"), (True, "orphaned")):
            if fetched:
                home.cloud.faults.clear()
                home.clock.sleep(3600)
            assert home.ask("sync").status == (0 if fetched else 3)
            told = tallied(verify(home.running.config, load_plugins(), sink=sink, clock=home.clock))
            engine = home.running.engine
            assert told.lines(sink) == tallied(engine.runners[sink].verifier(engine.streams).run()).lines(sink)
            assert told.counts[verdict] == 1
