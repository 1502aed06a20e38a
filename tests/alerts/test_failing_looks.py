"""If a look cannot read something, everything else is decided and sent, and the heartbeat reports the failure."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import attrs
import pytest

from tconnectsync.alerts.pump_records import read_pump
from tconnectsync.alerts.sending import AppriseSender
from tconnectsync.alerts.watch import WatchThread
from tconnectsync.alerts.wearer import PumpAlarm, PumpReading
from tconnectsync.cli.invocation import Invocation
from tconnectsync.errors import LogCorrupt
from tconnectsync.queries.status import status_of
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import simulate
from tests.alerts.failing_bench import MINUTE, OPTIONS, START, URLS, ZONES, FailingBench
from tests.alerts.statuses import OK, iso, trouble
from tests.statistics.simulated_log import write_log


@pytest.fixture
def bench(tmp_path: Path) -> FailingBench:
    return FailingBench(tmp_path)


def test_corrupt_log_with_wearer_alerts(bench: FailingBench) -> None:
    """The corrupt log is notified, also that alarms are not read, and the heartbeat fails."""
    pump = simulate(SimulationPlan(seed=4, zone="Europe/Berlin", start=date(2026, 6, 1), days=4))
    write_log(bench.folder, pump, until_s=START.timestamp())
    segment = max((bench.folder / "log").glob("*.jsonl*"))
    raw = bytearray(segment.read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 4000] = bytes(4000)
    segment.write_bytes(raw)

    def read_status() -> Mapping[str, Any]:
        found = status_of(bench.folder, sources={"tandem": True}, sinks={}, zones=ZONES, clock=bench.clock)
        found["sources"]["tandem"] |= {**OK, "last_fetch": iso(bench.clock.time)}
        return found

    watch = bench.watch(
        read_status=read_status, read_pump=lambda: read_pump(bench.folder, ZONES, OPTIONS, clock=bench.clock)
    )
    bench.look(watch, 8)
    corrupt, untold = bench.heard.titles
    assert "The event log is corrupt" in corrupt
    assert "alarms and low values may not be reported" in untold
    assert len(bench.heard.beats) == 8
    assert "corrupt" in bench.heard.beats[0].reason


def test_unreadable_value_hides_no_alarm(bench: FailingBench) -> None:
    alarm = PumpAlarm(id="1", name="occlusion", at=START - MINUTE)
    bench.reading = PumpReading(alarms=(alarm,), error=LogCorrupt("line 3", path="x", line=3))
    bench.look(bench.watch(), 8)
    alarm_title, untold = bench.heard.titles
    assert "Occlusion" in alarm_title
    assert "may not be reported" in untold
    assert "tconnectsync log repair" in bench.heard.bodies


def test_unreadable_state_is_notified(bench: FailingBench) -> None:
    """After five minutes, with the file; a pump alarm and the heartbeat come all the same; nothing else is over."""
    watch = bench.watch()
    bench.shown = {"source": trouble("refused", START, "login refused")}
    bench.look(watch, 2)
    bench.error = PermissionError(errno.EACCES, "Permission denied", str(bench.folder / "log" / "1.jsonl"))
    bench.look(watch, 3)
    assert len(bench.heard.titles) == 1
    assert not any(cycle.good or cycle.reason for cycle in bench.heard.beats[2:])
    bench.reading = PumpReading(alarms=(PumpAlarm(id="1", name="occlusion", at=START),))
    bench.look(watch, 60)
    login, alarm, unread = bench.heard.titles
    assert "login" in login
    assert "Occlusion" in alarm
    assert "the state of tconnectsync cannot be read" in unread
    assert "1.jsonl: Permission denied" in bench.heard.bodies
    assert "sudo chown" in bench.heard.bodies
    assert "1.jsonl" in bench.heard.beats[-1].reason
    assert len(bench.heard.beats) == 65
    bench.error, bench.shown = None, {}
    bench.look(watch, 10)
    assert "is read again" in bench.heard.bodies.partition("sudo chown")[2]


def test_single_cycle_cannot_read_its_state(bench: FailingBench) -> None:
    """The next cycle would not know how long it has lasted, so it is notified at once."""
    bench.error = ValueError("harm")
    WatchThread(bench.watch(), AppriseSender()).look_once()
    assert "cannot be read" in bench.heard.titles[0]
    assert "ValueError" in bench.heard.beats[0].reason


def broken_zone(_: date) -> Any:
    raise RuntimeError("harm")


def test_failing_decision_is_told_to_heartbeat(bench: FailingBench) -> None:
    """A bug in the notifications: the monitor hears of it."""
    watch = bench.watch(zone_at=broken_zone)
    bench.shown = {"disk": "full"}
    bench.look(watch, 8)
    assert bench.heard.titles == []
    assert "Notifications fail unexpectedly" in bench.heard.beats[-1].reason


def test_address_that_fails_stops_no_other(bench: FailingBench) -> None:
    bench.heard.broken, bench.shown = URLS[0], {"disk": "full"}
    bench.look(bench.watch(options=attrs.evolve(OPTIONS, urls=URLS)), 3)
    assert [url for url, _ in bench.heard.got] == [URLS[1]]


@pytest.mark.parametrize("error", [LogCorrupt("line 3", path="x", line=3), OSError(errno.ENOSPC, "No space left")])
@pytest.mark.parametrize("how", ["work", "request"])
def test_failed_cycle_is_reported(monkeypatch: pytest.MonkeyPatch, how: str, error: Exception) -> None:
    """Of a fleet's worker (`work`) and of the page (`request`)."""
    told: list[Invocation] = []

    def fail(*_: Any, **__: Any) -> None:
        raise error

    def note(self: Invocation) -> None:
        told.append(self)

    monkeypatch.setattr(Invocation, "report_problems", note)
    monkeypatch.setattr("tconnectsync.daemon.execute.work", fail)
    monkeypatch.setattr("tconnectsync.daemon.execute.execute", fail)
    invocation = Invocation(environ={})
    configured: Any = object()
    invocation._config = invocation._plugins = configured
    with contextlib.suppress(LogCorrupt, OSError):
        if how == "work":
            invocation.work(lambda: False)
        else:
            invocation.request("sync")
    assert told == [invocation]
