"""Keeps one sink's outside system equal to the log: folds what is new, then delivers, a slice at a time."""

from __future__ import annotations

import contextlib
import logging
import random
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import attrs

from tconnectsync.clock import Clock
from tconnectsync.errors import CredentialsRefused, LogCorrupt, Rejected, Retryable
from tconnectsync.eventlog import EventLog
from tconnectsync.outbox import Counts, DocumentRow, Outbox
from tconnectsync.outbox.preflight import ALWAYS, ONCE, DeliveryBlock, Preflight
from tconnectsync.outbox.sender import UNRECOGNISED, Sender, unrecognised_remedy
from tconnectsync.plugin.receiver import ReadableReceiver
from tconnectsync.projection.fold_runner import FoldRunner
from tconnectsync.projection.invalidation import check_fingerprint, invalidate_new, invalidate_retimed, settle_mended
from tconnectsync.projection.notes import notes_to_json
from tconnectsync.reconcile.comparison import Verifier, mend
from tconnectsync.reconcile.daily import DailyComparison
from tconnectsync.reconcile.report import Mismatch, cannot_be_verified
from tconnectsync.retry.backoff import backoff_s
from tconnectsync.retry.deadline import RememberedDeadline
from tconnectsync.retry.refusals import COUNTS_FROM
from tconnectsync.retry.refusals import remedy as refusals_remedy
from tconnectsync.retry.refusals import wait_s as refusals_wait_s
from tconnectsync.retry.state import HealthState, from_json, to_json
from tconnectsync.text.plural import counted
from tconnectsync.timeline.stream_view import PlacedStream

log = logging.getLogger("tconnectsync.sinks")
SLICE_S = 0.25
"""How long a slice of folding may take before others get their turn."""


