"""Alerts for the wearer that wait because no address takes them: sent with their age, or dropped when they are over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from tconnectsync import Secret
from tconnectsync.alerts.notification_text import Notification
from tconnectsync.alerts.outgoing import Deliverer, address_id, load_state
from tconnectsync.alerts.sending import Attempt
from tconnectsync.alerts.watch import Watch
from tconnectsync.alerts.wearer import PumpAlarm, PumpReading
from tconnectsync.events.pump_state import Reported
from tests.alerts.failing_bench import HOUR, MINUTE, OPTIONS, START, URLS, FailingBench

OCCLUSION = PumpAlarm(id="1", name="occlusion", at=START - 20 * MINUTE)


@pytest.fixture
def bench(tmp_path: Path) -> FailingBench:
    """No address answers."""
    bench = FailingBench(tmp_path)
    bench.heard.down = True
    return bench


def low(value: float, at: Any = START) -> Reported:
    return Reported(value=value, at=at)


def upload(bench: FailingBench, **reading: Any) -> None:
    """The log grows."""
    bench.reading = PumpReading(**reading)
    bench.shown = {"positions": bench.shown.get("positions", 10) + 1}


def back(bench: FailingBench, watch: Watch) -> list[str]:
    """The address answers again; return what it gets."""
    bench.heard.down = False
    bench.clock.advance(hours=4)  # its back-off is over
    bench.look(watch, 1)
    return bench.heard.titles


def test_cleared_alarm_is_dropped(bench: FailingBench) -> None:
    """Also a low reservoir that was filled meanwhile."""
    upload(bench, alarms=(OCCLUSION,), reservoir_u=low(12.0))
    watch = bench.watch()
    bench.look(watch, 30)
    assert len(load_state(bench.folder).waiting) == 2
    upload(bench, alarms=(), reservoir_u=low(250.0))
    bench.look(watch, 1)
    assert back(bench, watch) == []
    assert load_state(bench.folder).waiting == ()


@pytest.mark.parametrize("cleared", [True, False])
def test_next_alarm_after_a_dropped_one_is_told(bench: FailingBench, cleared: bool) -> None:
    """The first one was never sent, because it was cleared or raised again. So the second one is sent at once."""
    upload(bench, alarms=(attrs.evolve(OCCLUSION, at=START),))
    watch = bench.watch()
    bench.look(watch, 2)
    if cleared:
        upload(bench, alarms=())
        bench.look(watch, 1)
    bench.heard.down = False
    upload(bench, alarms=(attrs.evolve(OCCLUSION, id="2", at=bench.clock.time),))
    bench.look(watch, 5)
    assert len(bench.heard.titles) == 1


@pytest.mark.parametrize("cleared", [True, False])
def test_one_dead_address_repeats_no_alarm(tmp_path: Path, cleared: bool) -> None:
    """An alarm that is raised every few minutes comes every half hour, also if another address never takes it."""
    bench = FailingBench(tmp_path)
    bench.heard.broken = URLS[1]
    watch = bench.watch(options=attrs.evolve(OPTIONS, urls=URLS))
    for number in range(12):
        upload(bench, alarms=(attrs.evolve(OCCLUSION, id=str(number), at=bench.clock.time),))
        bench.look(watch, 3)
        if cleared:
            upload(bench, alarms=())
        bench.look(watch, 2)
    assert [round((at - START) / MINUTE) for at in bench.heard.times] == [0, 30]


def test_kill_while_an_address_hangs(tmp_path: Path) -> None:
    """What the first address took is stored before the second one is tried: a daemon that is killed then repeats nothing."""
    bench, stored = FailingBench(tmp_path), list[tuple[str, ...]]()

    def send(url: Secret, message: Notification) -> Attempt:
        stored.append(load_state(bench.folder).waiting[0].addresses)
        return bench.heard.send(url, message)

    upload(bench, alarms=(OCCLUSION,))
    deliverer = Deliverer(send=send, monotonic=bench.clock.monotonic)
    bench.look(bench.watch(options=attrs.evolve(OPTIONS, urls=URLS), deliverer=deliverer), 1)
    assert stored == [tuple(map(address_id, URLS)), (address_id(URLS[1]),)]


def test_old_alarm_is_dropped(bench: FailingBench) -> None:
    upload(bench, alarms=(OCCLUSION,))
    watch = bench.watch()
    bench.look(watch, 2)
    assert back(bench, watch) == []


def test_age_is_that_of_sending(bench: FailingBench) -> None:
    upload(bench, alarms=(OCCLUSION,))
    watch = bench.watch()
    bench.look(watch, 1)
    bench.heard.down = False
    bench.look(watch, 90)
    [title] = bench.heard.titles
    late = (bench.heard.times[0] - OCCLUSION.at) / MINUTE
    assert 21 < late < 60
    assert f"13:40 ({late:.0f} min ago)" in title


def test_low_value_waits_until_it_is_sent(bench: FailingBench) -> None:
    """For more than a day, and then it says the newest value."""
    upload(bench, reservoir_u=low(12.0))
    watch = bench.watch()
    for hour in range(30):
        bench.clock.advance(minutes=59)
        upload(bench, reservoir_u=low(12.0 - hour / 10, bench.clock.time))
        bench.look(watch, 1)
    [title] = back(bench, watch)
    assert "Low reservoir: 9 U left" in title
    assert "(4 h" in title
    bench.look(watch, 60)
    assert len(bench.heard.titles) == 1


def test_alert_that_is_turned_off_is_dropped(bench: FailingBench) -> None:
    upload(bench, reservoir_u=low(12.0), site_at=START - 40 * 24 * HOUR)
    bench.look(bench.watch(), 2)
    after = bench.watch(options=attrs.evolve(OPTIONS, low_reservoir_u=None))
    [title] = back(bench, after)
    assert "site is old" in title


def test_restart_reads_before_it_sends(bench: FailingBench) -> None:
    """What waited may be over by what comes right after the start."""
    upload(bench, alarms=(OCCLUSION,), site_at=START - 40 * 24 * HOUR)
    bench.look(bench.watch(), 2)
    bench.heard.down = False
    again = bench.watch(settled_s=90.0)
    bench.look(again, 1)
    assert bench.heard.titles == []
    upload(bench, alarms=(), site_at=START - 40 * 24 * HOUR)
    bench.look(again, 3)
    assert len(bench.heard.titles) == 1
    assert "site is old" in bench.heard.titles[0]


def test_unreadable_log_drops_no_alert(bench: FailingBench) -> None:
    upload(bench, alarms=(OCCLUSION,))
    watch = bench.watch()
    bench.look(watch, 1)
    bench.reading, bench.shown = OSError("harm"), {"positions": 99}
    bench.heard.down = False
    bench.look(watch, 90)
    assert sum("Occlusion" in title for title in bench.heard.titles) == 1


def test_alarm_and_problem_are_one_notification(bench: FailingBench) -> None:
    """The alarm gives the title. Each address gets each once."""
    bench.heard.down = False
    upload(bench, alarms=(OCCLUSION,))
    bench.shown = {**bench.shown, "disk": "full"}
    bench.look(bench.watch(options=attrs.evolve(OPTIONS, urls=URLS)), 5)
    assert [url for url, _ in bench.heard.got] == list(URLS)
    assert bench.heard.titles[0].startswith("Occlusion alarm")
    assert bench.heard.titles[0].endswith("(and 1 more)")
    assert "The disk cannot be used" in bench.heard.bodies
