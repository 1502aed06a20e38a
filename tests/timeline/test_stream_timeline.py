"""Placements from a log: several pumps, sources without numbers, the edge of history, and what must be folded again."""

from __future__ import annotations

from datetime import timedelta

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tconnectsync.timeline.pump_clock import ClockPiece, PumpClock, ZoneClock
from tconnectsync.timeline.resolver import TimelineResolver
from tconnectsync.timeline.spans import Span
from tconnectsync.timeline.stream_timeline import StreamTimeline, timeline_from_json, timeline_to_json
from tconnectsync.timeline.wear import wear_changes
from tconnectsync.timeline.zones import Zones
from tests.timeline.harness import EPOCH, ListLog, ListStream, PumpHistory, row, utc

HOUR = 3600
BERLIN = Zones(timezone="Europe/Berlin")
DAY = timedelta(days=1)


def stream_of(log: ListLog, pump: str = "111", *, numbered: bool = True) -> ListStream:
    return next(each for each in log.streams() if each.pump == pump and each.numbered == numbered)


def place(log: ListLog, pump: str = "111", *, numbered: bool = True) -> StreamTimeline:
    return TimelineResolver(log, BERLIN).resolve()[stream_of(log, pump, numbered=numbered).id]


def clock(*pieces: tuple[int, int | None]) -> PumpClock:
    return PumpClock(pieces=tuple(ClockPiece(from_key=key, offset_s=offset_s) for key, offset_s in pieces))


# --- several pumps --------------------------------------------------------------------------------------------------


def test_hand_over_at_first_wear_sign() -> None:
    """The new pump takes over there, and the old one ends there."""
    old = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR, pump="111").run(utc("2025-06-10"))
    new = PumpHistory(now=utc("2025-06-09"), offset_s=2 * HOUR, pump="222").run(
        utc("2025-06-12"), kind="basal.delivered"
    )
    new.run(utc("2025-06-14"))
    old.run(utc("2025-06-20"), kind="basal.delivered")
    log = ListLog()
    log.append([*old.events, *new.events])
    at = utc("2025-06-12T01:00")
    assert wear_changes(place(log, "111").active) == ((at, "wear.ended"),)
    assert [kind for _, kind in wear_changes(place(log, "222").active)] == ["wear.ended", "wear.began"]
    assert wear_changes(place(log, "222").active)[1][0] == at
    found = TimelineResolver(log, BERLIN).status()
    assert (found["111"]["worn"], found["222"]["worn"]) == (False, True)


def test_hand_over_before_next_event() -> None:
    """A hand-over is placed before the first event behind it."""
    old = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR, pump="111").run(utc("2025-06-10"))
    new = PumpHistory(now=utc("2025-06-09T00:30"), offset_s=2 * HOUR, pump="222").run(utc("2025-06-12"))
    log = ListLog()
    log.append([*old.events, *new.events])
    for world in (old, new):
        placement, stream = place(log, world.pump), stream_of(log, world.pump)
        found = placement.hand_overs(log, stream)
        assert [(at, kind) for _, at, kind in found] == list(wear_changes(placement.active))
        for key, at, _ in found:
            assert key == min((key for key, true in world.truth.items() if true >= at), default=stream.last_key)


def test_marks_are_counted_in_true_time_not_by_the_clocks() -> None:
    old = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR, pump="111").run(utc("2025-06-10"))
    new = PumpHistory(now=utc("2025-06-09T12:00"), offset_s=2 * HOUR, pump="222")
    new.set_clock(9 * HOUR).run(utc("2025-06-10T06:00")).set_clock(2 * HOUR).run(utc("2025-06-12"))
    log = ListLog()
    log.append([*old.events, *new.events])
    worn = place(log, "222").active
    assert worn[0].begin == utc("2025-06-09T13:00:01")
    assert worn[-1].begin is not None
    assert worn[-1].begin > utc("2025-06-10")


