"""What anchors a clock, what moves an anchor, and what never may."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tconnectsync import Event
from tconnectsync.events import ClockAnchored
from tconnectsync.timeline.resolver import TimelineResolver
from tconnectsync.timeline.zone_decision import Upload, distinct_uploads, offset_by_uploads
from tconnectsync.timeline.zones import Zones
from tests.timeline.harness import EPOCH, ListLog, PumpHistory, placed_times, times_of, utc, worst_s

HOUR = 3600
BERLIN = Zones(timezone="Europe/Berlin")
PARIS_OFFSETS = (1 * HOUR, 2 * HOUR)


def upload(hours: float, *, ahead_s: float = 0, lag_s: float = 240) -> Upload:
    """An upload ``hours`` after the epoch whose newest event is ``lag_s`` older, on a clock ``ahead_s`` ahead of UTC."""
    at = utc("2025-11-01") + timedelta(hours=hours)
    return Upload(at=at, newest=at.replace(tzinfo=None) + timedelta(seconds=ahead_s - lag_s))


def live(
    world: PumpHistory, placer: TimelineResolver, log: ListLog, hours: int, *, every: int = 4, lag_s: float = 240
) -> None:
    """Let time pass with an upload every few hours, each of which the placer sees."""
    until = world.now + timedelta(hours=hours)
    while world.now < until:
        world.run(min(until, world.now + timedelta(hours=every)), timedelta(minutes=30))
        world.upload(timedelta(seconds=lag_s))
        log.append(world.events)
        log.append(placer.pending_facts(world.now))
        placer.resolve()


def anchors(log: ListLog) -> list[tuple[int, str]]:
    return [(fact.body.offset_min, fact.body.basis) for fact in reversed(log.facts("clock.anchored", limit=1000))]


# --- what uploads say -----------------------------------------------------------------------------------------------


def test_three_uploads_move_the_clock() -> None:
    """If their events would be in the future, over at least a day."""
    uploads = [upload(hours, ahead_s=2 * HOUR) for hours in (0, 12, 24, 36)]
    verdict = offset_by_uploads(uploads, current_s=1 * HOUR, zone_offsets=PARIS_OFFSETS)
    assert verdict is not None
    assert (verdict.offset_s, verdict.confirmed) == (2 * HOUR, True)


def test_the_upload_that_completes_the_quorum_only_proposes() -> None:
    verdict = offset_by_uploads(
        [upload(h, ahead_s=2 * HOUR) for h in (0, 12, 24)], current_s=HOUR, zone_offsets=PARIS_OFFSETS
    )
    assert verdict is not None
    assert not verdict.confirmed


@pytest.mark.parametrize(
    "uploads",
    [
        pytest.param([upload(0, ahead_s=2 * HOUR), upload(30, ahead_s=2 * HOUR)], id="only two"),
        pytest.param([upload(h, ahead_s=2 * HOUR) for h in (0, 1, 2, 3, 4)], id="all within a day"),
        pytest.param([upload(h, ahead_s=HOUR + 900) for h in range(0, 200, 10)], id="a quarter of an hour of drift"),
        pytest.param([upload(h, ahead_s=HOUR + 3150) for h in range(0, 200, 10)], id="no offset a clock can have"),
        pytest.param(
            [*(upload(h, ahead_s=HOUR) for h in range(0, 200, 10)), upload(201, ahead_s=2 * HOUR)], id="one odd upload"
        ),
        pytest.param(
            [
                *(upload(h, ahead_s=HOUR) for h in range(0, 200, 10)),
                *(upload(h, ahead_s=2 * HOUR) for h in (201, 215, 230)),
            ],
            id="uploads disagree",
        ),
        pytest.param([upload(h, ahead_s=HOUR, lag_s=86400.0 * 200) for h in range(0, 200, 10)], id="months late"),
        pytest.param([upload(h, ahead_s=-5 * HOUR) for h in range(0, 200, 10)], id="late, and no offset of the zone"),
        pytest.param([upload(h, ahead_s=0) for h in range(0, 24, 4)], id="an hour late for a day only"),
        pytest.param(
            [upload(h, ahead_s=HOUR, lag_s=lag) for h, lag in enumerate([3800.0, 3700.0, 2500.0, 3900.0, 4000.0] * 20)],
            id="usually an hour late",
        ),
    ],
)
def test_uploads_that_do_not_suffice_say_nothing(uploads: list[Upload]) -> None:
    assert offset_by_uploads(uploads, current_s=1 * HOUR, zone_offsets=PARIS_OFFSETS) is None


def test_six_late_uploads_move_the_clock() -> None:
    """If all look an hour late over three days, the clock moves within its zone."""
    uploads = [upload(h, ahead_s=1 * HOUR) for h in range(0, 96, 12)]
    verdict = offset_by_uploads(uploads, current_s=2 * HOUR, zone_offsets=PARIS_OFFSETS)
    assert verdict is not None
    assert (verdict.offset_s, verdict.confirmed) == (1 * HOUR, True)
    assert offset_by_uploads(uploads, current_s=2 * HOUR, zone_offsets=(2 * HOUR, 3 * HOUR)) is None


def test_uploads_without_news_and_bogus_dates_are_excluded() -> None:
    first = upload(0)
    again = msgspec.structs.replace(first, at=first.at + timedelta(days=100))
    bogus = Upload(at=first.at, newest=first.newest + timedelta(days=3))
    assert distinct_uploads([again, bogus, first]) == (first,)


# --- the choice in a log --------------------------------------------------------------------------------------------


def test_a_choice_becomes_one_fact_with_its_basis() -> None:
    log = ListLog()
    placer = TimelineResolver(log, BERLIN)
    world = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR)
    live(world, placer, log, 240)
    assert anchors(log) == [(120, "zone_at_first_event")]
    fact = log.facts("clock.anchored")[0]
    assert (fact.id, fact.pump, fact.group, fact.body.zone) == (
        "tandem:111:0:anchor:0:120:zone_at_first_event:0", "111", 0, "Europe/Berlin",
    )  # fmt: skip
    assert TimelineResolver(log, BERLIN).pending_facts(world.now) == []


def test_last_setting_is_the_basis() -> None:
    """If the wearer set the clock, that decides."""
    log = ListLog()
    world = PumpHistory(now=utc("2025-03-01"), offset_s=1 * HOUR).run(utc("2025-04-01"))
    log.append(world.set_clock(2 * HOUR).run(utc("2025-05-01")).events)
    log.append(TimelineResolver(log, BERLIN).pending_facts(world.now))
    assert anchors(log) == [(120, "zone_at_clock_change")]


def test_existing_anchor_stays() -> None:
    """Whatever the zone says at later settings."""
    log = ListLog()
    placer = TimelineResolver(log, BERLIN)
    world = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR)
    live(world, placer, log, 100)
    for offset_h in (-4, 2, 9, 2):
        world.set_clock(offset_h * HOUR)
        live(world, placer, log, 100)
    assert len(anchors(log)) == 1
    assert worst_s(times_of(placer, log), world.truth) <= 2


def test_installed_on_trip_with_setting() -> None:
    """The upload shows that an earlier setting was the one at home."""
    world = PumpHistory(now=utc("2025-03-28"), offset_s=1 * HOUR).run(utc("2025-03-31")).set_clock(2 * HOUR)
    world.run(utc("2025-06-10")).set_clock(-5 * HOUR).run(utc("2025-06-12"))
    world.upload()
    log = ListLog()
    log.append(world.events)
    assert worst_s(placed_times(log, BERLIN), world.truth) <= 2


def test_installed_on_a_trip() -> None:
    """The recorded setting and the first upload show it, before the return too."""
    log = ListLog()
    placer = TimelineResolver(log, BERLIN)
    world = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR).run(utc("2025-06-10")).set_clock(-5 * HOUR)
    live(world, placer, log, 48)
    assert worst_s(times_of(placer, log), world.truth) <= 2
    world.set_clock(2 * HOUR)
    live(world, placer, log, 120)
    assert worst_s(times_of(placer, log), world.truth) <= 2


@pytest.mark.parametrize("hours", [3, 11, 12, 24])
@pytest.mark.parametrize("until_sync_h", [1, 2])
def test_installed_soon_after_a_slip(hours: int, until_sync_h: int) -> None:
    """The clock was set back by mistake. The vendor names the time before that as the newest: everything was off for ever."""
    log = ListLog()
    placer = TimelineResolver(log, BERLIN)
    world = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR).run(utc("2025-06-10 09:00"))
    before = world.wall
    world.set_clock((2 - hours) * HOUR)
    world.run(utc("2025-06-10 09:00") + timedelta(hours=until_sync_h), timedelta(minutes=5)).upload(newest=before)
    log.append(world.events)
    log.append(placer.pending_facts(world.now))
    assert worst_s(times_of(placer, log), world.truth) <= 2
    world.run(utc("2025-06-11 14:00")).set_clock(2 * HOUR)
    live(world, placer, log, 240)
    assert worst_s(times_of(placer, log), world.truth) <= 2


@pytest.mark.parametrize("lag_s", [30.0, 240.0, 800.0])
def test_summer_clock_in_winter(lag_s: float) -> None:
    """One upload shows it."""
    world = PumpHistory(now=utc("2025-11-20"), offset_s=2 * HOUR).run(utc("2025-11-22"))
    world.upload(timedelta(seconds=lag_s))
    log = ListLog()
    log.append(world.events)
    assert worst_s(placed_times(log, BERLIN), world.truth) == 0


def test_winter_clock_in_summer() -> None:
    """One upload shows it."""
    world = PumpHistory(now=utc("2025-06-20"), offset_s=1 * HOUR).run(utc("2025-06-22"))
    world.upload()
    log = ListLog()
    log.append(world.events)
    assert worst_s(placed_times(log, BERLIN), world.truth) == 0


def test_one_late_upload_does_not_turn_the_first_choice() -> None:
    for lag in (timedelta(minutes=40), timedelta(hours=2), timedelta(days=200)):
        world = PumpHistory(now=utc("2025-06-20"), offset_s=2 * HOUR).run(utc("2025-06-22"))
        world.upload(lag)
        log = ListLog()
        log.append(world.events)
        assert worst_s(placed_times(log, BERLIN), world.truth) == 0


def test_first_anchor_waits_for_events() -> None:
    """It waits until the events of a seen upload are read."""
    world = PumpHistory(now=utc("2025-11-20"), offset_s=2 * HOUR).run(utc("2025-11-24"))
    seen = world.upload()
    log = ListLog()
    log.append([seen, *(event for event in world.events if event.pump_time < datetime(2025, 11, 22))])
    placer = TimelineResolver(log, BERLIN)
    assert placer.pending_facts(world.now) == []
    assert placer.pending_facts(world.now + timedelta(days=2)) != []
    log.append(world.events)
    log.append(placer.pending_facts(world.now))
    assert anchors(log) == [(120, "zone_at_first_event")]


def test_a_wrong_anchor_is_first_announced_and_then_moved() -> None:
    """Installed without an upload to compare with, on a clock that is an hour ahead of its zone."""
    log = ListLog()
    placer = TimelineResolver(log, BERLIN)
    world = PumpHistory(now=utc("2025-11-20"), offset_s=2 * HOUR).run(utc("2025-11-22"))
    log.append(world.events)
    log.append(placer.pending_facts(world.now))
    told: list[str] = []
    for _ in range(10):
        live(world, placer, log, 12, every=12)
        if any("its documents move 1 h earlier" in words for words in placer.messages()):
            told.append("told")
            assert anchors(log) == [(60, "zone_at_first_event")]
    assert told == ["told"]
    assert anchors(log) == [(60, "zone_at_first_event"), (120, "evidence")]
    assert worst_s(times_of(placer, log), world.truth) == 0


@pytest.mark.parametrize("fast_min", [5, 9, 19])
def test_clock_an_hour_and_minutes_ahead(fast_min: int) -> None:
    """The minutes are drift, whatever the uploads of some days say."""
    log = ListLog()
    placer = TimelineResolver(log, BERLIN)
    world = PumpHistory(now=utc("2025-11-20"), offset_s=2 * HOUR + fast_min * 60).run(utc("2025-11-22"))
    log.append(world.events)
    log.append(placer.pending_facts(world.now))
    live(world, placer, log, 5 * 24, every=12)
    assert anchors(log) == [(60, "zone_at_first_event"), (120, "evidence")]
    assert worst_s(times_of(placer, log), world.truth) <= fast_min * 60


def test_an_untouched_clock_is_never_moved_in_two_years() -> None:
    """Uploads every few hours, drifting two minutes a year, summer and winter."""
    log = ListLog()
    placer = TimelineResolver(log, BERLIN)
    world = PumpHistory(now=utc("2024-01-10"), offset_s=1 * HOUR)
    for month in range(24):
        world.now = utc("2024-01-10") + timedelta(days=30 * month)
        world.drift(10)
        live(world, placer, log, 96, every=6, lag_s=60 + 200 * (month % 3))
    assert anchors(log) == [(60, "zone_at_first_event")]
    assert not any("Uploads show" in words for words in placer.messages())


def test_evidence_before_last_setting() -> None:
    """It does not count after it."""
    log = ListLog()
    placer = TimelineResolver(log, BERLIN)
    world = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR)
    live(world, placer, log, 200)
    world.set_clock(9 * HOUR)
    live(world, placer, log, 8)
    world.set_clock(2 * HOUR)
    live(world, placer, log, 200)
    assert len(anchors(log)) == 1


def test_a_newest_time_that_no_event_has_is_no_evidence() -> None:
    """The cloud's greatest date stands still after the clock was set back, or lies in the future."""
    log = ListLog()
    placer = TimelineResolver(log, BERLIN)
    world = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR)
    live(world, placer, log, 48)
    for day in range(12):
        world.run(world.now + timedelta(hours=12))
        world.upload(newest=world.wall + timedelta(hours=20, minutes=day))
        log.append(world.events)
        log.append(placer.pending_facts(world.now))
    assert anchors(log) == [(120, "zone_at_first_event")]


