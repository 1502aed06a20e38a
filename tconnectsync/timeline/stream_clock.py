"""The clock of one numbered stream, from its settings, jumps, anchors and uploads in the log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone

import attrs
import msgspec

from tconnectsync.eventlog import EventLog, Stream
from tconnectsync.events import ClockAnchored, Event
from tconnectsync.text.durations import exact_span_words
from tconnectsync.timeline.clock_settings import ClockSetting, clock_sets, steps_of
from tconnectsync.timeline.pump_clock import (
    ClockJump,
    Component,
    PumpClock,
    clock_of,
    components_of,
    hidden_jump,
)
from tconnectsync.timeline.utc_offsets import ZONE_STEP_S, is_real_offset
from tconnectsync.timeline.zone_decision import (
    AT_CHANGE,
    AT_FIRST,
    EVIDENCE,
    MAX_LEAD,
    Anchor,
    Choice,
    Upload,
    choose_anchor,
    distinct_uploads,
    seconds_ahead,
)
from tconnectsync.timeline.zones import Zones

CLOCK_CHANGED = frozenset({"clock.changed"})
SECOND = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(hours=3)
"""A record whose time is odd lies between two that are at most this far apart."""
FETCH_LAG = timedelta(hours=1)
"""An upload's newest event may be of a kind that is not fetched. It may be this much later than the newest one in the log."""
RECENT_UPLOADS = 4
"""How many of the last uploads decide whether the clock is ahead now."""
MAX_WAIT = timedelta(hours=24)
"""How long a choice is not stored while the log lacks the events of a newer upload."""


class ChosenAnchor(msgspec.Struct, frozen=True, kw_only=True):
    """A component, the valid fact about it in the log (None: none yet), and the present choice.

    ``waits``: events of a newer upload are missing. ``ahead_s``: by how much its events are later than their uploads.
    """

    component: Component
    fact: Anchor | None
    choice: Choice
    waits: bool
    ahead_s: float = 0.0

    @property
    def is_new(self) -> bool:
        """Whether the log does not have this choice yet."""
        return self.choice.anchor is not None and self.choice.anchor != self.fact


