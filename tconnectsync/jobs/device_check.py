"""Checks that a file's data belongs to the pump it claims: under a wrong serial number every dose would count twice.

It compares samples with the records of the log at the same sequence numbers, and the vendor's own device id if events have one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import date

import attrs

from tconnectsync.errors import RequestRefused
from tconnectsync.eventlog import EventLog, Stream
from tconnectsync.eventlog.codec import pump_time_of
from tconnectsync.events import FACTS, Event
from tconnectsync.text.plural import counted

Device = Callable[[Event], "str | None"]
_SAMPLES = 32
"""How many events of each stream of the log are sampled for their device id."""
_WRONG = "nothing was imported"
_SHARED_DAYS = 2
"""A change of pumps has one day with records of both."""


@attrs.define
class DeviceIdentityCheck:
    """Checks the events of files before they are appended."""

    events: EventLog
    _streams: Sequence[Stream] = attrs.field(init=False)
    _devices: dict[str, set[str]] = attrs.field(factory=lambda: defaultdict(set))
    """Device ids by pump, from the files."""
    _known: dict[str, set[str]] = attrs.field(factory=dict)
    """Device ids by pump, from the log."""
    _days: dict[str, set[date]] = attrs.field(factory=lambda: defaultdict(set))
    """Days of the pump's clock, by pump, from the files."""
    _asked: list[Device] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self._streams = self.events.streams()

    def add(self, events: Sequence[Event], device: Device) -> None:
        """Check a batch: compare a few events with the log, and collect every device id. Errors: RequestRefused."""
        if device not in self._asked:
            self._asked.append(device)
        numbered = []
        for event in events:
            if event.kind in FACTS:
                continue
            device_id = device(event)
            self._devices[event.pump].update(() if device_id is None else (device_id,))
            self._days[event.pump].add(event.pump_time.date())
            if event.seq is not None:
                numbered.append(event)
        for event in {
            id(each): each for each in (numbered[:1] + numbered[len(numbered) // 2 :][:1] + numbered[-1:])
        }.values():
            self._compare(event)

    def require_same_device(self) -> None:
        """Compare the collected device ids with those of the log. Call it after all batches. Errors: RequestRefused."""
        known = self._known = self._sampled()
        for pump, devices in self._devices.items():
            for other, theirs in known.items():
                if other != pump and devices & theirs - known.get(pump, set()):
                    raise RequestRefused(
                        f"This data is from pump {other}, not from {pump}; {_WRONG}.",
                        remedy=f"Import it with `--pump {other}`: under another serial number every dose would count twice.",
                    )
            if len(devices) > 1 and devices - known.get(pump, set()):
                raise RequestRefused(
                    f"This is data of {counted(len(devices), 'device')} ({', '.join(sorted(devices))}), but all for pump {pump}; {_WRONG}.",
                    remedy="Import the files of each pump separately, each with its own `--pump`.",
                )

    def require_own_pump(self, named: str | None) -> None:
        """A new pump with days that another pump of the log has, too, must be ``named``: the file may be a sibling's.

        Call it after all batches. Errors: RequestRefused.
        """
        known = {stream.pump for stream in self._streams}
        for pump in sorted(self._days.keys() - known - {named}):
            for stream in self._streams:
                first, last = self._days_of(stream)
                shared = sorted(day for day in self._days[pump] if first <= day <= last)
                if len(shared) >= _SHARED_DAYS:
                    raise RequestRefused(
                        f"Pump {pump} is new here, and pump {stream.pump} has records of the same days ({shared[0]} to {shared[-1]});"
                        f" {_WRONG}.",
                        remedy=f"If both pumps are the same person's, import it with `--pump {pump}`. No command removes somebody else's doses"
                        " after an import.",
                    )

    def _days_of(self, stream: Stream) -> tuple[date, date]:
        """The first and the last day of a stream, by the pump's clock."""
        if not stream.numbered:
            return pump_time_of(stream.first_key * 1000).date(), pump_time_of(stream.last_key * 1000).date()
        ends = [self.events.read(stream.id, key, key, with_raw=False)[0] for key in (stream.first_key, stream.last_key)]
        return ends[0].pump_time.date(), ends[1].pump_time.date()

    def notices(self) -> Iterator[str]:
        """Yield warnings about data that looks wrong but may be correct."""
        known = sorted({stream.pump for stream in self._streams})
        for pump, devices in self._devices.items():
            if known and pump not in known:
                yield (
                    f"ATTENTION: pump {pump} is new; the log has {', '.join(known)}. If this is data of one of those,"
                    " every dose will count twice: compare the serial number with the one on the pump's back."
                )
            theirs = self._known.get(pump, set()) if devices else set()
            if theirs and not devices & theirs:
                yield (
                    f"ATTENTION: the log has a different device id for pump {pump} than this data. If this is another pump's data,"
                    " its doses are now stored as this pump's: compare the serial numbers."
                )

    def _compare(self, event: Event) -> None:
        assert event.seq is not None  # noqa: S101 - only numbered ones are asked for
        for stream in self._streams:
            if not stream.numbered or stream.group != event.group:
                continue
            if not stream.first_key <= event.seq <= stream.last_key:
                continue
            for there in self.events.read(stream.id, event.seq, event.seq):
                same = there.pump_time == event.pump_time
                if stream.pump == event.pump and not same:
                    raise RequestRefused(
                        f"Record {event.seq} of pump {event.pump} has the time {there.pump_time} in the log, but {event.pump_time}"
                        f" here: this is another pump's data; {_WRONG}.",
                        remedy="Compare the serial number with the one on the pump's back, and give the right `--pump`.",
                    )
                if stream.pump != event.pump and same and there.body == event.body:
                    raise RequestRefused(
                        f"The log has record {event.seq} of {event.pump_time} already, but from pump {stream.pump}, not from"
                        f" {event.pump}; {_WRONG}.",
                        remedy=f"Import it with `--pump {stream.pump}`: under another serial number every dose would count"
                        " twice.",
                    )

    def _sampled(self) -> dict[str, set[str]]:
        """Return the device ids of each pump in the log, from samples."""
        found: dict[str, set[str]] = defaultdict(set)
        if not any(self._devices.values()):
            return found
        for stream in self._streams:
            width = max((stream.last_key - stream.first_key) // _SAMPLES, 1)
            for key in range(stream.first_key, stream.last_key + width, width):
                at = self.events.neighbour(stream.id, min(key, stream.last_key) + 1, before=True)
                for event in () if at is None else self.events.read(stream.id, at[0], at[0]):
                    found[stream.pump].update(device for ask in self._asked if (device := ask(event)) is not None)
        return found