def test_a_corrected_zone_makes_a_new_anchor() -> None:
    log = ListLog()
    wrong = Zones(timezone="America/New_York")
    world = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR).run(utc("2025-06-10"))
    log.append(world.events)
    log.append(TimelineResolver(log, wrong).pending_facts(world.now))
    right = TimelineResolver(log, BERLIN)
    log.append(right.pending_facts(world.now))
    assert anchors(log) == [(-240, "zone_at_first_event"), (120, "zone_at_first_event")]
    assert worst_s(times_of(right, log), world.truth) == 0
    assert worst_s(times_of(TimelineResolver(log, wrong), log), world.truth) == 6 * HOUR
    assert TimelineResolver(log, wrong).pending_facts(world.now) == []


def test_a_move_added_for_later_days_changes_no_anchor() -> None:
    log = ListLog()
    world = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR).run(utc("2025-06-10"))
    log.append(world.events)
    log.append(TimelineResolver(log, BERLIN).pending_facts(world.now))
    moved = attrs.evolve(BERLIN, moves=((date(2025, 7, 1), "Asia/Tokyo"),))
    assert TimelineResolver(log, moved).pending_facts(world.now) == []


def test_second_half_of_setting() -> None:
    """When it arrives, the setting is read again as a whole."""
    log = ListLog()
    world = PumpHistory(now=utc("2025-06-01T23:30"), offset_s=-5 * HOUR).run(utc("2025-06-05T23:30"))
    world.set_clock(2 * HOUR).run(utc("2025-06-08"))
    last = max(event.seq for event in world.events if event.kind == "clock.changed" and event.seq is not None)
    log.append(event for event in world.events if event.seq != last)
    placer = TimelineResolver(log, BERLIN)
    log.append(placer.pending_facts(world.now))
    log.append(world.events)
    log.append(placer.pending_facts(world.now))
    assert worst_s(times_of(placer, log), world.truth) <= 2