def test_settings_go_with_the_pump_that_they_were_read_from() -> None:
    """They come without a number and show no wear, so the other events of their pump decide whether they count."""
    log = ListLog()
    for pump, first, last in (("111", "2025-10-01", "2025-10-10"), ("222", "2025-10-10", "2025-10-20")):
        log.append(PumpHistory(now=utc(first), offset_s=2 * HOUR, pump=pump).run(utc(last)).events)
        log.append([row(utc(first), BERLIN, pump=pump, kind="settings.captured", source="tandem")])
    placements = TimelineResolver(log, BERLIN).resolve()
    worn = {(each.pump, each.numbered): placements[each.id].active for each in log.streams()}
    assert worn["111", False] == worn["111", True]
    assert worn["222", False] == worn["222", True]
    assert worn["111", True] != worn["222", True]


def test_a_pump_of_unknown_time_does_not_take_the_wear_away() -> None:
    old = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR, pump="111").run(utc("2025-06-10"))
    new = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR, pump="222").run(
        utc("2025-06-02"), kind="basal.delivered"
    )
    new.reset(EPOCH).run(utc("2025-06-05"))
    log = ListLog()
    log.append([*old.events, *new.events])
    assert place(log, "111").active == (Span(),)


def test_a_closed_overlap_is_not_read_again_for_new_events() -> None:
    old = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR, pump="111").run(
        utc("2025-06-10"), timedelta(minutes=30)
    )
    new = PumpHistory(now=utc("2025-06-08"), offset_s=2 * HOUR, pump="222").run(
        utc("2025-06-20"), timedelta(minutes=30)
    )
    log = ListLog()
    log.append([*old.events, *new.events])
    placer = TimelineResolver(log, BERLIN)
    before = placer.resolve()
    log.append(new.run(utc("2025-06-20T01:00"), timedelta(minutes=30)).events)
    asked = log.questions
    assert placer.resolve() == before
    assert log.questions - asked < 400


def test_a_late_mark_inside_an_overlap_is_seen() -> None:
    old = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR, pump="111").run(utc("2025-06-10"))
    new = PumpHistory(now=utc("2025-06-05"), offset_s=2 * HOUR, pump="222").run(utc("2025-06-12"), timedelta(hours=5))
    log = ListLog()
    late = [event for event in old.events if event.received_at == utc("2025-06-06T12:00")]
    log.append(event for event in [*old.events, *new.events] if event not in late)
    placer = TimelineResolver(log, BERLIN)
    placer.resolve()
    log.append(late)
    assert placer.resolve() == TimelineResolver(log, BERLIN).resolve()


def test_second_sequence_group() -> None:
    """It is a stream of its own and is reported."""
    first = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR).run(utc("2025-06-10"))
    second = PumpHistory(now=utc("2025-06-10"), offset_s=2 * HOUR, group=1).run(utc("2025-06-12"))
    log = ListLog()
    log.append([*first.events, *second.events])
    placer = TimelineResolver(log, BERLIN)
    assert len(placer.resolve()) == 2
    assert any("sequence group 1" in words for words in placer.messages())
    assert placer.status()["111"]["newest_event"] == utc("2025-06-12")


# --- numbers beat no numbers ----------------------------------------------------------------------------------------


def test_rows_beside_numbered_events() -> None:
    """Rows without numbers are ignored only where numbered events exist."""
    world = PumpHistory(now=utc("2025-01-01"), offset_s=1 * HOUR).set_clock(
        1 * HOUR
    )  # the clock's records reach far back
    world.now = utc("2025-06-01")
    world.set_clock(2 * HOUR).run(utc("2025-06-10"))
    log = ListLog()
    log.append(world.events)
    log.append(row(utc("2025-03-01") + n * DAY, BERLIN) for n in range(120))
    placement = place(log, numbered=False)
    assert not placement.is_superseded(utc("2025-04-01"))
    assert placement.is_superseded(utc("2025-06-05"))
    assert not placement.is_superseded(utc("2025-06-20"))
    assert isinstance(placement.clock, ZoneClock)
    assert place(log).superseded == ()


