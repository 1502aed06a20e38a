"""What every user of an event log may rely on."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tconnectsync import events
from tconnectsync.eventlog import EventLog
from tests.eventlog.sample_events import RECEIVED, START, basal, fact, keys, numbered, row, upload
from tests.support.clocks import FakeClock


class EventLogContract:
    """Subclass it, and return a fresh log that can be written from the fixture ``log``."""

    @pytest.fixture
    def log(self) -> Iterator[EventLog]:
        """The log under test."""
        raise NotImplementedError

    def test_empty_log_ends_at_zero(self, log: EventLog) -> None:
        """An empty log ends at position zero."""
        assert log.end == 0
        assert list(log.streams()) == []
        assert list(log.events()) == []
        assert log.facts("upload.seen") == []

    def test_positions_count_from_one(self, log: EventLog) -> None:
        """Positions start at one and count up."""
        first = log.append([basal(1), basal(2)])
        second = log.append([basal(3)])
        assert (first.first, first.last, first.appended) == (1, 2, 2)
        assert (second.first, second.last, second.appended) == (3, 3, 1)
        assert [event.pos for event in log.events()] == [1, 2, 3]

    def test_read_what_was_appended(self, log: EventLog) -> None:
        """Reading gives what was appended."""
        event = basal(7, at=START.replace(microsecond=120_000))
        log.append([event])
        [stream] = log.streams()
        assert log.read(stream.id, 7, 7) == [msgspec.structs.replace(event, pos=1)]
        assert list(log.events()) == [msgspec.structs.replace(event, pos=1)]
        assert log.newest(stream.id) == msgspec.structs.replace(event, pos=1)

    def test_append_again(self, log: EventLog) -> None:
        """Appending the same events again appends nothing."""
        batch = [basal(1), row("a", START), upload("1")]
        log.append(batch)
        again = log.append(batch)
        assert (again.appended, again.duplicates, again.revisions) == (0, 3, 0)
        assert again.last < again.first
        assert log.end == 3

    def test_append_event_twice_in_batch(self, log: EventLog) -> None:
        """A batch with an event twice appends it once."""
        appended = log.append([basal(1), basal(1), upload("1"), upload("1")])
        assert (appended.appended, appended.duplicates) == (2, 2)

    def test_append_other_raw_same_body(self, log: EventLog) -> None:
        """Another vendor record with the same body is a duplicate."""
        log.append([basal(1)])
        assert log.append([msgspec.structs.replace(basal(1), raw={"n": 1, "estimated": "later"})]).duplicates == 1

    def test_append_revision(self, log: EventLog) -> None:
        """Another body is a revision, and the best one is read."""
        poor = numbered(1, events.BolusCompleted(bolus_id=4, status="completed"))
        rich = numbered(1, events.BolusCompleted(bolus_id=4, status="completed", delivered_u=2.5))
        unknown = numbered(1, events.Unknown(code="20", reason="no such code"), raw={"a": "long record" * 9})
        assert log.append([poor]).revisions == 0
        assert log.append([rich, unknown]).revisions == 2
        [stream] = log.streams()
        assert [event.body for event in log.read(stream.id, 0, 9)] == [rich.body]
        assert [event.pos for event in log.events()] == [1, 2, 3]
        assert log.append([poor, rich, unknown]).duplicates == 3

    @pytest.mark.parametrize(
        ("rich", "poor"),
        [
            (events.BasalDelivered(rate_u_per_h=1.2, rate_source="algorithm"), events.BasalDelivered(rate_u_per_h=1.2)),
            (events.PumpingSuspended(reason="alarm"), events.PumpingSuspended()),
            (
                events.BolusDelivered(bolus_id=4, status="completed", types=("now", "later")),
                events.BolusDelivered(bolus_id=4, status="completed"),
            ),
            (
                events.BasalRateChanged(rate_u_per_h=1.2, reasons=("resumed",)),
                events.BasalRateChanged(rate_u_per_h=1.2),
            ),
        ],
    )
    @pytest.mark.parametrize("turned", [False, True])
    def test_a_field_at_its_default_counts_as_not_reported(
        self, log: EventLog, rich: Any, poor: Any, turned: bool
    ) -> None:
        """The vendor renames an optional property: the record is as long as before, or longer."""
        told = [numbered(1, rich, raw={"name": 1}), numbered(1, poor, raw={"another name": 1})]
        for event in reversed(told) if turned else told:
            log.append([event])
        [stream] = log.streams()
        assert [event.body for event in log.read(stream.id, 0, 9)] == [rich]

    def test_revision_order(self, log: EventLog) -> None:
        """The best revision does not depend on the order of arrival."""

        def revisions(seq: int) -> list[events.Event]:
            return [
                numbered(seq, events.Unknown(code="9", reason="?"), raw={"x": 1}),
                numbered(seq, events.CarbsEntered(carbs_g=5.0), raw={"x": 1}),
                numbered(seq, events.CarbsEntered(carbs_g=6.0), raw={"x": 1}),
                numbered(seq, events.CarbsEntered(carbs_g=4.0), raw={"x": 1}),
                numbered(seq, events.BolusCompleted(bolus_id=1, status="x"), raw={}),
            ]

        chance = random.Random(3)
        for seq in range(1, 30):
            shuffled = revisions(seq)
            chance.shuffle(shuffled)
            cut = chance.randrange(len(shuffled))
            log.append(shuffled[:cut])
            log.append(shuffled[cut:])
        [stream] = log.streams()
        assert {event.body for event in log.read(stream.id, 1, 30)} == {events.BolusCompleted(bolus_id=1, status="x")}
        assert keys(log.read(stream.id, 1, 30)) == list(range(1, 30))

    @pytest.mark.parametrize("amounts", [(0.88, 1.7), (1.7, 0.88), (13.53, 2.0), (2.0, 13.53)])
    @pytest.mark.parametrize("turned", [False, True])
    def test_revision_of_corrected_row(self, log: EventLog, amounts: tuple[float, float], turned: bool) -> None:
        """A corrected row is as it was read last."""
        told = [
            msgspec.structs.replace(
                row("a", START),
                kind="bolus.completed",
                body=events.BolusCompleted(bolus_id=4, status="completed", delivered_u=amount),
                raw={"row": {"InsulinDelivered": str(amount)}},
                received_at=RECEIVED + number * timedelta(hours=7),
            )
            for number, amount in enumerate(amounts)
        ]
        for event in reversed(told) if turned else told:
            log.append([event])
        [stream] = log.streams()
        [event] = log.read(stream.id, 0, 2**60)
        assert event.body.delivered_u == amounts[-1]

    def test_read_in_pump_order(self, log: EventLog) -> None:
        """Events come in the pump's order, whatever arrived first."""
        numbers = list(range(1, 200))
        random.Random(1).shuffle(numbers)
        for start in range(0, len(numbers), 17):
            log.append([basal(seq) for seq in numbers[start : start + 17]])
        [stream] = log.streams()
        assert keys(log.read(stream.id, 0, 1000)) == list(range(1, 200))
        assert keys(log.read(stream.id, 50, 60)) == list(range(50, 61))
        assert (stream.first_key, stream.last_key, stream.numbered) == (1, 199, True)

    def test_read_order_clock_set_back(self, log: EventLog) -> None:
        """A clock that was set back does not change the order."""
        back = START - timedelta(hours=1)
        log.append([basal(1), basal(2), numbered(3, events.CarbsEntered(carbs_g=3.0)), basal(4, at=back)])
        log.append([numbered(5, events.CarbsEntered(carbs_g=5.0), at=back)])
        [stream] = log.streams()
        assert keys(log.read(stream.id, 0, 9)) == [1, 2, 3, 4, 5]
        assert keys(log.read(stream.id, 0, 9, frozenset({"carbs.entered"}))) == [3, 5]

    def test_streams_are_separate(self, log: EventLog) -> None:
        """Sequence groups, pumps and sources without numbers have separate streams."""
        log.append([basal(1), basal(1, group=1), basal(1, pump="9"), row("a", START), row("b", START, source="legacy")])
        assert [(s.pump, s.group, s.source, s.numbered) for s in log.streams()] == [
            ("123", 0, "tandem", True),
            ("123", 1, "tandem", True),
            ("9", 0, "tandem", True),
            ("123", None, "csv", False),
            ("123", None, "legacy", False),
        ]

    def test_read_order_unnumbered(self, log: EventLog) -> None:
        """Events without numbers are ordered by pump time, then by id."""
        log.append([row("b", START), row("c", START - timedelta(hours=1)), row("a", START)])
        [stream] = log.streams()
        found = log.read(stream.id, stream.first_key, stream.last_key)
        assert [event.id for event in found] == ["csv:123:c", "csv:123:a", "csv:123:b"]
        milliseconds = timedelta(milliseconds=1)
        assert stream.last_key == (START - START.replace(2008, 1, 1, 0, 0)) // milliseconds

    def test_read_selected_kinds(self, log: EventLog) -> None:
        """Reading can be limited to kinds."""
        log.append([basal(1), numbered(2, events.CarbsEntered(carbs_g=3.0)), basal(3)])
        [stream] = log.streams()
        assert keys(log.read(stream.id, 0, 9, frozenset({"carbs.entered", "no.such"}))) == [2]
        assert [event.seq for event in log.events(kinds=frozenset({"basal.delivered"}))] == [1, 3]
        assert log.read(stream.id, 0, 9, frozenset()) == []

    def test_touched_by_position(self, log: EventLog) -> None:
        """``touched`` gives every record of a pump by position."""
        log.append([basal(5), upload("1"), basal(3)])
        log.append([basal(3, 1.1)])
        [stream] = log.streams()
        told = [
            (1, stream.id, 5, "basal.delivered"),
            (3, stream.id, 3, "basal.delivered"),
            (4, stream.id, 3, "basal.delivered"),
        ]
        assert list(log.touched(0)) == told
        assert list(log.touched(1, 3)) == told[1:2]
        assert list(log.touched(0, limit=2)) == told[:2]

    def test_touched_revision(self, log: EventLog) -> None:
        """``touched`` also gives the kind that a revised event had before.

        A fold of the old kind must look again.
        """
        log.append([numbered(4, events.CarbsEntered(carbs_g=1.0)), basal(5)])
        log.append([numbered(4, events.Unknown(code="48", reason="?")), basal(5, 1.0)])
        [stream] = log.streams()
        assert sorted(log.touched(2)) == [
            (3, stream.id, 4, "carbs.entered"),
            (3, stream.id, 4, "unknown"),
            (4, stream.id, 5, "basal.delivered"),
        ]
        assert {kind for _, _, _, kind in log.touched(2, limit=1)} == {"carbs.entered", "unknown"}

    def test_touched_intervals(self, log: EventLog) -> None:
        """Each interval with new records once, also for the kind that a revised event had before; keys are rounded down."""
        early = msgspec.structs.replace(
            basal(1), id="early", group=None, seq=None, pump_time=datetime(2007, 12, 31, 23)
        )
        log.append([numbered(4, events.CarbsEntered(carbs_g=1.0)), upload("1"), basal(9), basal(10), basal(19)])
        log.append([numbered(4, events.Unknown(code="48", reason="?")), early])
        with_numbers, without = (stream.id for stream in log.streams())

        def touched(after: int, *kinds: str) -> list[tuple[int, int, str]]:
            widths = {"numbered_width": 10, "unnumbered_width": 24 * 3600 * 1000}
            return sorted(log.touched_intervals(after, log.end, frozenset(kinds), **widths))

        assert touched(0, "basal.delivered") == [
            (with_numbers, 0, "basal.delivered"), (with_numbers, 1, "basal.delivered"), (without, -1, "basal.delivered"),
        ]  # fmt: skip
        assert touched(5, "carbs.entered", "unknown") == [
            (with_numbers, 0, "carbs.entered"),
            (with_numbers, 0, "unknown"),
        ]
        assert touched(log.end, "basal.delivered") == touched(0) == []

    def test_facts_newest_first(self, log: EventLog) -> None:
        """Facts are in no stream and come newest first."""
        window = fact("window", events.WindowFetched(first_day="2025-03-01", last_day="2025-03-02"))
        log.append([upload("1"), window, upload("2"), upload("3", pump="9"), upload("4", source="other")])
        assert list(log.streams()) == []
        assert [event.id for event in log.facts("upload.seen")] == [
            "other:123:upload:4",
            "tandem:9:upload:3",
            "tandem:123:upload:2",
            "tandem:123:upload:1",
        ]
        assert [event.id for event in log.facts("upload.seen", source="tandem", pump="123", limit=1)] == [
            "tandem:123:upload:2"
        ]
        assert [event.body for event in log.facts("window.fetched")] == [window.body]

    def test_facts_of_events(self, log: EventLog) -> None:
        """``facts`` answers for rare and frequent events too."""
        first = numbered(9, events.ClockChanged(part="time", step_s=3600.0))
        second = numbered(2, events.ClockChanged(part="date", step_s=-3600.0))
        log.append([basal(1), first, basal(3)])
        log.append([second])
        assert keys(log.facts("clock.changed")) == [2, 9]
        assert keys(log.facts("clock.changed", limit=1)) == [2]
        assert log.facts("clock.changed", pump="9") == []
        assert log.facts("clock.changed", source="other") == []
        assert keys(log.facts("basal.delivered", pump="123")) == [3, 1]
        assert log.facts("settings.captured") == []

    def test_order_queries(self, log: EventLog) -> None:
        """Times, first, last and neighbour follow the pump's order."""
        log.append([basal(seq) for seq in (10, 20, 30)])
        log.append([numbered(25, events.CarbsEntered(carbs_g=1.0)), numbered(5, events.CarbsEntered(carbs_g=2.0))])
        [stream] = log.streams()
        carbs, both = frozenset({"carbs.entered"}), frozenset({"carbs.entered", "basal.delivered"})
        assert [key for key, _ in log.times(stream.id, both)] == [5, 10, 20, 25, 30]
        assert list(log.times(stream.id, carbs, 6, 25)) == [(25, basal(25).pump_time)]
        assert log.first_last(stream.id, carbs) == ((5, basal(5).pump_time), (25, basal(25).pump_time))
        assert log.first_last(stream.id, frozenset({"glucose.reading"})) is None
        assert log.neighbour(stream.id, 25) == (20, basal(20).pump_time)
        assert log.neighbour(stream.id, 25, before=False) == (30, basal(30).pump_time)
        assert log.neighbour(stream.id, 25, carbs) == (5, basal(5).pump_time)
        assert log.neighbour(stream.id, 5, both) is None

    def test_jumps_order(self, log: EventLog) -> None:
        """Jumps of the pump's clock do not depend on the order of arrival.

        A clock that fell back to 2008 and was set again later.
        """
        world = [basal(seq) for seq in range(1, 11)]
        world += [basal(seq, at=START.replace(2008, 1, 1) + timedelta(minutes=seq)) for seq in range(11, 21)]
        world += [basal(seq) for seq in range(21, 40)]
        world += [basal(seq, at=basal(seq).pump_time - timedelta(hours=3, minutes=6)) for seq in range(40, 50)]
        chance = random.Random(5)
        for pump in range(12):
            mine = [msgspec.structs.replace(event, pump=str(pump), id=f"{pump}:{event.seq}") for event in world]
            chance.shuffle(mine)
            size = chance.randrange(1, 20)
            for start in range(0, len(mine), size):
                log.append(mine[start : start + size])
        for stream in log.streams():
            assert log.jumps(stream.id) == [
                (11, basal(10).pump_time, world[10].pump_time),
                (40, basal(39).pump_time, world[39].pump_time),
            ]

    def test_jump_disappears(self, log: EventLog) -> None:
        """A jump disappears when the event between arrives, or a better revision."""
        late = numbered(2, events.CarbsEntered(carbs_g=1.0), at=START)
        log.append([basal(1, at=START + timedelta(hours=2)), basal(3, at=START - timedelta(hours=2))])
        [stream] = log.streams()
        assert [key for key, _, _ in log.jumps(stream.id)] == [3]
        log.append([late])
        assert log.jumps(stream.id) == []
        log.append([numbered(4, events.Unknown(code="1", reason="?"), at=START - timedelta(hours=9))])
        assert [key for key, _, _ in log.jumps(stream.id)] == [4]
        log.append([numbered(4, events.CarbsEntered(carbs_g=1.0), at=START)])
        assert log.jumps(stream.id) == []

    def test_append_unreadable_body(self, log: EventLog) -> None:
        """A body that would not read back is kept as unknown."""
        odd = numbered(1, events.CarbsEntered(carbs_g="much"), raw={"carbs": "much"})  # type: ignore[arg-type]
        log.append([odd, basal(2)])
        assert log.append([odd]).duplicates == 1
        [stream] = log.streams()
        first, second = log.read(stream.id, 1, 2)
        assert (first.kind, first.body.code, first.raw) == ("unknown", "carbs.entered", {"carbs": "much"})
        assert second.kind == "basal.delivered"

    def test_append_odd_raw(self, log: EventLog) -> None:
        """An odd vendor record does not stop the rest."""
        odd = msgspec.structs.replace(
            basal(1), raw={"text": "\ud800", "huge": 1 << 70, "object": {1, 2}, "list": [(1,), None]}
        )
        log.append([odd, basal(2)])
        assert [event.seq for event in log.events()] == [1, 2]

    def test_append_wrong_time_zones(self, log: EventLog) -> None:
        """Times that break the rules about zones are refused."""
        aware = msgspec.structs.replace(basal(1), pump_time=basal(1).received_at)
        with pytest.raises(ValueError, match="pump_time"):
            log.append([basal(2), aware])
        assert log.end == 0

    def test_log_mark(self, log: EventLog) -> None:
        """The checksum at a position covers everything up to it."""
        log.append([basal(1), upload("1")])
        mark = log.checksum_at(2)
        log.append([basal(2)])
        assert log.checksum_at(2) == mark
        assert log.checksum_at(3) != mark
        assert log.checksum_at(4) is None

    def test_size_counts(self, log: EventLog) -> None:
        log.append([basal(1), basal(2)])
        size = log.size()
        assert (size.positions, size.segments) == (2, 1)
        assert size.bytes > 400