def test_false_jump_is_anchored_by_uploads() -> None:
    """A fall of five hours whose record never came: a day of uploads tells the offset."""
    log = ListLog()
    placer = TimelineResolver(log, BERLIN)
    world = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR)
    live(world, placer, log, 100)
    world.offset_s = -3 * HOUR
    live(world, placer, log, 60)
    assert anchors(log) == [(120, "zone_at_first_event"), (-180, "evidence")]
    assert worst_s(times_of(placer, log), world.truth) == 0


def test_after_a_reset_no_upload_gives_the_clock_a_time() -> None:
    log = ListLog()
    placer = TimelineResolver(log, BERLIN)
    world = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR)
    live(world, placer, log, 50)
    world.reset(EPOCH)
    live(world, placer, log, 100)
    assert anchors(log) == [(120, "zone_at_first_event")]
    assert None in times_of(placer, log).values()


@pytest.mark.parametrize(("zone", "home_h", "away_h"), [("Asia/Kolkata", 5.5, 5.75), ("Asia/Kathmandu", 5.75, 5.5)])
def test_quarter_hour_journey(zone: str, home_h: float, away_h: float) -> None:
    """Uploads distinguish it from drift."""
    zones = Zones(timezone=zone)
    log = ListLog()
    placer = TimelineResolver(log, zones)
    world = PumpHistory(now=utc("2025-06-01"), offset_s=home_h * HOUR)
    live(world, placer, log, 72)
    world.set_clock(away_h * HOUR)
    live(world, placer, log, 6 * 24)
    assert worst_s(times_of(placer, log), world.truth) <= 2
    world.set_clock(home_h * HOUR)
    live(world, placer, log, 72)
    assert worst_s(times_of(placer, log), world.truth) <= 2


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Asia/Kathmandu", "America/New_York"])
@pytest.mark.parametrize("drift_min", [-15, 15])
def test_quarter_hour_drift(zone: str, drift_min: int) -> None:
    """Uploads do not make it a journey."""
    zones = Zones(timezone=zone)
    home_s = zones.offset_at(utc("2025-06-01"))
    log = ListLog()
    placer = TimelineResolver(log, zones)
    world = PumpHistory(now=utc("2025-06-01"), offset_s=home_s)
    live(world, placer, log, 72)
    world.drift(drift_min * 60)
    live(world, placer, log, 120)
    world.set_clock(home_s)
    live(world, placer, log, 6 * 24)
    assert worst_s(times_of(placer, log), world.truth) <= 15 * 60 + 2
    assert worst_s(times_of(placer, log), world.truth, [key for key in world.truth if key > world.seq - 20]) <= 2