def test_rows_fill_missing_days() -> None:
    """Rows without numbers fill days that lack numbered events."""
    world = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR).run(utc("2025-06-10"))
    world.now = utc("2025-06-20")
    world.run(utc("2025-06-25"))
    log = ListLog()
    log.append(world.events)
    log.append(row(utc("2025-05-20") + n * DAY, BERLIN) for n in range(40))
    placement = place(log, numbered=False)
    ignored = [n for n in range(40) if placement.is_superseded(utc("2025-05-20") + n * DAY)]
    assert ignored == [*range(13, 22), *range(32, 37)]


def test_rows_before_numbered_source() -> None:
    """Their pump counts as worn until the numbered source begins."""
    world = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR).run(utc("2025-06-10"))
    log = ListLog()
    log.append(world.events)
    log.append(row(utc("2025-05-20") + n * DAY, BERLIN) for n in range(40))
    placements = TimelineResolver(log, BERLIN).resolve()
    rows = placements[stream_of(log, numbered=False).id]
    numbered = placements[stream_of(log).id]
    assert rows.active == (Span(end=utc("2025-06-01T01:00")), Span(begin=utc("2025-06-11")))
    assert numbered.active == (Span(begin=utc("2025-06-01T01:00"), end=utc("2025-06-11")),)


def test_new_numbered_events_do_not_touch_old_rows() -> None:
    world = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR).run(utc("2025-06-10"))
    log = ListLog()
    log.append(row(utc("2025-05-01") + n * DAY, BERLIN) for n in range(35))
    log.append(world.events)
    placer = TimelineResolver(log, BERLIN)
    before = placer.resolve()
    log.append(world.run(utc("2025-06-11")).events)
    after = placer.resolve()
    stream = stream_of(log, numbered=False)
    assert after == before
    assert after == TimelineResolver(log, BERLIN).resolve()
    assert after[stream.id].changed_keys(before[stream.id], log, stream) == []


def test_late_numbered_events_cover_rows_that_they_reach() -> None:
    world = PumpHistory(now=utc("2025-05-10"), offset_s=2 * HOUR).run(utc("2025-05-20"))
    rows = [row(utc("2025-05-01") + n * DAY, BERLIN) for n in range(35)]
    log = ListLog()
    log.append(rows)
    log.append(world.events[200:])
    placer = TimelineResolver(log, BERLIN)
    placer.resolve()
    log.append(world.events[:200])
    assert placer.resolve() == TimelineResolver(log, BERLIN).resolve()


def test_rows_are_read_by_the_zones_own_rules() -> None:
    log = ListLog()
    log.append(row(at, BERLIN) for at in (utc("2025-01-15"), utc("2025-07-15"), utc("2025-10-26T00:30")))
    placement = place(log, numbered=False)
    times = [placement.at(0, event.pump_time) for event in log.records]
    assert times == [utc("2025-01-15"), utc("2025-07-15"), utc("2025-10-26T00:30")]
    assert TimelineResolver(log, BERLIN).status("csv")["111"]["clock_basis"] == "zone_rules"


# --- the edge of history --------------------------------------------------------------------------------------------


def test_without_an_opened_history_everything_is_wanted() -> None:
    log = ListLog()
    log.append(PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR).run(utc("2025-06-10")).events)
    assert place(log).in_delivery_window(utc("1999-01-01"))


def test_opened_days_are_local_whole_and_inclusive() -> None:
    world = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR).run(utc("2025-06-10"))
    world.opened("2025-06-05")
    world.opened("2025-05-01", "2025-05-02")
    log = ListLog()
    log.append(world.events)
    assert place(log).delivery_windows == (
        Span(begin=utc("2025-04-30T22:00"), end=utc("2025-05-02T22:00")),
        Span(begin=utc("2025-06-04T22:00")),
    )