@attrs.define
class StreamClock:
    """The clock of a stream. :meth:`read_settings` and :meth:`choose` update it."""

    log: EventLog
    zones: Zones
    stream: Stream
    components: tuple[Component, ...] = ()
    chosen: tuple[ChosenAnchor, ...] = ()
    clock: PumpClock = attrs.field(factory=lambda: clock_of((), ()))
    _sets: tuple[ClockSetting, ...] = ()
    _facts: Sequence[Event] = ()
    _waits_since: datetime | None = None

    def read_settings(self, stream: Stream, *, changed: bool) -> None:
        """Read the clock's jumps again, and its settings if they ``changed``."""
        self.stream = stream
        whole = (stream.first_key, stream.last_key)
        if changed:
            self._sets = clock_sets(self.log.read(stream.id, *whole, CLOCK_CHANGED))
        jumps = {
            key: ClockJump(key=key, before=before, after=after)
            for key, before, after in self.log.jumps(stream.id)
            if not self._is_odd_record(key, after)
        }
        for step in steps_of(self._sets):
            if abs(step.exact_s) > ZONE_STEP_S:
                hidden = hidden_jump(step, self.log.neighbour(stream.id, step.key, before=True))
                if hidden is not None:
                    jumps[hidden.key] = hidden
        self.components = components_of(self._sets, list(jumps.values()))

    def _is_odd_record(self, key: int, after: datetime) -> bool:
        """Whether only the record before ``key`` has another time, for example a corrupt one. Then the clock did not jump."""
        odd = self.log.neighbour(self.stream.id, key, before=True)
        earlier = None if odd is None else self.log.neighbour(self.stream.id, odd[0], before=True)
        return earlier is not None and timedelta(0) <= after - earlier[1] <= LONGEST_PAUSE

    def choose(self, facts: Sequence[Event], uploads: Sequence[Event]) -> None:
        """Choose an anchor per component. ``facts`` (clock.anchored) are this stream's, newest first; ``uploads`` its pump's."""
        self._facts = facts
        complete, incomplete, waits = self._match_uploads(uploads, bogus=not facts)
        chosen = []
        ends = [component.from_key for component in self.components[1:]]
        for bare, end in zip(self.components, [*ends, None], strict=True):
            first = self._first(bare, end)
            component = bare.at_home(self.zones, None if first is None else first[1])
            fact = next((anchor for anchor in self._valid_anchors(facts, component, end)), None)
            is_last = end is None
            evidence = () if not is_last else complete or (incomplete if fact is None else ())
            choice = choose_anchor(
                component, known=fact, zones=self.zones, first=first, uploads=evidence, newest_key=self.stream.last_key,
                last_upload=self._last_upload(uploads) if is_last else None,
            )  # fmt: skip
            ahead_s = seconds_ahead(component, choice.anchor, complete[-RECENT_UPLOADS:]) if is_last else 0.0
            waits_here = is_last and waits is not None
            chosen.append(
                ChosenAnchor(component=component, fact=fact, choice=choice, waits=waits_here, ahead_s=ahead_s)
            )
        self.chosen = tuple(chosen)
        self._waits_since = waits
        anchors = [
            None if (anchor := each.choice.anchor) is None else (anchor.at_key, anchor.offset_s) for each in chosen
        ]
        self.clock = clock_of([each.component for each in chosen], anchors)

    def pending_facts(self, now: datetime) -> list[Event]:
        """Return the choices that the log does not have yet, as clock.anchored events."""
        stream = self.stream
        facts: list[Event] = []
        waited = self._waits_since is not None and now - self._waits_since >= MAX_WAIT
        for each in self.chosen:
            anchor = each.choice.anchor
            if anchor is None or not each.is_new or (each.waits and not waited):
                continue
            body = ClockAnchored(
                from_key=each.component.from_key,
                at_key=anchor.at_key,
                offset_min=anchor.offset_s // 60,
                basis=anchor.basis,
                zone=anchor.zone,
            )
            number = len(self._facts) + len(facts)
            name = f"anchor:{body.from_key}:{body.offset_min}:{body.basis}:{number}"
            facts.append(
                Event(
                    id=f"{stream.source}:{stream.pump}:{stream.group}:{name}",
                    kind="clock.anchored",
                    pump=stream.pump,
                    group=stream.group,
                    seq=None,
                    pump_time=now.astimezone(timezone.utc).replace(tzinfo=None) + timedelta(seconds=anchor.offset_s),
                    source=stream.source,
                    received_at=now,
                    body=body,
                )
            )
        return facts

    @property
    def basis(self) -> str | None:
        """Why the newest events have their offset; None if it is unknown."""
        anchor = self.chosen[-1].choice.anchor if self.chosen else None
        return None if anchor is None else anchor.basis

    def messages(self) -> list[str]:
        """Return messages to the user: unknown times, a change that uploads propose, and a wrong clock."""
        pump, words = self.stream.pump, []
        for each in self.chosen:
            jump, choice = each.component.jump, each.choice
            if choice.anchor is None and jump is not None:
                words.append(
                    f"The clock of pump {pump} went back from {jump.before:%Y-%m-%d %H:%M} to {jump.after:%Y-%m-%d %H:%M} without "
                    "a record of the change. The times of the events after that are unknown, so their documents wait. Set the date "
                    "and time on the pump. The documents are sent after its next upload."
                )
            if choice.proposed is not None and choice.anchor is not None:
                now_s = each.component.offsets(choice.anchor.at_key, choice.anchor.offset_s)[-1]
                moved_s = now_s - choice.proposed.offset_s
                words.append(
                    f"Uploads show that the clock of pump {pump} is at {utc_text(choice.proposed.offset_s)}, not {utc_text(now_s)}. "
                    f"If the next upload agrees, its documents move {exact_span_words(abs(moved_s))} "
                    f"{'later' if moved_s > 0 else 'earlier'}. If that is wrong, correct `timezone` in config.toml before then."
                )
        return words + self._clock_problem()

    def _clock_problem(self) -> list[str]:
        """Return a message if no offset explains the clock, or if it is minutes ahead."""
        newest = self._newest()
        if not self.chosen or newest is None:
            return []
        last, pump = self.chosen[-1], self.stream.pump
        if last.choice.anchor is None and last.component.jump is None:
            return [
                (
                    f"The clock of pump {pump} shows {newest[1]:%Y-%m-%d %H:%M}, more than 14 hours ahead of the upload and of "
                    f"{self.zones.name_at(newest[1].date())}. The times of its events are unknown. They are stored, and their "
                    "documents wait. Set the date and time on the pump, or correct `timezone` in config.toml. Then run "
                    "`tconnectsync sync`."
                )
            ]
        if last.ahead_s > 0:
            return [
                (
                    f"The clock of pump {pump} seems at least {exact_span_words(last.ahead_s)} ahead: its newest events are later than "
                    "their uploads. Set the time on the pump. Until then its events are shown too late by that much, and they are not "
                    "corrected afterwards."
                )
            ]
        return []

    def _match_uploads(
        self, events: Iterable[Event], *, bogus: bool
    ) -> tuple[tuple[Upload, ...], tuple[Upload, ...], datetime | None]:
        """Return the last piece's uploads: complete ones, incomplete ones, and when the first of those was read.

        An upload is complete if its events are in the log. ``bogus``: include complete ones whose newest event is days later than
        the upload. A newest pump time has no key. It belongs to the last piece if it is later than every wall time that the clock
        showed up to its last setting or jump, including the time just before that, and is none that it showed only while it was set.
        """
        newest = self._newest()
        if newest is None:
            return (), (), None
        walls = [wall for part in self.components for step in part.steps for wall in (step.wall, step.wall_before)]
        walls += [part.jump.before for part in self.components if part.jump is not None]
        last_setting = max(walls, default=datetime.min)  # noqa: DTZ901 - a pump's wall clock
        between = self._times_between()
        pairs, received = [], {}
        for event in events:
            body = event.body
            shown = body.newest_pump_time
            if shown is None or shown <= last_setting:
                continue
            if shown == newest[1] or not any(first <= shown <= last for first, last in between):
                upload = Upload(at=body.uploaded_at, newest=shown)
                pairs.append(upload)
                received[upload] = event.received_at
        all_ = distinct_uploads(pairs)
        complete = tuple(
            upload for upload in distinct_uploads(pairs, bogus=bogus) if upload.newest <= newest[1] + FETCH_LAG
        )
        incomplete = tuple(upload for upload in all_ if upload.newest > newest[1] + FETCH_LAG)
        waiting = [
            received[upload] for upload in incomplete if upload.newest - upload.at.replace(tzinfo=None) <= MAX_LEAD
        ]
        return complete, incomplete, min(waiting, default=None)

    def _last_upload(self, events: Sequence[Event]) -> Upload | None:
        """Return the last upload with the log's newest event as its own.

        Of a clock that was set back, the vendor names the time before that as the newest, until the clock shows it again.
        """
        newest, last = self._newest(), max(events, key=lambda event: event.body.uploaded_at, default=None)
        return None if newest is None or last is None else Upload(at=last.body.uploaded_at, newest=newest[1])

    def _times_between(self) -> list[tuple[datetime, datetime]]:
        """Return the first and the last wall time between the date and the time that were set together.

        With the new date and the old time of day a clock may be a day ahead. An upload's newest pump time stays there until the
        clock gets there by itself.
        """
        return [
            (
                step.wall_before + timedelta(seconds=step.first_s) - SECOND,
                step.wall - timedelta(seconds=step.exact_s - step.first_s) + SECOND,
            )
            for part in self.components
            for step in part.steps
            if step.first_s is not None
        ]

    def _newest(self) -> tuple[int, datetime] | None:
        return self.log.neighbour(self.stream.id, self.stream.last_key + 1, before=True)

    def _first(self, component: Component, end: int | None) -> tuple[int, datetime] | None:
        first = self.log.neighbour(self.stream.id, component.from_key - 1, before=False)
        return first if first is not None and (end is None or first[0] < end) else None

    def _valid_anchors(self, facts: Iterable[Event], component: Component, end: int | None) -> Iterable[Anchor]:
        """Yield the anchors of a component from facts that are still valid: the configured zone has not changed since.

        The newest comes first. Last are choices by the zone for a part that was a component of its own until the record of its
        clock change arrived: they were made without knowing that change. (What uploads proved for such a part stays true.)
        """

        def is_outdated(fact: Event) -> bool:
            body: ClockAnchored = fact.body
            return body.from_key != component.from_key and body.basis != EVIDENCE

        for fact in sorted(facts, key=is_outdated):
            body = fact.body
            if body.at_key < component.from_key or (end is not None and body.at_key >= end):
                continue
            if self._is_valid(component, body):
                yield Anchor(at_key=body.at_key, offset_s=body.offset_min * 60, basis=body.basis, zone=body.zone)

    def _is_valid(self, component: Component, body: ClockAnchored) -> bool:
        if body.basis == AT_CHANGE:
            step = next((step for step in component.steps if step.done_key == body.at_key), None)
            return step is not None and body.zone == self.zones.name_at(step.wall.date())
        if body.basis == AT_FIRST:
            first = self.log.neighbour(self.stream.id, body.at_key - 1, before=False)
            set_before = any(step.done_key <= body.at_key for step in component.steps)
            return first is not None and not set_before and body.zone == self.zones.name_at(first[1].date())
        if body.basis == EVIDENCE:
            if not is_real_offset(body.offset_min * 60):
                return False  # an older release took drift for an offset
            return body.zone in {self.zones.timezone, *(name for _, name in self.zones.moves)}
        return True


def utc_text(offset_s: int) -> str:
    """Format an offset: ``UTC+01:00``."""
    hours, minutes = divmod(abs(offset_s) // 60, 60)
    return f"UTC{'-' if offset_s < 0 else '+'}{hours:02}:{minutes:02}"
