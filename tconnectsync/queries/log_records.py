"""`events`: the log's records in the order they were written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

from tconnectsync.clock import Clock
from tconnectsync.config.model import Config
from tconnectsync.errors import RequestRefused
from tconnectsync.eventlog import Damage, EventLog


def read_events(
    config: Config,
    *,
    first: date | None = None,
    last: date | None = None,
    kinds: tuple[str, ...] = (),
    pump: str | None = None,
    follow: bool = False,
    on_damage: Callable[[Damage], None],
    clock: Clock,
) -> Iterator[dict[str, Any]]:
    """Yield the records of the log in the order they were written. ``first`` and ``last`` are pump-local days, both included.

    Corrupt parts are skipped; ``on_damage`` gets each one once. Errors: RequestRefused for a pump that the log does not have.
    """
    from tconnectsync.eventlog.record_json import record_json

    if not (config.data_dir / "log").is_dir():
        return
    events = EventLog.open(config.data_dir, clock=clock, writable=False, decoders={})
    known = sorted({stream.pump for stream in events.streams()})
    if pump is not None and pump not in known:
        events.close()
        raise RequestRefused(
            f"The event log has no pump {pump!r}; it has {', '.join(known) or 'none yet'}.",
            remedy="`tconnectsync status` shows the pumps. Give the serial number of one of them.",
        )
    position = 0
    reported: set[tuple[str, int]] = set()

    def report(damage: Damage) -> None:
        if (damage.path, damage.line) not in reported:
            reported.add((damage.path, damage.line))
            on_damage(damage)

    try:
        while True:
            for event in events.events(position, on_damage=report):
                position = event.pos
                day = event.pump_time.date()
                chosen = (not kinds or event.kind in kinds) and (pump is None or event.pump == pump)
                if chosen and (first is None or day >= first) and (last is None or day <= last):
                    yield record_json(event)
            if not follow:
                return
            clock.sleep(1.0)
    finally:
        events.close()