def test_for_a_fold_a_pump_is_worn_from_the_first_day() -> None:
    """What goes on at the edge of a window begins there. The end of the last window changes nothing."""
    world = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR).run(utc("2025-06-10"))
    world.opened("2025-06-03", "2025-06-04")
    world.opened("2025-06-07", "2025-06-08")
    log = ListLog()
    log.append(world.events)
    found = place(log).hand_overs(log, stream_of(log))
    assert [(at, kind) for _, at, kind in found[1:]] == [
        (utc("2025-06-02T22:00"), "wear.began"),
        (utc("2025-06-04T22:00"), "wear.ended"),
        (utc("2025-06-06T22:00"), "wear.began"),
    ]


def test_another_pumps_history_opens_nothing_here() -> None:
    world = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR, pump="111").run(utc("2025-06-10"))
    other = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR, pump="222").run(utc("2025-06-10"))
    other.opened("2025-06-05")
    log = ListLog()
    log.append([*world.events, *other.events])
    assert place(log, "111").in_delivery_window(utc("2025-06-02"))
    assert not place(log, "222").in_delivery_window(utc("2025-06-02"))


# --- what must be folded again --------------------------------------------------------------------------------------


def built(days: int = 20) -> tuple[ListLog, PumpHistory]:
    world = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR).run(utc("2025-06-01") + days * DAY)
    log = ListLog()
    log.append(world.events)
    return log, world


def changed(log: ListLog, old: StreamTimeline, new: StreamTimeline) -> list[tuple[int, int]]:
    stream = stream_of(log)
    return new.changed_keys(old, log, stream)


def test_changed_ranges_at_the_ends() -> None:
    """Nothing new changes nothing; if nothing was known, everything changes."""
    log, world = built()
    placement = place(log)
    stream = stream_of(log)
    assert placement.changed_keys(placement, log, stream) == []
    assert placement.changed_keys(None, log, stream) == [(1, world.seq)]


def test_a_setting_at_the_end_leaves_old_keys_alone() -> None:
    log, world = built()
    placer = TimelineResolver(log, BERLIN)
    log.append(placer.pending_facts(world.now))
    before, last = placer.resolve()[1], world.seq
    world.set_clock(-4 * HOUR).run(world.now + DAY)
    log.append(world.events)
    ranges = changed(log, before, placer.resolve()[1])
    assert min(first for first, _ in ranges) > last


def test_a_new_anchor_changes_its_component() -> None:
    log, world = built()
    before = place(log)
    after = msgspec.structs.replace(before, clock=clock((0, 1 * HOUR)))
    assert changed(log, before, after) == [(1, world.seq)]
    partly = msgspec.structs.replace(before, clock=clock((0, 2 * HOUR), (100, 1 * HOUR), (200, 2 * HOUR)))
    assert changed(log, before, partly) == [(100, 199)]


def test_moved_hand_over() -> None:
    """It changes the events between, and the one after them."""
    log, world = built()
    before = msgspec.structs.replace(place(log), active=(Span(end=utc("2025-06-05")),))
    after = msgspec.structs.replace(before, active=(Span(end=utc("2025-06-06")),))
    ((first, last),) = changed(log, before, after)
    inside = [key for key, at in world.truth.items() if utc("2025-06-05") <= at < utc("2025-06-06")]
    assert inside[0] - 2 <= first <= inside[0]
    assert inside[-1] < last <= inside[-1] + 3


