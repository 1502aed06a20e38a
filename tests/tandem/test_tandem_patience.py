"""What is skipped for a while is requested again, whatever the host's clock said."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from tconnectsync_tandem.api.pumps import Pump, read_pumps
from tconnectsync_tandem.polling.cooldown import Cooldown
from tconnectsync_tandem.polling.window_state import WindowState
from tests.support.clocks import FakeClock
from tests.tandem.fake_cloud import START, CloudPump

DAY = date(2026, 11, 19)


@pytest.mark.parametrize("wrong_by", [timedelta(hours=1), timedelta(days=1), timedelta(days=400)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_pause_that_began_while_the_clock_was_wrong_ends(wrong_by: timedelta, sign: int) -> None:
    clock, patience = FakeClock(START + sign * wrong_by), Cooldown()
    pump = paused(patience, clock)
    assert patience.is_pump_paused(pump, clock)
    assert patience.paused_days(pump, clock) == {DAY}
    clock.time -= sign * wrong_by
    clock.advance(hours=1, minutes=2)
    assert not patience.paused_days(pump, clock)
    clock.advance(hours=24)
    assert not patience.is_pump_paused(pump, clock)


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(hours=1), timedelta(days=400)])
def test_pauses_are_kept_over_a_restart(tmp_path: Path, ahead: timedelta) -> None:
    """Not those that began while the clock was ahead. What was read leaves the file."""
    clock, state = FakeClock(START + ahead), WindowState(tmp_path / "windows.json")
    pump = paused(state.cooldown, clock)
    state.save()
    clock.time -= ahead
    state = WindowState.load(state.path)
    assert state.cooldown.is_pump_paused(pump, clock) == (not ahead)
    assert state.cooldown.paused_days(pump, clock) == (set() if ahead else {DAY})
    state.cooldown.clear_days(pump, [DAY])
    state.cooldown.clear_pump(pump)
    state.save()
    assert WindowState.load(state.path).cooldown.pumps == {}
    assert str(DAY) not in state.path.read_text()


def paused(cooldown: Cooldown, clock: FakeClock) -> Pump:
    """A pump that is paused, as is one of its days."""
    (pump,) = read_pumps({"pumps": [CloudPump().listed()]}).pumps
    cooldown.pause_pump(pump, clock)
    for _ in range(2):
        cooldown.record_failed_day(pump, DAY, clock)
    return pump
