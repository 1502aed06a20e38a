"""What is skipped for a while is requested again, whatever the host's clock said."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from tconnectsync_tandem.api.pumps import read_pumps
from tconnectsync_tandem.polling.cooldown import DAY_TRIES, Cooldown
from tests.support.clocks import FakeClock
from tests.tandem.fake_cloud import START, CloudPump

DAY = date(2026, 11, 19)


@pytest.mark.parametrize("wrong_by", [timedelta(hours=1), timedelta(days=1), timedelta(days=400)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_pause_that_began_while_the_clock_was_wrong_ends(wrong_by: timedelta, sign: int) -> None:
    (pump,) = read_pumps({"pumps": [CloudPump().listed()]}).pumps
    clock, patience = FakeClock(START + sign * wrong_by), Cooldown()
    patience.pause_pump(pump, clock)
    for _ in range(DAY_TRIES):
        patience.record_failed_day(pump, DAY, clock)
    assert patience.is_pump_paused(pump, clock)
    assert patience.paused_days(pump, clock) == {DAY}
    clock.time -= sign * wrong_by
    clock.advance(hours=1, minutes=2)
    assert not patience.paused_days(pump, clock)
    clock.advance(hours=24)
    assert not patience.is_pump_paused(pump, clock)
