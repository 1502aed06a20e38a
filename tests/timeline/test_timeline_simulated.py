"""A simulated pump's life against its true UTC times: read upload by upload, as the daemon does, and all at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone

import attrs
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tconnectsync import Event
from tconnectsync.events import UploadSeen
from tconnectsync.timeline.resolver import TimelineResolver
from tconnectsync.timeline.zones import Zones
from tconnectsync_simulator.pump.plan import Flight, SimulationPlan
from tconnectsync_simulator.pump.pump import SimulatedPump, simulate
from tconnectsync_simulator.pump.records import SimulatedRecord
from tconnectsync_simulator.pump.truth import utc as utc_of_s
from tconnectsync_tandem.decode.event_factory import make_event
from tests.timeline.harness import ListLog, times_of, utc

SERIAL = "90556643"
QUIET = SimulationPlan(upload_every_min=240.0, noise_codes=False)
EXACT_S = 2.0
"""The seconds that setting a clock takes."""
SETS_CLOCK = (13, 14)
"""The codes of the records that the wearer set the time or the date."""

Upload = tuple[datetime, list[Event]]


@attrs.define
class SimulatedUploads:
    """What the cloud had of a pump, upload by upload, and when each event really was."""

    uploads: list[Upload]
    truth: dict[int, datetime]

    @property
    def end(self) -> datetime:
        return self.uploads[-1][0]

    def errors_s(self, found: dict[int, datetime | None]) -> list[float]:
        """How far each event is off, in the pump's order; infinite if its time is unknown."""
        assert found.keys() == self.truth.keys()
        ats = [(found[seq], at) for seq, at in sorted(self.truth.items())]
        return [float("inf") if got is None else abs((got - at).total_seconds()) for got, at in ats]

    def live(self, zones: Zones) -> Iterator[tuple[TimelineResolver, ListLog]]:
        """The log and its placer after each upload, every choice stored as a fact."""
        log = ListLog()
        placer = TimelineResolver(log, zones)
        newest: datetime | None = None
        for at, events in self.uploads:
            newest = max([event.pump_time for event in events] + ([newest] if newest else []))
            log.append([*events, seen(at, newest)])
            log.append(placer.pending_facts(at))
            yield placer, log

    def shown(self, zones: Zones) -> dict[int, datetime | None]:
        """Every event's time at the end."""
        *_, (placer, log) = self.live(zones)
        return times_of(placer, log, SERIAL)


def seen(at: datetime, newest: datetime) -> Event:
    return Event(
        id=f"tandem:{SERIAL}:upload:{at.isoformat()}", kind="upload.seen", pump=SERIAL, group=None, seq=None,
        pump_time=newest, source="tandem", received_at=at, body=UploadSeen(uploaded_at=at, newest_pump_time=newest),
    )  # fmt: skip


def simulated_uploads(plan: SimulationPlan) -> SimulatedUploads:
    """The settings of the clock, every fortieth record, and what was newest in each upload."""
    pump: SimulatedPump = simulate(attrs.evolve(plan, serial=SERIAL))
    by_upload: dict[int, list[SimulatedRecord]] = {}
    for record in pump.log:
        at_upload = by_upload.setdefault(record.uploaded_s, [])
        if (
            at_upload
            and at_upload[-1].entry["eventCode"] not in SETS_CLOCK
            and at_upload[-1].entry["sequenceNumber"] % 40
        ):
            at_upload.pop()
        at_upload.append(record)
    told_at = {
        at_s: [
            (make_event(record.entry, pump=SERIAL, received_at=utc_of_s(at_s))[0], record.at_s) for record in records
        ]
        for at_s, records in sorted(by_upload.items())
    }
    uploads = [(utc_of_s(at_s), [event for event, _ in told]) for at_s, told in told_at.items()]
    truth = {event.seq: utc_of_s(at_s) for told in told_at.values() for event, at_s in told if event.seq is not None}
    return SimulatedUploads(uploads=uploads, truth=truth)


CHANGES = [
    ("Europe/Berlin", date(2026, 3, 24)),
    ("Europe/Berlin", date(2025, 10, 20)),
    ("America/New_York", date(2026, 3, 3)),
    ("America/New_York", date(2025, 10, 28)),
    ("Australia/Sydney", date(2026, 3, 31)),
    ("Australia/Sydney", date(2025, 9, 30)),
    ("Australia/Lord_Howe", date(2025, 9, 30)),
    ("Pacific/Chatham", date(2025, 9, 22)),
]