@pytest.mark.parametrize("away", ["Asia/Kolkata", "Asia/Tokyo"])
def test_quarter_hour_move_in_configuration(away: str) -> None:
    """It is no drift."""
    zones = Zones(timezone="Asia/Kathmandu", moves=((date(2025, 6, 10), away),))
    away_s = zones.offset_at(utc("2025-06-11"))
    for hours in (-3, 20):
        world = PumpHistory(now=utc("2025-06-01"), offset_s=5.75 * HOUR).run(utc("2025-06-10") + timedelta(hours=hours))
        world.set_clock(away_s).run(utc("2025-06-20"))
        log = ListLog()
        log.append(world.events)
        assert worst_s(placed_times(log, zones), world.truth) <= 2


# --- a log of an earlier release --------------------------------------------------------------------------------------


def fact(at_key: int, offset_min: int, basis: str) -> Event:
    """A clock.anchored event as an earlier release wrote it."""
    return Event(
        id=f"tandem:111:0:anchor:0:{offset_min}:{basis}:0", kind="clock.anchored", pump="111", group=0, seq=None,
        pump_time=datetime(2025, 6, 1), source="tandem", received_at=utc("2025-06-01"),
        body=ClockAnchored(from_key=0, at_key=at_key, offset_min=offset_min, basis=basis, zone="Europe/Berlin"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("at_key", "basis"), [(1, "zone_at_first_event"), (219, "zone_at_clock_change"), (219, "evidence")]
)
def test_anchor_of_earlier_release(at_key: int, basis: str) -> None:
    """Nine minutes of drift were set right; the earlier release put everything behind it a quarter of an hour later."""
    world = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR).run(utc("2025-06-10")).drift(540)
    world.log()
    world.set_clock(2 * HOUR).run(utc("2025-06-20"))
    assert [event.seq for event in world.events if event.kind == "clock.changed"] == [218, 219]
    log = ListLog()
    log.append([*world.events, fact(at_key, 120, basis)])
    placer = TimelineResolver(log, BERLIN)
    assert placer.pending_facts(world.now) == []
    assert worst_s(times_of(placer, log), world.truth, [key for key in world.truth if key not in {217, 218}]) <= 2


