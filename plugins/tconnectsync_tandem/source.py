"""The source: requests the list of pumps, then the days with possible news, and records what was fetched."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping, Sequence, Set
from contextlib import closing, contextmanager
from datetime import date, timedelta
from functools import partial
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
    short_serial,
)
from tconnectsync.events import Body
from tconnectsync.events.source_facts import history_opened
from tconnectsync_tandem import source_events as facts
from tconnectsync_tandem.api.client import Client, TandemAccount
from tconnectsync_tandem.api.endpoints import Endpoints, endpoints_of
from tconnectsync_tandem.api.id_token import StartCheck, check_in_subprocess
from tconnectsync_tandem.api.pumps import Pump, newest_used, read_pumps
from tconnectsync_tandem.api.responses import whole_answer
from tconnectsync_tandem.api.token import TokenFile, account_key
from tconnectsync_tandem.api.transport import CHANGED_WAIT_S, Blocked, BrokenAnswer, ServerBusy, TandemTransport
from tconnectsync_tandem.decode import DECODER, decode
from tconnectsync_tandem.decode.event_factory import SOURCE
from tconnectsync_tandem.options import TandemOptions
from tconnectsync_tandem.polling.cooldown import Cooldown
from tconnectsync_tandem.polling.log_facts_cache import LogFactsCache
from tconnectsync_tandem.polling.planner import (
    LEAD_IN_DAYS,
    OVERLAP_DAYS,
    Planner,
    Window,
    days_between,
    in_use,
    is_date_right,
    local_day,
    split_into_windows,
    stray_days,
)
from tconnectsync_tandem.polling.schema_drift import SchemaDrift
from tconnectsync_tandem.polling.unreadable_days import changed_records
from tconnectsync_tandem.polling.window_reader import UnreadableDay, WindowReader, days_not_read, joined, spare_not_read
from tconnectsync_tandem.polling.window_state import WindowState
from tconnectsync_tandem.pump_choice import (
    choice_findings,
    hidden_active_pump,
    hidden_findings,
    no_pump_selected,
    pump_findings,
    selected_pumps,
)
from tconnectsync_tandem.record_check import check_records

log = logging.getLogger("tconnectsync.tandem")

FUTURE_UPLOAD = timedelta(hours=1)


def open_source(
    options: TandemOptions,
    context: Context,
    *,
    start_check: StartCheck = check_in_subprocess,
) -> TandemSource:
    """Return the source for a checked configuration with account, password and region."""
    if options.email is None or options.password is None or options.region is None:
        raise ValueError("the options were not checked")
    endpoints = endpoints_of(options.region, options.endpoints)
    account = TandemAccount(
        email=options.email,
        password=options.password,
        endpoints=endpoints,
        token_file=TokenFile(context.folder / "token.json", account_key(options.email, endpoints)),
        clock=context.clock,
        start_check=start_check,
        pace=context.pace,
    )
    return TandemSource(
        options=options,
        context=context,
        endpoints=endpoints,
        account=account,
        window_state=WindowState.load(context.folder / "windows.json"),
    )


@attrs.define(kw_only=True)
class TandemSource:
    """The source for one Tandem Source account. See :class:`tconnectsync.Source`."""

    options: TandemOptions = attrs.field(repr=False)
    context: Context = attrs.field(repr=False)
    endpoints: Endpoints
    account: TandemAccount = attrs.field(repr=False)
    window_state: WindowState
    drift: SchemaDrift = attrs.field(factory=SchemaDrift)
    log_facts_cache: LogFactsCache = attrs.field(factory=LogFactsCache)
    _warned: set[str] = attrs.field(factory=set)

    decoder = DECODER

    @property
    def _cooldown(self) -> Cooldown:
        return self.window_state.cooldown

    def decode(self, raw: Mapping[str, Any]) -> tuple[str, Body]:
        """See :func:`tconnectsync_tandem.decode.decode`."""
        return decode(raw)

    def poll(self, history: History) -> Generator[Batch, None, None]:
        """Request the list of pumps, then all windows that may have news.

        Closing the generator closes the connection.
        """
        with self._client() as client:
            pumps, hidden = self._pumps(client)
            yield Batch(events=self._new_facts(pumps, history), note="list of pumps")
            newest = newest_used(pumps)
            plans = [
                (pump, self._plan(pump, newest, history)) for pump in pumps if self._should_fetch(pump, newest, history)
            ]
            yield from self._fetch(client, [(pump, windows) for pump, windows in plans if windows], newest)
            if hidden is not None:
                raise hidden

    def backfill(self, history: History, first: date, last: date) -> Iterator[Batch]:
        """Fetch the days and one more on both sides, for all selected pumps.

        The days that were read open for delivery at the end of each pump.
        """
        with self._client() as client:
            pumps, _ = self._pumps(client)
            yield Batch(events=self._new_facts(pumps, history), note="list of pumps")
            days = days_between(first - timedelta(days=LEAD_IN_DAYS), last + timedelta(days=LEAD_IN_DAYS))
            windows = split_into_windows(days, self.options.window_days)
            used = [pump for pump in pumps if not pump.never_uploaded]
            earlier = [pump.serial for pump in used if (self.log_facts_cache.horizon(pump, history) or last) > first]
            opens = dict.fromkeys(earlier, frozenset(days_between(first, last)))
            yield from self._fetch(client, [(pump, windows) for pump in used], newest_used(pumps), opens=opens)

    def check(self) -> Iterator[CheckResult]:
        """Check the login, the pumps, and whether the newest records can be read."""
        try:
            with self._client() as client:
                token = self.account.token()
                until = f"{token.expires_at:%Y-%m-%d %H:%M} UTC"
                yield CheckResult(
                    good=True, what=f"tandem: logged in, region {self.endpoints.region}, token valid until {until}"
                )
                listed = read_pumps(whole_answer(client.pumper(), "list of pumps"))
                yield from hidden_findings(listed, self.options.pumps)
                yield from pump_findings(listed.pumps, self.options.pumps, hidden=listed.hidden_active is not None)
                yield from self._check_records(client, listed.pumps)
        except TconnectsyncError as error:
            yield CheckResult(good=False, what=f"tandem: {error.message}", remedy=error.remedy)

    def _check_records(self, client: Client, pumps: Sequence[Pump]) -> Iterator[CheckResult]:
        """Check the most recently used of the selected pumps."""
        wanted = [pump for pump in selected_pumps(pumps, self.options.pumps) if not pump.never_uploaded]
        if wanted:
            now = self.context.clock.now()
            today = local_day(now, self.context.zone_of)
            yield check_records(client, newest_used(wanted), today=today, now=now)

    @contextmanager
    def _client(self) -> Iterator[Client]:
        """One HTTP client per poll: the next poll comes later than servers keep a connection open. The state is saved at the end."""
        with closing(HttpClient(clock=self.context.clock, pace=self.context.pace)) as client:
            try:
                yield Client(self.account, TandemTransport(client, self.context.clock))
            finally:
                self.window_state.save()

    def _fetch(
        self,
        client: Client,
        plans: Sequence[tuple[Pump, Sequence[Window]]],
        newest: Pump,
        *,
        opens: Mapping[str, Set[date]] | None = None,
    ) -> Iterator[Batch]:
        """Fetch all windows of all pumps, the worn one first; an error of one pump does not stop the others.

        After an error of a pump that is not in use, polls pause it for a day and only log this: it must not delay
        the one in use. Only if Tandem asks to wait nothing more is requested. A backfill gives ``opens``: the days that
        it opens for delivery, by pump. It reports the errors of all pumps.
        """
        reader = WindowReader(
            client=client,
            clock=self.context.clock,
            drift=self.drift,
            window_state=self.window_state,
            total=sum((last - first).days + 1 for _, windows in plans for first, last in windows),
        )
        troubles: list[Retryable] = []
        left: list[UnreadableDay] = []
        for pump, windows in sorted(plans, key=lambda plan: plan[0].age_key, reverse=True):
            spare = not in_use(pump, newest, self.context.clock.now())
            silent = spare and opens is None
            try:
                yield from reader.read(pump, windows)
            except Blocked:
                if spare:
                    self._cooldown.pause_pump(pump, self.context.clock)
                raise
            except (SourceChanged, ServerBusy, BrokenAnswer) as error:
                log.warning('pump_not_read pump=%s reason="%s"', short_serial(pump.serial), error.message)
                reader.unfinished.clear()
                reader.changed.clear()
                if spare:
                    self._cooldown.pause_pump(pump, self.context.clock)
                if not silent:
                    troubles.append(spare_not_read(pump, error) if spare else error)
                continue
            unread = self._record_unread(reader, spare=spare)
            left += [] if silent else unread
            changed, reader.changed = reader.changed, []
            if changed and spare:
                self._cooldown.pause_pump(pump, self.context.clock)
            if changed and not silent:
                troubles.append(changed_records(pump.serial, changed))
            if opens and pump.serial in opens:
                read = opens[pump.serial] & reader.read_days[pump.serial]
                yield reader.step(pump, facts.days_opened(pump, read, self.context.clock.now()))
        if left:
            troubles.append(days_not_read(left, any_read=reader.succeeded))
        if reader.odd_answer is not None:
            troubles.append(reader.odd_answer)
        if troubles:
            trouble = troubles[0] if opens is None else joined(troubles)
            trouble.partial = reader.succeeded and not any(isinstance(each, ServerBusy) for each in troubles)
            raise trouble

    def _record_unread(self, reader: WindowReader, *, spare: bool) -> list[UnreadableDay]:
        """Record the pump's unreadable days.

        Old days are paused for hours if they stay so, an unused pump for a day.
        """
        unread, reader.unfinished = reader.unfinished, []
        clock = self.context.clock
        recent = local_day(clock.now(), self.context.zone_of) - timedelta(days=OVERLAP_DAYS)
        for one in unread:
            self.window_state.record_unread(one.pump.serial, {one.day}, clock.now())
            if spare:
                self._cooldown.pause_pump(one.pump, clock)
            elif one.asked and one.day < recent:
                self._cooldown.record_failed_day(one.pump, one.day, clock)
        return unread

    def _new_facts(self, pumps: Sequence[Pump], history: History) -> list[Event]:
        """Events from the list of pumps that the log does not have yet."""
        now = self.context.clock.now()
        found = []
        for pump in pumps:
            uploaded, settings = pump.uploaded_at, pump.settings
            if (
                uploaded is not None
                and uploaded <= now + FUTURE_UPLOAD
                and not self.log_facts_cache.knows_upload(pump, history)
            ):
                found.append(facts.upload_seen(pump, uploaded, now))
            first = self.log_facts_cache.horizon(pump, history)
            if settings is not None and not self.log_facts_cache.knows_settings(pump, settings.settings_hash, history):
                fact = facts.settings_captured(
                    pump,
                    settings,
                    now,
                    zone_of=self.context.zone_of,
                    first=first or self._first_day(history),
                    before=next(iter(history.facts("settings.captured", pump=pump.serial, limit=1)), None),
                )
                found.append(fact)
            if first is None:
                found.append(history_opened(SOURCE, pump.serial, self._first_day(history), None, now))
        return found

    def _first_day(self, history: History) -> date:
        """The first day to deliver of a pump that the log does not know: early enough to leave no hole after earlier pumps."""
        now = self.context.clock.now()
        first = local_day(now, self.context.zone_of) - timedelta(days=self.options.history_days)
        before = self.log_facts_cache.newest_upload(history) or now
        return min(first, local_day(before, self.context.zone_of) - timedelta(days=OVERLAP_DAYS))

    def _should_fetch(self, pump: Pump, newest: Pump, history: History) -> bool:
        if pump.never_uploaded and not self.log_facts_cache.ever_uploaded(pump, history):
            return False
        now = self.context.clock.now()
        return in_use(pump, newest, now) or not self._cooldown.is_pump_paused(pump, self.context.clock)

    def _plan(self, pump: Pump, newest: Pump, history: History) -> list[Window]:
        now = self.context.clock.now()
        zone_of = self.context.zone_of
        start = (self.log_facts_cache.horizon(pump, history) or self._first_day(history)) - timedelta(days=LEAD_IN_DAYS)
        planner = Planner(pump=pump, start=start, now=now, zone_of=zone_of, used=in_use(pump, newest, now))
        coverage = self.log_facts_cache.coverage(pump, history)
        return planner.windows(
            coverage,
            stray_days(
                self.log_facts_cache.clock_changes(pump, history),
                start,
                local_day(now, zone_of),
                partial(is_date_right, pump, coverage.newest_of),
            ),
            most_days=self.options.window_days,
            unread=self.window_state.unread(pump.serial, coverage.days),
            paused=self._cooldown.paused_days(pump, self.context.clock),
        )

    def _pumps(self, client: Client) -> tuple[Sequence[Pump], SourceChanged | None]:
        """Return the selected pumps, and the error that ends the poll if the active pump's data cannot be requested.

        Errors: SourceChanged if no selected pump is on the account.
        """
        choice = self.options.pumps
        listed = read_pumps(whole_answer(client.pumper(), "list of pumps"))
        if listed.skipped:
            self.drift.warn_once(f"pumps {listed.skipped}", "pumps_skipped count=%d reason=unreadable", listed.skipped)
        for finding in (*choice_findings(listed.pumps, choice), *hidden_findings(listed, choice)):
            if finding.what not in self._warned:
                self._warned.add(finding.what)
                log.warning('pumps_option what="%s"', finding.what)
        wanted = selected_pumps(listed.pumps, choice)
        if not wanted:
            message, remedy = no_pump_selected(listed.pumps)
            raise SourceChanged(message, remedy=remedy)
        if listed.hidden_active is None or choice != "all":
            return wanted, None
        message, remedy = hidden_active_pump(listed.hidden_active, choice)
        return wanted, SourceChanged(message, remedy=remedy, after_s=CHANGED_WAIT_S, partial=True)