class TestEventLogOnDisk(EventLogContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[EventLog]:
        """The log."""
        with closing(EventLog.open(tmp_path, clock=FakeClock(RECEIVED), writable=True)) as log:
            yield log


class TestEventLogInTinySegments(EventLogContract):
    """The same promises when every few events begin a segment, and old ones are compressed all the time."""

    @pytest.fixture
    def log(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EventLog]:
        """The log with small segments."""
        with closing(EventLog.open(tmp_path, clock=FakeClock(RECEIVED), writable=True, segment_bytes=600)) as log:
            append: Callable[..., object] = log.append

            def append_and_maintain(batch: list[events.Event]) -> object:
                appended = append(batch)
                log.maintain(100)
                return appended

            monkeypatch.setattr(log, "append", append_and_maintain)
            yield log

    def test_size_counts(self, log: EventLog) -> None:
        log.append([basal(seq) for seq in range(1, 20)])
        assert log.size().segments > 3
        assert log.size().positions == 19


class TestEventLogReopenedAllTheTime(EventLogContract):
    """The same promises when the process ends after every append."""

    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[EventLog]:
        """The log, opened again after every append."""

        class Reopened:
            def __init__(self) -> None:
                self.now = EventLog.open(tmp_path, clock=FakeClock(RECEIVED), writable=True, segment_bytes=2000)

            def append(self, batch: list[events.Event]) -> object:
                try:
                    return self.now.append(batch)
                finally:
                    self.now.close()
                    self.now = EventLog.open(tmp_path, clock=FakeClock(RECEIVED), writable=True, segment_bytes=2000)

            def __getattr__(self, name: str) -> object:
                return getattr(self.now, name)

        reopened = Reopened()
        yield reopened  # type: ignore[misc]
        reopened.now.close()
