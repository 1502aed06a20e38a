"""The source: asks for the pumps, then for the days that may hold something new, and writes down what was asked."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import date, timedelta
from typing import Any

import attrs

from tconnectsync import (
    Batch,
    CheckResult,
    Context,
    Event,
    History,
    HttpClient,
    Retryable,
    SourceChanged,
    TconnectsyncError,
    counted,
)
from tconnectsync.events import Body
from tconnectsync_tandem import source_events as facts
from tconnectsync_tandem.api.client import Client, TandemAccount
from tconnectsync_tandem.api.endpoints import Endpoints, endpoints_of
from tconnectsync_tandem.api.id_token import Judge, verify_in_subprocess
from tconnectsync_tandem.api.pumps import Pump, newest_used, read_pumps
from tconnectsync_tandem.api.responses import whole_answer
from tconnectsync_tandem.api.token import TokenFile, account_key
from tconnectsync_tandem.api.transport import CHANGED_WAIT_S, ServerBusy, TandemTransport
from tconnectsync_tandem.decode import DECODER, decode
from tconnectsync_tandem.options import TandemOptions
from tconnectsync_tandem.polling.cooldown import Cooldown
from tconnectsync_tandem.polling.history_cache import SourceHistoryCache
from tconnectsync_tandem.polling.planner import (
    LEAD_IN_DAYS,
    MOST_DAYS_AHEAD,
    OVERLAP_DAYS,
    Planner,
    Window,
    days_between,
    in_use,
    local_day,
    split_into_windows,
    stray_windows,
)
from tconnectsync_tandem.polling.schema_drift import SchemaDrift
from tconnectsync_tandem.polling.unreadable_days import changed_records
from tconnectsync_tandem.polling.window_reader import UnreadableDay, WindowReader, words_for
from tconnectsync_tandem.polling.window_state import Memo
from tconnectsync_tandem.pump_choice import (
    choice_findings,
    hidden_findings,
    no_pump_selected,
    pump_findings,
    selected_pumps,
    worn_hidden,
)
from tconnectsync_tandem.record_check import check_records

log = logging.getLogger("tconnectsync.tandem")

FUTURE_UPLOAD = timedelta(hours=1)


def open_source(
    options: TandemOptions,
    context: Context,
    *,
    judge: Judge = verify_in_subprocess,
) -> TandemSource:
    """The source of a checked configuration: account, password and region are there."""
    if options.email is None or options.password is None or options.region is None:
        raise ValueError("the options were not checked")
    endpoints = endpoints_of(options.region, options.endpoints)
    account = TandemAccount(
        email=options.email,
        password=options.password,
        endpoints=endpoints,
        kept=TokenFile(context.folder / "token.json", account_key(options.email, endpoints)),
        clock=context.clock,
        judge=judge,
    )
    return TandemSource(
        options=options,
        context=context,
        endpoints=endpoints,
        account=account,
        memo=Memo.load(context.folder / "windows.json"),
    )


@attrs.define(kw_only=True)
class TandemSource:
    """Tandem Source, for one account. See :class:`tconnectsync.Source`."""

    options: TandemOptions = attrs.field(repr=False)
    context: Context = attrs.field(repr=False)
    endpoints: Endpoints
    account: TandemAccount = attrs.field(repr=False)
    memo: Memo
    drift: SchemaDrift = attrs.field(factory=SchemaDrift)
    journal: SourceHistoryCache = attrs.field(factory=SourceHistoryCache)
    _told: set[str] = attrs.field(factory=set)
    _patience: Cooldown = attrs.field(factory=Cooldown)

    decoder = DECODER

    @property
    def unknown_codes(self) -> Mapping[str, int]:
        """Record codes that nobody knows, with how many were kept verbatim in this run."""
        return self.drift.unknown_codes

    @property
    def set_aside(self) -> int:
        """How many entries of known codes did not make sense in this run; they are kept as ``unknown``."""
        return self.drift.set_aside

    def decode(self, raw: Mapping[str, Any]) -> tuple[str, Body]:
        """See :func:`tconnectsync_tandem.decode.decode`."""
        return decode(raw)

    def poll(self, history: History) -> Generator[Batch, None, None]:
        """One request for the pumps; then the windows that may hold news, of every pump. Closing it closes the connection."""
        with self._client() as client:
            pumps, hidden = self._pumps(client)
            yield Batch(events=self._news(pumps, history), note="list of pumps")
            newest = newest_used(pumps)
            plans = [
                (pump, self._plan(pump, newest, history)) for pump in pumps if self._askable(pump, newest, history)
            ]
            yield from self._fetch(client, [(pump, windows) for pump, windows in plans if windows], newest)
            if hidden is not None:
                raise hidden

    def backfill(self, history: History, first: date, last: date) -> Iterator[Batch]:
        """All chosen pumps, a day more on both sides; the days are opened for delivery once a pump's are complete."""
        with self._client() as client:
            pumps, _ = self._pumps(client)
            yield Batch(events=self._news(pumps, history), note="list of pumps")
            days = days_between(first - timedelta(days=LEAD_IN_DAYS), last + timedelta(days=LEAD_IN_DAYS))
            windows = split_into_windows(days, self.options.window_days)
            used = [pump for pump in pumps if not pump.never_uploaded]
            opened = {
                pump.serial: facts.history_opened(pump, first, last, self.context.clock.now())
                for pump in used
                if (self.journal.horizon(pump, history) or last) > first
            }
            yield from self._fetch(client, [(pump, windows) for pump in used], opened=opened)

    def check(self) -> Iterator[CheckResult]:
        """The login, the pumps, and whether the newest records can be read."""
        try:
            with self._client() as client:
                token = self.account.token()
                until = f"{token.expires_at:%Y-%m-%d %H:%M} UTC"
                yield CheckResult(
                    good=True, what=f"tandem: logged in, region {self.endpoints.region}, token good until {until}"
                )
                listed = read_pumps(whole_answer(client.pumper(), "list of pumps"))
                yield from hidden_findings(listed, self.options.pumps)
                yield from pump_findings(listed.pumps, self.options.pumps, hidden=listed.perhaps_worn is not None)
                yield from self._check_records(client, listed.pumps)
        except TconnectsyncError as error:
            yield CheckResult(good=False, what=f"tandem: {error.message}", remedy=error.remedy)

    def _check_records(self, client: Client, pumps: Sequence[Pump]) -> Iterator[CheckResult]:
        """Of the pump that was used last, among those that are wanted."""
        wanted = [pump for pump in selected_pumps(pumps, self.options.pumps) if not pump.never_uploaded]
        if wanted:
            now = self.context.clock.now()
            today = local_day(now, self.context.zone_of)
            yield check_records(client, newest_used(wanted), today=today, now=now)

    @contextmanager
    def _client(self) -> Iterator[Client]:
        """One client for one poll: the next is minutes away, longer than a server keeps a connection."""
        with closing(HttpClient(clock=self.context.clock)) as client:
            yield Client(self.account, TandemTransport(client, self.context.clock))

    def _fetch(
        self,
        client: Client,
        plans: Sequence[tuple[Pump, Sequence[Window]]],
        newest: Pump | None = None,
        *,
        opened: Mapping[str, Event] | None = None,
    ) -> Iterator[Batch]:
        """All windows of all pumps. What one pump's requests run into does not keep the others' from being asked.

        Given ``newest``, trouble with a pump that is not in use is only logged, and that pump left alone for a day: it must
        not slow down the one that is.
        """
        reader = WindowReader(
            client=client,
            clock=self.context.clock,
            drift=self.drift,
            memo=self.memo,
            patience=self._patience,
            total=sum((last - first).days + 1 for _, windows in plans for first, last in windows),
        )
        trouble: Retryable | None = None
        left: list[UnreadableDay] = []
        for pump, windows in plans:
            spare = newest is not None and not in_use(pump, newest, self.context.clock.now())
            try:
                yield from reader.read(pump, windows)
            except (SourceChanged, ServerBusy) as error:
                log.warning('pump_not_read pump=%s reason="%s"', pump.serial, error.message)
                reader.unfinished.clear()
                reader.changed.clear()
                if spare:
                    self._patience.leave_pump(pump, self.context.clock)
                else:
                    trouble = trouble or error
                continue
            unread = self._leave(reader, spare=spare)
            left += [] if spare else unread
            changed, reader.changed = reader.changed, []
            if changed and spare:
                self._patience.leave_pump(pump, self.context.clock)
            elif changed:
                trouble = trouble or changed_records(pump.serial, changed)
            if opened is not None and pump.serial in opened and not unread and not changed:
                fact = opened[pump.serial]
                yield Batch(events=(fact,), note=f"pump {pump.serial}", done=reader.done, total=reader.total)
        if trouble is None and left:
            trouble = _unfinished(left, any_read=reader.succeeded)
        trouble = trouble or reader.odd_answer
        if trouble is not None:
            raise trouble

    def _leave(self, reader: WindowReader, *, spare: bool) -> list[UnreadableDay]:
        """The pump's days that stayed broken. Old ones are left alone for an hour if it goes on, a spare pump for a day."""
        unread, reader.unfinished = reader.unfinished, []
        clock = self.context.clock
        recent = local_day(clock.now(), self.context.zone_of) - timedelta(days=OVERLAP_DAYS)
        for one in unread:
            self.memo.leave(one.pump.serial, {one.day}, clock.now())
            if spare:
                self._patience.leave_pump(one.pump, clock)
            elif one.day < recent:
                self._patience.leave_day(one.pump, one.day, clock)
        return unread

    def _news(self, pumps: Sequence[Pump], history: History) -> list[Event]:
        """Facts that the list of pumps brings and the log does not have."""
        now = self.context.clock.now()
        found = []
        for pump in pumps:
            uploaded, settings = pump.uploaded_at, pump.settings
            if (
                uploaded is not None
                and uploaded <= now + FUTURE_UPLOAD
                and not self.journal.knows_upload(pump, history)
            ):
                found.append(facts.upload_seen(pump, uploaded, now))
            first = self.journal.horizon(pump, history)
            if settings is not None and not self.journal.knows_settings(pump, settings.settings_hash, history):
                fact = facts.settings_captured(
                    pump,
                    settings,
                    now,
                    zone_of=self.context.zone_of,
                    first=first or self._first_day(),
                    before=next(iter(history.facts("settings.captured", pump=pump.serial, limit=1)), None),
                )
                found.append(fact)
            if first is None:
                found.append(facts.history_opened(pump, self._first_day(), None, now))
        return found

    def _first_day(self) -> date:
        today = local_day(self.context.clock.now(), self.context.zone_of)
        return today - timedelta(days=self.options.history_days)

    def _askable(self, pump: Pump, newest: Pump, history: History) -> bool:
        if pump.never_uploaded and not self.journal.ever_uploaded(pump, history):
            return False
        now = self.context.clock.now()
        return in_use(pump, newest, now) or not self._patience.spares(pump, self.context.clock)

    def _plan(self, pump: Pump, newest: Pump, history: History) -> list[Window]:
        now = self.context.clock.now()
        zone_of = self.context.zone_of
        start = (self.journal.horizon(pump, history) or self._first_day()) - timedelta(days=LEAD_IN_DAYS)
        planner = Planner(pump=pump, start=start, now=now, zone_of=zone_of, used=in_use(pump, newest, now))
        last = local_day(now, zone_of) + timedelta(days=MOST_DAYS_AHEAD)
        coverage = self.journal.coverage(pump, history)
        return planner.windows(
            coverage,
            stray_windows(self.journal.clock_changes(pump, history), start, last),
            most_days=self.options.window_days,
            unread=self.memo.unread(pump.serial, coverage.days),
            spared=self._patience.spared_days(pump, self.context.clock),
        )

    def _pumps(self, client: Client) -> tuple[Sequence[Pump], SourceChanged | None]:
        """The pumps that the configuration wants, and the error that ends the poll if the worn one cannot be asked for.

        Errors: SourceChanged if the configuration names none that is there.
        """
        choice = self.options.pumps
        listed = read_pumps(whole_answer(client.pumper(), "list of pumps"))
        if listed.skipped:
            self.drift.tell(f"pumps {listed.skipped}", "pumps_skipped count=%d reason=unreadable", listed.skipped)
        for finding in (*choice_findings(listed.pumps, choice), *hidden_findings(listed, choice)):
            if finding.what not in self._told:
                self._told.add(finding.what)
                log.warning('pumps_option what="%s"', finding.what)
        wanted = selected_pumps(listed.pumps, choice)
        if not wanted:
            message, remedy = no_pump_selected(listed.pumps)
            raise SourceChanged(message, remedy=remedy)
        if listed.perhaps_worn is None or choice != "all":
            return wanted, None
        message, remedy = worn_hidden(listed.perhaps_worn, choice)
        return wanted, SourceChanged(message, remedy=remedy, after_s=CHANGED_WAIT_S)


def _unfinished(left: Sequence[UnreadableDay], *, any_read: bool) -> Retryable:
    """The error for days that stayed broken. Where other days could be read, it is about those days and passes."""
    one = left[0]
    if not any_read:
        return one.error
    more = f" and {counted(len(left) - 1, 'more day')}" if len(left) > 1 else ""
    return Retryable(
        f"{words_for((one.day, one.day))}{more} of pump {one.pump.serial} could not be read; the other days were."
        f" {one.error.message}",
        after_s=None if isinstance(one.error, SourceChanged) else one.error.after_s,
        remedy="They are asked for again, at last about hourly; nothing else waits for them.",
    )