def test_drift_stored_by_earlier_release() -> None:
    """An offset that was only drift is not used."""
    world = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR).run(utc("2025-06-10"))
    log = ListLog()
    log.append([*world.events, fact(0, 135, "evidence")])
    placer = TimelineResolver(log, BERLIN)
    log.append(placer.pending_facts(world.now))
    assert anchors(log) == [(135, "evidence"), (120, "zone_at_first_event")]
    assert worst_s(times_of(placer, log), world.truth) == 0


# --- one law --------------------------------------------------------------------------------------------------------


@st.composite
def settings_worlds(draw: st.DrawFn) -> tuple[PumpHistory, Zones]:
    """A wearer who, from time to time, sets the clock: after daylight saving, for a trip and back, or against drift."""
    zones = Zones(
        timezone=draw(st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Adelaide"]))
    )
    now = utc("2025-01-05") + timedelta(days=draw(st.integers(0, 330)))
    world = PumpHistory(now=now, offset_s=zones.offset_at(now))
    world.log()  # the clock is right when the history begins: nothing else could show it
    for _ in range(draw(st.integers(1, 4))):
        world.run(world.now + timedelta(days=draw(st.integers(1, 40))), timedelta(hours=13))
        deed = draw(st.sampled_from(["home", "trip", "drift", "reset"]))
        if deed == "trip":
            world.set_clock(draw(st.sampled_from([-8, -5, 0, 1, 9])) * HOUR, between=draw(st.integers(0, 2)))
            world.run(world.now + timedelta(days=9), timedelta(hours=7))
        if deed == "reset":
            world.reset().run(world.now + timedelta(hours=5), timedelta(minutes=50))
        if deed == "drift":
            world.drift(draw(st.integers(-50, 50)))
        world.set_clock(zones.offset_at(world.now), between=draw(st.integers(0, 2)))
    world.run(world.now + timedelta(days=5), timedelta(hours=13))
    return world, zones


@settings(max_examples=60, deadline=None)
@given(settings_worlds(), st.randoms(use_true_random=False))
def test_any_order_of_arrival_ends_in_the_true_times(made: tuple[PumpHistory, Zones], rng: object) -> None:
    world, zones = made
    in_order, shuffled = ListLog(), ListLog()
    in_order.append(world.events)
    mixed = list(world.events)
    rng.shuffle(mixed)  # type: ignore[attr-defined]
    for start in range(0, len(mixed), 40):
        shuffled.append(mixed[start : start + 40])
    found = placed_times(in_order, zones)
    assert found == placed_times(shuffled, zones)
    assert worst_s(found, world.truth) <= 120


@settings(max_examples=40, deadline=None)
@given(settings_worlds())
def test_step_by_step_equals_all_at_once(made: tuple[PumpHistory, Zones]) -> None:
    """The anchors do not depend on how often the log was read."""
    world, zones = made
    log, all_at_once = ListLog(), ListLog()
    all_at_once.append(world.events)
    placer = TimelineResolver(log, zones)
    for event in world.events:
        log.append([event])
        log.append(placer.pending_facts(world.now))
    assert placer.resolve()[1] == TimelineResolver(log, zones).resolve()[1]
    assert worst_s(times_of(placer, log), world.truth) <= 120