@pytest.mark.parametrize("delay_h", [0.0, 1.0, 48.0, None])
@pytest.mark.parametrize(("zone", "start"), CHANGES)
def test_daylight_saving(zone: str, start: date, delay_h: float | None) -> None:
    """It is right if the wearer follows it at once, later or never."""
    life = simulated_uploads(attrs.evolve(QUIET, zone=zone, start=start, days=11, clock_set_delay_h=delay_h))
    assert max(life.errors_s(life.shown(Zones(timezone=zone)))) <= EXACT_S


@pytest.mark.parametrize("away", ["Asia/Tokyo", "America/Los_Angeles", "Asia/Kathmandu", "Pacific/Auckland"])
def test_flights_with_clock_set_later(away: str) -> None:
    """The clock is set hours after each landing."""
    flights = (
        Flight(lands_at=utc("2026-06-04T11:00"), zone=away, set_after_h=5.0),
        Flight(lands_at=utc("2026-06-09T17:00"), zone="Europe/Berlin", set_after_h=20.0),
    )
    life = simulated_uploads(
        attrs.evolve(QUIET, zone="Europe/Berlin", start=date(2026, 6, 1), days=13, flights=flights)
    )
    assert max(life.errors_s(life.shown(Zones(timezone="Europe/Berlin")))) <= EXACT_S


@pytest.mark.parametrize("sets_time_first", [False, True])
@pytest.mark.parametrize(
    ("away", "set_at"), [("Europe/Berlin", "2026-06-08T23:30"), ("Pacific/Auckland", "2026-06-08T14:00")]
)
def test_first_sync_abroad(away: str, set_at: str, sets_time_first: bool) -> None:
    """Over midnight, from New York: the whole history at once, with one upload."""
    flight = Flight(lands_at=utc(set_at), zone=away)
    plan = attrs.evolve(QUIET, start=date(2026, 6, 1), days=10, flights=(flight,), sets_time_first=sets_time_first)
    life = simulated_uploads(plan)
    log = ListLog()
    events = [event for _, told in life.uploads for event in told]
    newest = max(event.pump_time for event in life.uploads[-1][1])
    log.append([*events, seen(life.end, newest)])
    placer = TimelineResolver(log, Zones(timezone="America/New_York"))
    assert max(life.errors_s(times_of(placer, log, SERIAL))) <= EXACT_S
    log.append(placer.pending_facts(life.end))
    assert placer.status()[SERIAL]["newest_event"] == utc_of_s(round(max(life.truth.values()).timestamp()))


def test_move_for_good() -> None:
    """It is right with and without the new zone in the list."""
    flights = (Flight(lands_at=utc("2026-06-05T11:00"), zone="America/Chicago"),)
    life = simulated_uploads(
        attrs.evolve(QUIET, zone="Europe/Berlin", start=date(2026, 6, 1), days=12, flights=flights)
    )
    moved = Zones(timezone="Europe/Berlin", moves=((date(2026, 6, 5), "America/Chicago"),))
    for zones in (Zones(timezone="Europe/Berlin"), moved):
        assert max(life.errors_s(life.shown(zones))) <= EXACT_S


def test_reset() -> None:
    """Times are unknown until the clock is set."""
    plan = attrs.evolve(QUIET, start=date(2026, 6, 1), days=8, reset_at=utc("2026-06-04T15:10"), upload_every_min=20.0)
    life = simulated_uploads(attrs.evolve(plan, reset_set_after_min=70.0))
    unknown = [
        sum(at is None for at in times_of(placer, log, SERIAL).values())
        for number, (placer, log) in enumerate(life.live(Zones(timezone="America/New_York")), 1)
        if number % 3 == 0 or number == len(life.uploads)  # three in the hour in which the clock is not set
    ]
    assert max(unknown) > 0
    assert unknown[-1] == 0
    assert max(life.errors_s(life.shown(Zones(timezone="America/New_York")))) <= EXACT_S


def test_drift_costs_as_many_seconds_as_the_clock_was_off() -> None:
    life = simulated_uploads(attrs.evolve(QUIET, start=date(2026, 10, 20), days=20, clock_drift_s_per_day=2.0))
    assert max(life.errors_s(life.shown(Zones(timezone="America/New_York")))) <= 2.0 * 60 + EXACT_S


