"""Read windows of days, one request at a time. A broken or refused window is split in half; each finished one is
recorded. Many broken responses in a row may not keep newer days away: then the newest day is requested next.

Errors are kept without tracebacks, which would keep the broken responses in memory.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import TypeAlias

import attrs
import msgspec

from tconnectsync import Batch, Clock, Event, Retryable, SourceChanged, counted, short_serial
from tconnectsync.events.source_facts import window_fetched
from tconnectsync_tandem.api.client import Client
from tconnectsync_tandem.api.pumps import Pump
from tconnectsync_tandem.api.responses import LogAnswer, split_answer
from tconnectsync_tandem.api.transport import BrokenAnswer, BrokenShape, ServerBusy, WindowRefused, shape_changed
from tconnectsync_tandem.decode.event_factory import SOURCE, make_event
from tconnectsync_tandem.polling.planner import Window, days_between, split_into_windows
from tconnectsync_tandem.polling.schema_drift import SchemaDrift
from tconnectsync_tandem.polling.unreadable_days import UnreadableEvents, kind_words
from tconnectsync_tandem.polling.window_state import WindowState

log = logging.getLogger("tconnectsync.tandem")

EVENTS_PER_BATCH = 1000
"""A batch is in memory as objects, records and lines. Half as many take a megabyte less, and twice as many syncs of the log."""
PATIENCE = 12
"""After this many broken responses in a row, the newest day shows whether the cause is the server or the days."""

LEAST_REMEMBERED = 7
"""If a busy server accepted shorter windows than this, that is not remembered: it may not be the length."""

PAUSE_S = 2.0
KEPT_ANYWAY_WAIT_S = 900.0


_Waiting: TypeAlias = tuple[Window, bool]
"""A window to request, and whether it was requested before."""
_DAY = timedelta(days=1)


class UnreadableDay(msgspec.Struct, frozen=True):
    """A day that could not be read, and the error. ``asked``: it was requested alone."""

    pump: Pump
    day: date
    error: Retryable
    asked: bool = True


@attrs.define(kw_only=True)
class WindowReader:
    """Read windows during one poll. ``unfinished``, ``changed`` and ``odd_answer`` report problems afterwards."""

    client: Client
    clock: Clock
    drift: SchemaDrift
    window_state: WindowState
    done: int = 0
    total: int = 0
    unfinished: list[UnreadableDay] = attrs.field(factory=list)
    changed: list[UnreadableEvents] = attrs.field(factory=list)
    """Windows of which too much could not be read."""
    odd_answer: Retryable | None = None
    read_days: defaultdict[str, set[date]] = attrs.field(factory=lambda: defaultdict(set))
    """The days that were read, by pump."""
    succeeded: bool = False
    _broken_in_a_row: int = 0
    _refused: bool = False
    _longest_taken: int = 0
    _changes_seen: set[str] = attrs.field(factory=set)

    def read(self, pump: Pump, windows: Sequence[Window]) -> Iterator[Batch]:
        """Yield the batches of one pump's windows, oldest first, with at most one request before each batch.

        The last batch of a window has its ``window.fetched``. A broken response is requested once more if that can
        help, then in halves down to one day. An unreadable day is skipped and recorded. A refused window is also
        split, and the longest accepted length is remembered. A busy server is asked again in a later poll, and with
        smaller windows only after several polls.

        After many broken responses in a row the newest day or today is requested, then the rest, newest first. After as many
        again, the rest is left for the next poll. Errors: those of the client that no smaller window avoids, or the
        last one if the newest day could not be read either.
        """
        busy = newest_first = False
        cooldown = self.window_state.cooldown
        if pump.serial in cooldown.exhausted:
            self._broken_in_a_row = max(self._broken_in_a_row, PATIENCE)
        limit = self.window_state.most_days(self.clock.now())
        parts = [
            part for window in windows for part in split_into_windows(days_between(*window), limit or _length(window))
        ]
        waiting = [(part, False) for part in reversed(parts)]
        while waiting:
            if not newest_first and self._broken_in_a_row >= PATIENCE:
                newest_first = True
                waiting = _newest_day_alone(waiting, self.clock.now().date())
            window, again = waiting.pop()
            error: Retryable
            try:
                answers = [self._ask(assignment, window) for assignment in pump.assignments]
            except (BrokenAnswer, BrokenShape, ServerBusy, WindowRefused) as caught:
                error = _without_frames(caught)
            else:
                self._broken_in_a_row = 0
                self.succeeded = True
                cooldown.clear_pump(pump)
                self._longest_taken = max(self._longest_taken, _length(window))
                yield from self._batches(pump, window, answers)
                del answers  # a month of text: freed before the next request
                continue
            if isinstance(error, ServerBusy) and not busy and cooldown.should_wait(pump):
                raise error
            busy = busy or isinstance(error, ServerBusy)
            waiting += self._broken(pump, window, error, again=again)
            waiting.sort(reverse=not newest_first)
            if newest_first and self._broken_in_a_row == PATIENCE:
                self._leave(pump, waiting, error)
                waiting = []
            yield self._batch(pump, window, ())
        if not busy:
            cooldown.clear_busy(pump)
        if self._longest_taken >= (1 if self._refused else LEAST_REMEMBERED) and (self._refused or busy):
            self.window_state.record_length(self._longest_taken, self.clock.now())

    def _broken(self, pump: Pump, window: Window, error: Retryable, *, again: bool) -> list[_Waiting]:
        """Return the windows to request instead of an unreadable one. Raises ``error`` if there were too many before."""
        self._broken_in_a_row += 1
        self._refused = self._refused or isinstance(error, WindowRefused)
        log.warning(
            'window_broken pump=%s first=%s last=%s reason="%s"',
            short_serial(pump.serial),
            window[0],
            window[1],
            error.message,
        )
        if self._broken_in_a_row > PATIENCE:
            self.window_state.cooldown.exhausted.add(pump.serial)
            raise error
        if isinstance(error, BrokenAnswer) and not again and self._broken_in_a_row <= 2:
            self.clock.sleep(PAUSE_S)
            return [(window, True)]
        if window[0] < window[1]:
            return [(half, False) for half in bisect(window)]
        self.unfinished.append(UnreadableDay(pump, window[0], error))
        self.done += 1
        return []

    def _leave(self, pump: Pump, waiting: Sequence[_Waiting], error: Retryable) -> None:
        """Leave the days of these windows for the next poll."""
        days = [day for window, _ in waiting for day in days_between(*window)]
        self.unfinished += [UnreadableDay(pump, day, error, asked=False) for day in days]

    def _ask(self, assignment: str, window: Window) -> LogAnswer:
        first, last = window
        what = f"events of {first} to {last}"
        answer = split_answer(self.client.pump_logs(assignment, first, last), what)
        for key in answer.new_keys:
            self.drift.warn_once(f"key {key}", 'vendor_data_changed answer=pump-logs what="new key %s"', key)
        if answer.clock_changes is None:
            log.warning("vendor_data_changed answer=pump-logs missing=clockChanges")
            error = shape_changed("events", "the response has no clockChanges (its events were stored)")
            error.after_s = KEPT_ANYWAY_WAIT_S
            self.odd_answer = error
        return answer

    def _batches(self, pump: Pump, window: Window, answers: Sequence[LogAnswer]) -> Iterator[Batch]:
        now = self.clock.now()
        events: list[Event] = []
        count = 0
        before, days = self.done, (window[1] - window[0]).days + 1
        expected = sum(len(answer.events) for answer in answers)
        unreadable = UnreadableEvents(window, self.window_state.reported(pump.serial, now))
        for answer in answers:
            for place, raw in answer.entries():
                event, entry = make_event(raw, pump=pump.serial, received_at=now)
                if event.kind == "clock.changed":
                    # every response has all clock changes of the pump
                    if event.id in self._changes_seen:
                        continue
                    self._changes_seen.add(event.id)
                if event.kind == "unknown" or entry.notes:
                    self.drift.report(_code(raw), entry)
                unreadable.note(event, entry, place)
                events.append(event)
                count += 1
                if len(events) == EVENTS_PER_BATCH:
                    self.done = before + min(days, days * count // max(expected, 1))
                    yield self._batch(pump, window, events)
                    events = []
        unreadable.end()
        self.done = before + days
        log.debug(
            "window_read pump=%s first=%s last=%s events=%d", short_serial(pump.serial), window[0], window[1], count
        )
        yield self._batch(pump, window, [*events, *self._finished(pump, unreadable, count, now)])

    def _finished(self, pump: Pump, unreadable: UnreadableEvents, count: int, now: datetime) -> list[Event]:
        """Return ``window.fetched`` for the days that were read; the other days are recorded and requested again."""
        window, finished = unreadable.window, list(unreadable.finished())
        self.window_state.record_damaged(pump.serial, days_between(*window), unreadable.damaged_days, now)
        if unreadable.is_changed:
            kinds = kind_words(unreadable.kinds)
            log.warning(
                'records_changed pump=%s first=%s last=%s unreadable="%s"',
                short_serial(pump.serial),
                window[0],
                window[1],
                kinds,
            )
            self.changed.append(unreadable)
            whole = {day for part in finished for day in days_between(*part)}
            self.window_state.record_unread(pump.serial, set(days_between(*window)) - whole, now)
        days = [day for part in finished for day in days_between(*part)]
        self.read_days[pump.serial].update(days)
        self.window_state.cooldown.clear_days(pump, days)
        return [
            window_fetched(SOURCE, pump.serial, part, count, uploaded_at=pump.uploaded_at, received_at=now)
            for part in finished
        ]

    def _batch(self, pump: Pump, window: Window, events: Sequence[Event]) -> Batch:
        return self.step(pump, events, f", {window_text(window)}")

    def step(self, pump: Pump, events: Sequence[Event], what: str = "") -> Batch:
        """A batch of one pump, with the progress so far."""
        note = f"pump {short_serial(pump.serial)}{what}"
        return Batch(events=events, note=note, done=self.done, total=max(self.total, self.done))


def _without_frames(error: Retryable) -> Retryable:
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error


def _length(window: Window) -> int:
    return (window[1] - window[0]).days + 1


def _newest_day_alone(waiting: Sequence[_Waiting], today: date) -> list[_Waiting]:
    """The same days, oldest first, with the newest one in a window of its own; ``today`` if they are all older."""
    windows = sorted(window for window, _ in waiting)
    if not windows or windows[-1][1] < today:
        windows.append((today, today))
    elif windows[-1][0] < windows[-1][1]:
        first, last = windows.pop()
        windows += [(first, last - _DAY), (last, last)]
    return [(window, False) for window in windows]


def _code(raw: object) -> str:
    code = raw.get("eventCode") if isinstance(raw, dict) else None
    return str(code)[:12] if isinstance(code, (int, str)) else "?"


def window_text(window: Window) -> str:
    """A window as text: 1 to 28 October 2026."""
    first, last = window
    end = f"{last.day} {last:%B %Y}"
    if first == last:
        return end
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day} to {end}"
    return f"{first.day} {first:%B} to {end}" if first.year == last.year else f"{first.day} {first:%B %Y} to {end}"


def bisect(window: Window) -> tuple[Window, Window]:
    """The two halves of a window of two days or more."""
    first, last = window
    middle = first + timedelta(days=((last - first).days + 1) // 2 - 1)
    return (first, middle), (middle + timedelta(days=1), last)


def days_not_read(left: Sequence[UnreadableDay], *, any_read: bool) -> Retryable:
    """The error for unreadable days. If other days were read, the error is about these days only and clears itself."""
    one = left[0]
    if not any_read:
        return one.error
    more = f" and {counted(len(left) - 1, 'more day')}" if len(left) > 1 else ""
    return Retryable(
        f"{window_text((one.day, one.day))}{more} of pump {short_serial(one.pump.serial)} could not be read;"
        f" the other days were."
        f" {one.error.message}",
        after_s=None if isinstance(one.error, SourceChanged) else one.error.after_s,
        remedy="They are requested again, later about every six hours. Other days may come a quarter of an hour later.",
    )


def spare_not_read(pump: Pump, error: Retryable) -> Retryable:
    """The error for a pump that is not in use. It says nothing about the others."""
    return Retryable(f"pump {short_serial(pump.serial)} could not be read. {error.message}", remedy=error.remedy)


def joined(errors: Sequence[Retryable]) -> Retryable:
    """The only error, or one with the messages of all."""
    if len(errors) == 1:
        return errors[0]
    kind = SourceChanged if isinstance(errors[0], SourceChanged) else Retryable
    message = "; ".join(dict.fromkeys(error.message for error in errors))
    return kind(message, after_s=errors[0].after_s, remedy=errors[0].remedy)