@attrs.define
class SinkRunner:
    """One sink at work."""

    name: str
    fingerprint: str
    folding: FoldRunner
    sender: Sender
    events: EventLog
    clock: Clock
    rng: random.Random
    rewrite_brake: int
    mark: str
    health: HealthState = attrs.field(factory=HealthState)
    _seen_views: int = -1
    preflight: Preflight = attrs.field(init=False)
    daily_comparison: DailyComparison = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.preflight = Preflight(self.sender, self.clock, self.name, tuple(self.folding.folds))
        self.daily_comparison = DailyComparison(self.name, self.folding, self.sender, self.events, self.clock, self.rng)
        self.health = from_json(self.outbox.get("condition", "{}"))
        if self.health.refusals and self.health.mark != self.mark:
            self.health = HealthState()
        if self.health.state == "halted" and self.health.mark == self.sender.receiver.address:
            pass  # still the new address
        elif self.health.state == "halted" and self.health.mark:
            self.health = HealthState()  # the old address is back
        if self.health.since is None:
            self._turn("ok")
        moved = self.preflight.moved()
        if moved is not None and self.health.state != "refused":
            self._stay(moved)
        if not self._knows_this_log():
            with self.outbox.transaction():
                self.outbox.start_over()

    @property
    def outbox(self) -> Outbox:
        """The sink's file."""
        return self.folding.outbox

    def _knows_this_log(self) -> bool:
        """Whether the log is the one that the cursor was moved on: not after a restored backup, or a disk that lost some."""
        cursor = self.outbox.cursor
        if cursor > self.events.end:
            return False
        try:
            return self.outbox.get("cursor_mark") in ("", self.events.mark(cursor))
        except LogCorrupt:
            return True  # what needs the damaged part will say so
        except sqlite3.DatabaseError:
            self.events.refuse_harmed_index()
            raise

    # --- folding ----------------------------------------------------------------------------------------------------

    def behind(self) -> bool:
        """Whether the log holds something that is not folded."""
        if self.outbox.cursor < self.events.end:
            return True
        return self.outbox.first_invalid(except_for=self.folding.blocked) is not None

    def fold(self, views: Mapping[str, PlacedStream], *, version: int) -> bool:
        """One slice of folding; True while there is more to do. ``version`` changes when the views did."""
        if not self.behind() and version == self._seen_views:
            return False
        not_before = self.health.not_before
        if self.health.state == "waiting" and not_before is not None and not not_before.is_over(self.clock):
            return False
        until = self.clock.monotonic() + SLICE_S
        try:
            with self.outbox.transaction():
                check_fingerprint(self.outbox, self.fingerprint)
                if version != self._seen_views:
                    for view in views.values():
                        invalidate_retimed(self.folding, view)
                invalidate_new(self.folding, self.events, views)
                while self.folding.fold_next(views.get) and self.clock.monotonic() < until:
                    pass
                if not self.behind():
                    for view in views.values():
                        settle_mended(self.outbox, view)
                self.outbox.expire(self.clock.now())
                if not self.behind():
                    self._write_notes(views)
        except LogCorrupt as error:
            self._turn("damaged", error.message, remedy=error.remedy)
            return False
        except sqlite3.OperationalError as error:
            message = f"the outbox cannot be written ({error}): this sink waits"
            self._turn("waiting", message, remedy="Make room on the disk; nothing is lost.", wait_s=60.0)
            return False
        self._seen_views = version
        more = self.behind()
        if not more:
            self._check_brake()
        return more

    def _write_notes(self, views: Mapping[str, PlacedStream]) -> None:
        try:
            self.outbox.put("notes", notes_to_json(self.folding.notes(views)))
        except sqlite3.Error:
            raise
        except Exception:
            # the border to a plugin: what it has to say besides is not worth a stop
            log.exception("notes_failed sink=%s", self.name)

    def _check_brake(self) -> None:
        if self.health.state in ("halted", "refused"):
            return
        rewrites = self.outbox.rewrites(self.clock.now())
        if rewrites > self.rewrite_brake and not self.outbox.get("consent"):
            self._turn(
                "braked",
                f"{counted(rewrites, 'document')} delivered more than two days ago would change or go"
                f" (limit {self.rewrite_brake:,}): nothing is sent until you say so",
                remedy=f"Look with `tconnectsync sync --dry-run`, then run `tconnectsync resume {self.name}`.",
            )
        elif self.health.state in ("braked", "damaged", "waiting") or self.folding.blocked:
            self._well()

    def resolve_unclaimed(self, views: Mapping[str, PlacedStream], *, whole: Callable[[datetime | None], bool]) -> bool:
        """What was read back and no fold makes is taken back. Only when all is fetched (``whole``) and folded.

        What was found beside another machine's documents: only when all is fetched once more, for that one may know more.
        """
        outbox = self.outbox
        found = outbox.get("found")
        since = None if found in ("", "1") else datetime.fromisoformat(found)
        if since is not None and since > self.clock.now():  # by a clock that was ahead
            since = self.clock.now()
            outbox.put("found", since.isoformat())
        if not found or self.folding.blocked or self.behind() or not whole(since):
            return False
        with outbox.transaction():
            gone = outbox.resolve_unclaimed(
                lambda pump, at: any(view.pump == pump and view.wanted(at) for view in views.values()),
                keep=[stretch for view in views.values() for stretch in view.gaps],
            )
            outbox.forget("found")
        if gone:
            log.info("own_documents_not_made_any_more sink=%s count=%d", self.name, gone)
        self._check_brake()
        return True

    # --- delivery ---------------------------------------------------------------------------------------------------

    def due(self, now: datetime) -> datetime | None:
        """When the next delivery may be; None: nothing waits, or the user must act first."""
        if self.health.state in ("halted", "braked"):
            return None
        due = self.outbox.next_due(now)
        if due is None:
            return None
        not_before = self.health.not_before
        return due if not_before is None else max(due, not_before.time(self.clock))

    def deliver(self) -> bool:
        """Send one batch; True when something was done. Every outcome ends in the condition."""
        now = self.clock.now()
        self.sender.narrowed = False
        try:
            self.outbox.expire(now)
            admitted = self.preflight.step()
            if isinstance(admitted, DeliveryBlock):
                self._stay(admitted)
                return False
            if not admitted:
                return True
            done = self.sender.send_next(now)
        except CredentialsRefused as error:
            self.preflight.start_over()
            self._refuse(error)
            return False
        except (Retryable, Rejected) as error:
            self.preflight.start_over()
            if self.sender.unrecognised():
                self._turn("halted", f"{error.message}; {UNRECOGNISED}", remedy=unrecognised_remedy(self.name))
                return False
            after_s = error.after_s if isinstance(error, Retryable) else None
            self._back_off(error.message, error.remedy, after_s=after_s, soon=self.sender.narrowed)
            return False
        except sqlite3.OperationalError as error:
            self._back_off(f"the outbox cannot be written ({error})", "Make room on the disk; nothing is lost.")
            return False
        except sqlite3.DatabaseError:
            raise  # harmed: see renew
        except Exception as error:
            # the border to a plugin: its fault must not stop the others
            log.exception("sink_failed sink=%s", self.name)
            self._back_off(
                f"the sink failed unexpectedly: {type(error).__name__}",
                "This is a bug of the sink plugin; the log has the details. It is tried again.",
            )
            return False
        if self.sender.is_halted():
            self._turn(
                "halted",
                f"{counted(len(self.sender.refused), 'document')} in a row {'was' if len(self.sender.refused) == 1 else 'were'} refused: nothing more is sent",
                remedy=f"See why with `tconnectsync dead-letters list`, then `tconnectsync resume {self.name}`.",
            )
        elif done:
            if self.sender.taken:
                self.outbox.put("last_delivered", now.isoformat(timespec="seconds").replace("+00:00", "Z"))
            if not self.sender.undecided:
                self._well()
        if self.outbox.get("consent") and self.outbox.next_due(now) is None and not self.behind():
            self.outbox.forget("consent")
        return bool(done)

    def counts(self) -> Counts:
        """How many documents were delivered and set aside; none from an outbox that turns out to be harmed: see renew."""
        try:
            return self.outbox.counts()
        except sqlite3.DatabaseError as error:
            if type(error) is not sqlite3.DatabaseError:
                raise
            self.rebuild_outbox(error)
            return self.outbox.counts()

    def rebuild_outbox(self, error: sqlite3.DatabaseError) -> None:
        """The outbox is harmed: it is put aside, and everything in it found out again from the log and the receiver."""
        path = self.outbox.path
        self.outbox.close()
        fresh = Outbox.renewed(path, error)
        fresh.put("log", self.events.log_id)
        self.folding.outbox = self.sender.outbox = fresh
        self.preflight.start_over()
        self.daily_comparison = DailyComparison(self.name, self.folding, self.sender, self.events, self.clock, self.rng)
        self.folding.blocked.clear()
        self._seen_views = -1
        self.health = HealthState()

    # --- what the user may ask --------------------------------------------------------------------------------------

    def replay(self, first: datetime | None, last: datetime | None) -> int:
        """Send this stretch again, as it is understood now; consent to every rewrite in it. How many documents."""
        with self.outbox.transaction():
            if self.outbox.get("address") not in ("", self.sender.receiver.address):
                self.outbox.new_site()
                for known in ("address", "admitted", "adopted", "found"):
                    self.outbox.forget(known)
                self.sender.forget_place()
            count = self.outbox.replay(
                tuple(self.folding.folds), first, last, present=self.folding.present, now=self.clock.now()
            )
            self.outbox.put("consent", "1")
        self._clear()
        return count

    def resume(self) -> None:
        """Lift a halt, a brake, a refusal or a back-off. What was refused before a halt is tried once more."""
        with self.outbox.transaction():
            if self.health.state == "braked":
                self.outbox.put("consent", "1")
            if self.health.state == "halted":
                self.outbox.retry(self.sender.refused)
        self._clear()

    def allow_others(self) -> None:
        """Keep what others left at the receiver, beside ours."""
        with self.outbox.transaction():
            self.outbox.put("adopted", ALWAYS)
        self._clear()

    def allow_others_once(self) -> None:
        """What others still have there tells of other facts: for the one look that is due, if one is."""
        with self.outbox.transaction():
            if self.preflight.unseen() is not None and not self.outbox.get("adopted"):
                self.outbox.put("adopted", ONCE)
        self._clear()

    def _clear(self) -> None:
        self.sender.forget_refusals()
        self._turn("ok")

    def preview_preflight(self) -> None:
        """For a dry run: note what would hold the next delivery up, where the receiver can be asked."""
        with contextlib.suppress(Retryable, Rejected, CredentialsRefused):
            stay = self.preflight.hindrance(self.preflight.unseen())
            if stay is not None:
                self._stay(stay)

    # --- the daily comparison -------------------------------------------------------------------------------------------

    def compare(self, views: Mapping[str, PlacedStream], *, fresh: Callable[[], bool]) -> bool:
        """A slice of the daily comparison, when all is folded and delivered and the log is ``fresh``; True when it did one."""
        now = self.clock.now()
        if self.health.state != "ok" or not self.daily_comparison.due(now):
            return False
        outbox = self.outbox
        idle = not self.behind() and not self._waits(now) and not outbox.get("found")
        if not idle or outbox.get("address") != self.sender.receiver.address or not fresh():
            self.daily_comparison.give_up()
            return False
        self.daily_comparison.step(views)
        return True

    def verifier(self, views: Mapping[str, PlacedStream]) -> Verifier:
        """A comparison with what the receiver holds. TypeError where it cannot be read back."""
        receiver = self.sender.receiver
        if not isinstance(receiver, ReadableReceiver):
            raise TypeError(cannot_be_verified(self.name))
        return Verifier(self.folding, receiver, self.events, views, self.clock)

    def mend(self, found: Sequence[Mismatch]) -> int:
        """Send again what is wrong and ours. How many."""
        with self.outbox.transaction():
            return mend(self.outbox, found, now=self.clock.now())

    def send_again(self, lost: Sequence[DocumentRow]) -> None:
        """Deliver once more what the receiver took and does not hold any more."""
        with self.outbox.transaction():
            self.outbox.send_again(lost, lost=True)

    def _waits(self, now: datetime) -> bool:
        due = self.outbox.next_due(now)
        return due is not None and due <= now

    # --- condition --------------------------------------------------------------------------------------------------

    def _well(self) -> None:
        """As well as it can be: a fold may be left out because the log is damaged, or because it fails."""
        for blocked in self.folding.blocked.values():
            state = "damaged" if isinstance(blocked, LogCorrupt) else "waiting"
            self._turn(state, blocked.message, remedy=blocked.remedy)
            return
        self._turn("ok", self.sender.waits_why())

    def _stay(self, stay: DeliveryBlock) -> None:
        remedy = stay.hold.remedy.replace("SINK", self.name)
        self._turn("halted", stay.hold.reason, remedy=remedy, mark=stay.mark)

    def _back_off(self, message: str, remedy: str | None, *, after_s: float | None = None, soon: bool = False) -> None:
        """Wait, longer after each failure in a row; ``soon``: what is tried next is not what failed."""
        failures = 1 if soon else self.health.failures + 1
        wait_s = backoff_s(failures, after_s=after_s, rng=self.rng)
        self._turn("backing_off", message, remedy=remedy, wait_s=wait_s, failures=failures)

    def _refuse(self, error: CredentialsRefused) -> None:
        refusals = self.health.refusals + 1
        wait = refusals_wait_s(refusals, self.rng)
        remedy = refusals_remedy(error, self.name, self.clock.now(), wait)
        state = "backing_off" if refusals < COUNTS_FROM else "refused"
        log.warning("credentials_refused sink=%s in_a_row=%d next_try_s=%.0f", self.name, refusals, wait)
        self._turn(state, error.message, remedy=remedy, wait_s=wait, mark=self.mark, refusals=refusals)

    def _turn(
        self, state: str, message: str = "", *, remedy: str | None = None, wait_s: float | None = None,
        failures: int = 0, mark: str = "", refusals: int = 0,
    ) -> None:  # fmt: skip
        now = self.clock.now()
        if (state, message) != (self.health.state, self.health.message):
            level = logging.INFO if state == "ok" else logging.WARNING
            log.log(level, 'sink_state sink=%s state=%s message="%s"', self.name, state, message)
        not_before = None if wait_s is None else RememberedDeadline.after(wait_s, self.clock)
        before = self.health
        self.health = before.turned(
            now, state, message, remedy=remedy, not_before=not_before, failures=failures, mark=mark, refusals=refusals
        )
        if self.health != before:
            try:
                self.outbox.put("condition", to_json(self.health))
            except sqlite3.Error as error:
                log.warning('state_not_saved sink=%s reason="%s"', self.name, error)
