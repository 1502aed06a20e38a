"""Whether the data of a file is of the pump that it is said to be of: under a wrong serial number every dose would count twice.

Told by samples: what the log holds at the same sequence numbers, of this pump and of the others, and the vendor's own id of
the device where events hold one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import attrs

from tconnectsync.errors import RequestRefused
from tconnectsync.eventlog import EventLog, Stream
from tconnectsync.events import FACTS, Event
from tconnectsync.text.plural import counted

Device = Callable[[Event], "str | None"]
_SAMPLES = 32
"""So many events of each stream of the log are asked for their device."""
_WRONG = "nothing was imported"


@attrs.define
class DeviceIdentityCheck:
    """Looks at what is to be appended, before it is."""

    events: EventLog
    _streams: Sequence[Stream] = attrs.field(init=False)
    _devices: dict[str, set[str]] = attrs.field(factory=lambda: defaultdict(set))
    """By pump, as the files say."""
    _known: dict[str, set[str]] = attrs.field(factory=dict)
    """By pump, as the log says."""
    _asked: list[Device] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self._streams = self.events.streams()

    def look_at(self, events: Sequence[Event], device: Device) -> None:
        """A batch: a few of its events against the log, every one for its device. Errors: RequestRefused."""
        if device not in self._asked:
            self._asked.append(device)
        numbered = []
        for event in events:
            if event.kind in FACTS:
                continue
            told = device(event)
            self._devices[event.pump].update(() if told is None else (told,))
            if event.seq is not None:
                numbered.append(event)
        for event in {
            id(each): each for each in (numbered[:1] + numbered[len(numbered) // 2 :][:1] + numbered[-1:])
        }.values():
            self._compare(event)

    def judge(self) -> None:
        """When all was looked at. Errors: RequestRefused."""
        known = self._known = self._sampled()
        for pump, devices in self._devices.items():
            for other, theirs in known.items():
                if other != pump and devices & theirs - known.get(pump, set()):
                    raise RequestRefused(
                        f"The log knows this data's device as pump {other}, not as {pump}; {_WRONG}.",
                        remedy=f"Import it with `--pump {other}`: under another serial number every dose would count twice.",
                    )
            if len(devices) > 1 and devices - known.get(pump, set()):
                raise RequestRefused(
                    f"This is data of {counted(len(devices), 'device')} ({', '.join(sorted(devices))}), all to be of pump {pump}; {_WRONG}.",
                    remedy="Import the files of each pump by themselves, each with its own `--pump`.",
                )

    def notices(self) -> Iterator[str]:
        """What looks wrong and may be right."""
        known = sorted({stream.pump for stream in self._streams})
        for pump, devices in self._devices.items():
            if known and pump not in known:
                yield (
                    f"ATTENTION: pump {pump} is new to the log, which knows {', '.join(known)}. If this is data of one of those,"
                    " every dose will count twice: compare the serial number with the one on the pump's back."
                )
            theirs = self._known.get(pump, set()) if devices else set()
            if theirs and not devices & theirs:
                yield (
                    f"ATTENTION: the log knows pump {pump} as another device of the vendor's than this data. If it is another"
                    " pump's data, its doses are now told as this one's: compare the serial numbers."
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
                        f"Record {event.seq} of pump {event.pump} is of {there.pump_time} in the log, and of {event.pump_time}"
                        f" here: this is another pump's data; {_WRONG}.",
                        remedy="Compare the serial number with the one on the pump's back, and give the right `--pump`.",
                    )
                if stream.pump != event.pump and same and there.body == event.body:
                    raise RequestRefused(
                        f"The log holds record {event.seq} of {event.pump_time} already, of pump {stream.pump}, not of"
                        f" {event.pump}; {_WRONG}.",
                        remedy=f"Import it with `--pump {stream.pump}`: under another serial number every dose would count"
                        " twice.",
                    )

    def _sampled(self) -> dict[str, set[str]]:
        """The devices of each pump in the log, by samples."""
        found: dict[str, set[str]] = defaultdict(set)
        if not any(self._devices.values()):
            return found
        for stream in self._streams:
            width = max((stream.last_key - stream.first_key) // _SAMPLES, 1)
            for key in range(stream.first_key, stream.last_key + width, width):
                at = self.events.neighbour(stream.id, min(key, stream.last_key) + 1, before=True)
                for event in () if at is None else self.events.read(stream.id, at[0], at[0]):
                    found[stream.pump].update(told for ask in self._asked if (told := ask(event)) is not None)
        return found