def test_a_widened_horizon_changes_what_it_newly_wants() -> None:
    log, world = built()
    before = msgspec.structs.replace(place(log), delivery_windows=(Span(begin=utc("2025-06-15")),))
    after = msgspec.structs.replace(before, delivery_windows=(Span(begin=utc("2025-06-10")),))
    ((first, last),) = changed(log, before, after)
    inside = [key for key, at in world.truth.items() if utc("2025-06-10") <= at < utc("2025-06-15")]
    assert first <= inside[0]
    assert last > inside[-1]
    assert last - first < len(inside) + 6


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 480), st.sampled_from([None, 0, 3600, 7200])), max_size=4),
    st.lists(st.tuples(st.integers(1, 480), st.sampled_from([None, 0, 3600, 7200])), max_size=4),
    st.lists(st.integers(0, 500), max_size=4, unique=True),
    st.lists(st.integers(0, 500), max_size=4, unique=True),
)
def test_moved_events_are_in_changed_ranges(
    old_pieces: list[tuple[int, int | None]],
    new_pieces: list[tuple[int, int | None]],
    old_worn: list[int],
    new_worn: list[int],
) -> None:
    """All of them are."""
    log, _ = built()

    def made(pieces: list[tuple[int, int | None]], hours: list[int]) -> StreamTimeline:
        bounds = [utc("2025-06-01") + timedelta(hours=hour) for hour in sorted(hours)]
        spans = tuple(Span(begin=begin, end=end) for begin, end in zip(bounds[::2], bounds[1::2], strict=False))
        return StreamTimeline(clock=clock((0, 7200), *sorted(dict(pieces).items())), active=spans)

    old, new = made(old_pieces, old_worn), made(new_pieces, new_worn)
    ranges = changed(log, old, new)
    for event in log.records:
        assert event.seq is not None
        times = [each.at(event.seq, event.pump_time) for each in (old, new)]
        worn = [
            at is not None and any(span.contains(at) for span in each.active)
            for each, at in zip((old, new), times, strict=True)
        ]
        if times[0] != times[1] or worn[0] != worn[1]:
            assert any(first <= event.seq <= last for first, last in ranges)


# --- the value ------------------------------------------------------------------------------------------------------


def test_a_placement_survives_json() -> None:
    span = Span(begin=utc("2025-06-01"), end=None)
    numbered = StreamTimeline(clock=clock((0, 3600), (7, None)), active=(span,), delivery_windows=(span, Span()))
    rows = StreamTimeline(clock=ZoneClock(zones=BERLIN), superseded=(span,))
    for placement in (numbered, rows):
        assert timeline_from_json(timeline_to_json(placement)) == placement
        assert timeline_to_json(timeline_from_json(timeline_to_json(placement))) == timeline_to_json(placement)


def test_an_idle_placer_asks_the_log_nothing() -> None:
    log, world = built()
    placer = TimelineResolver(log, BERLIN)
    placer.resolve()
    asked = log.questions
    placer.resolve()
    placer.pending_facts(world.now)
    assert log.questions == asked


def test_status_shows_offset_basis_wear_and_age() -> None:
    log, world = built()
    assert TimelineResolver(log, BERLIN).status("tandem") == {
        "111": {
            "clock_offset_minutes": 120,
            "clock_basis": "zone_at_first_event",
            "worn": True,
            "newest_event": world.now,
        }
    }
    assert TimelineResolver(log, BERLIN).status("other") == {}


def test_a_clock_an_hour_ahead_is_a_message() -> None:
    world = PumpHistory(now=utc("2025-10-01"), offset_s=2 * HOUR).run(utc("2025-11-20"))
    log = ListLog()
    log.append(world.events)
    assert [words.split(".")[0] for words in TimelineResolver(log, BERLIN).messages()] == [
        "The clock of pump 111 seems to have been 1 h ahead since 26 October"
    ]


def test_other_log_is_read_from_start() -> None:
    """A shorter one too."""
    log, world = built()
    placer = TimelineResolver(log, BERLIN)
    placer.resolve()
    shorter = ListLog()
    shorter.append(world.events[:5])
    placer.log = shorter
    assert placer.resolve() == TimelineResolver(shorter, BERLIN).resolve()


def test_an_empty_log_has_no_placements() -> None:
    placer = TimelineResolver(ListLog(), BERLIN)
    assert (placer.resolve(), placer.messages(), placer.status()) == ({}, [], {})
    assert placer.pending_facts(utc("2025-06-01")) == []