@pytest.mark.parametrize("ahead_min", [60, -60])
def test_clock_always_an_hour_off(ahead_min: int) -> None:
    """Its uploads show it."""
    life = simulated_uploads(
        attrs.evolve(QUIET, start=date(2026, 6, 1), days=9, clock_ahead_min=ahead_min, upload_every_min=60.0)
    )
    assert max(life.errors_s(life.shown(Zones(timezone="America/New_York")))) <= EXACT_S


@pytest.mark.parametrize(
    ("seed", "start", "away", "set_after_h"),
    [(93, date(2025, 1, 6), "Asia/Kolkata", 1.6214), (34, date(2025, 5, 11), "America/Denver", 4.133)],
)
def test_late_record_of_the_date(seed: int, start: date, away: str, set_after_h: float) -> None:
    """The record of a date is uploaded hours after the one of the time that was set with it.

    In between, the clock seems to have gone back for no reason, and the part after that gets a choice of its own.
    """
    there = datetime(start.year, start.month, start.day, 12, tzinfo=timezone.utc) + timedelta(days=5)
    home = "Pacific/Chatham"
    flights = (
        Flight(lands_at=there, zone=away, set_after_h=set_after_h),
        Flight(lands_at=there + timedelta(days=4), zone=home, set_after_h=0.0),
    )
    plan = attrs.evolve(
        QUIET, seed=seed, zone=home, start=start, days=12, flights=flights, clock_set_delay_h=0.0, late_share=0.3
    )
    life = simulated_uploads(plan)
    assert max(life.errors_s(life.shown(Zones(timezone=home)))) <= EXACT_S


@pytest.mark.parametrize("wrong", [timedelta(days=-400), timedelta(hours=-7), timedelta(hours=9), timedelta(days=800)])
def test_this_computers_own_clock_decides_nothing(wrong: timedelta) -> None:
    """Times that come from it (when a record was received) may be years off."""
    life = simulated_uploads(attrs.evolve(QUIET, zone="Europe/Berlin", start=date(2025, 10, 20), days=9))
    right, log = life.shown(Zones(timezone="Europe/Berlin")), ListLog()
    placer = TimelineResolver(log, Zones(timezone="Europe/Berlin"))
    newest: list[datetime] = []
    for at, events in life.uploads:
        newest.append(max([event.pump_time for event in events] + newest[-1:]))
        told = [msgspec.structs.replace(event, received_at=at + wrong) for event in [*events, seen(at, newest[-1])]]
        log.append(told)
        log.append(placer.pending_facts(at + wrong))
    assert times_of(placer, log, SERIAL) == right


@st.composite
def plans(draw: st.DrawFn) -> SimulationPlan:
    """A pump's life in any zone, with everything that happens to clocks."""
    zone = draw(st.sampled_from(sorted({zone for zone, _ in CHANGES} | {"Asia/Kolkata", "Asia/Kathmandu"})))
    start = date(2025, 1, 1) + timedelta(days=draw(st.integers(0, 500)))
    noon = datetime(start.year, start.month, start.day, 12, tzinfo=utc("2025-01-01").tzinfo)
    flights: tuple[Flight, ...] = ()
    if draw(st.booleans()):
        there = noon + timedelta(days=draw(st.integers(3, 5)))
        away = draw(st.sampled_from(["Asia/Tokyo", "America/Denver", "Asia/Kolkata", "UTC"]))
        flights = (
            Flight(lands_at=there, zone=away, set_after_h=draw(st.floats(0, 12))),
            Flight(lands_at=there + timedelta(days=4), zone=zone, set_after_h=draw(st.floats(0, 12))),
        )
    return attrs.evolve(
        QUIET, seed=draw(st.integers(0, 99)), zone=zone, start=start, days=12, flights=flights,
        clock_set_delay_h=draw(st.sampled_from([0.0, 48.0, None])), late_share=draw(st.sampled_from([0.0, 0.3])),
    )  # fmt: skip


@settings(deadline=None, max_examples=12, suppress_health_check=list(HealthCheck))
@given(plans())
def test_any_life_ends_in_its_true_times(plan: SimulationPlan) -> None:
    life = simulated_uploads(plan)
    assert max(life.errors_s(life.shown(Zones(timezone=plan.zone)))) <= EXACT_S
