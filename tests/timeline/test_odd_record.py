"""One record has a time that no other supports."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from tconnectsync.timeline.resolver import TimelineResolver
from tconnectsync.timeline.zones import Zones
from tests.timeline.harness import ListLog, PumpHistory, times_of, utc, worst_s

BERLIN = Zones(timezone="Europe/Berlin")


@pytest.mark.parametrize("hours", [3.5, 24, 72, 240, 24 * 366])
def test_record_from_the_future(hours: float) -> None:
    """All others keep their times at once, and nobody is asked to set the pump's clock."""
    world = PumpHistory(now=utc("2026-05-01"), offset_s=BERLIN.offset_at(utc("2026-05-01")))
    world.run(utc("2026-05-04"), timedelta(minutes=5)).upload()
    log = ListLog()
    resolver = TimelineResolver(log, BERLIN)
    log.append(world.events)
    log.append(resolver.pending_facts(world.now))
    odd = world.log()
    world.events[-1] = msgspec.structs.replace(odd, pump_time=odd.pump_time + timedelta(hours=hours))
    for _ in range(40):
        world.run(world.now + timedelta(hours=1), timedelta(minutes=5))
        world.upload(newest=max(event.pump_time for event in world.events if event.seq is not None))
        log.append(world.events)
        log.append(resolver.pending_facts(world.now))
    others = [seq for seq in world.truth if seq != odd.seq]
    assert worst_s(times_of(resolver, log), world.truth, others) <= 2
    assert resolver.messages() == []
