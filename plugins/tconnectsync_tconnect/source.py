"""The source: asks whether anything new was uploaded, then for the days that may hold it, and writes down what was asked."""

from __future__ import annotations

import io
import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import attrs

from tconnectsync import (
    Batch,
    CheckResult,
    Context,
    Event,
    FileUnreadable,
    History,
    HttpClient,
    Retryable,
    SourceChanged,
    TconnectsyncError,
)
from tconnectsync.events import Body
from tconnectsync_tconnect import source_events as ownfacts
from tconnectsync_tconnect.api.account import TconnectAccount
from tconnectsync_tconnect.api.client import Api, NoSuchPump
from tconnectsync_tconnect.api.transport import RateLimited, ServerFailed, TconnectTransport, changed
from tconnectsync_tconnect.options import TconnectOptions
from tconnectsync_tconnect.planner import (
    PlanInputs,
    Window,
    days_between,
    follows,
    horizon_of,
    knows_upload,
    position_of,
    split_into_windows,
    windows,
)
from tconnectsync_tconnect.pump_identity import OtherPump, other_pump, serials_in, serials_of
from tconnectsync_tconnect.rows.csv_tables import CsvRow, Damaged, read_rows
from tconnectsync_tconnect.rows.entry import DECODER, decode
from tconnectsync_tconnect.rows.merge import LegacyResponses, Rest, merged
from tconnectsync_tconnect.rows.unreadable_rows import words_of

log = logging.getLogger("tconnectsync.tconnect")

LEAD_IN = timedelta(days=1)
FAILURES = 3
"""After as many windows in a row that the server fails for, only today's days are asked for."""
OLDER_FAILURES = 2
"""The same of the older service, which takes minutes for each."""
OLDER_SKIPPED = 4
"""After so many windows that it was not asked for, it gets another chance."""
UNASKED = timedelta(hours=6)
UNASKED_BLIND = timedelta(hours=1)
"""The same where nothing tells whether there was an upload."""


def open_source(options: TconnectOptions, context: Context) -> TconnectSource:
    """The source of a checked configuration: account, password and a pump are there."""
    if options.email is None or options.password is None or not options.pumps:
        raise ValueError("the options were not checked")
    account = TconnectAccount(options=options, clock=context.clock)
    return TconnectSource(options=options, context=context, account=account)


@attrs.define(kw_only=True)
class TconnectSource:
    """The older t:connect, for one account. See :class:`tconnectsync.Source`.

    The services do not say of which pump a dose is: all is written down as of the first pump of the options.
    """

    options: TconnectOptions = attrs.field(repr=False)
    context: Context = attrs.field(repr=False)
    account: TconnectAccount = attrs.field(repr=False)

    decoder = DECODER

    @property
    def pump(self) -> str:
        """The serial number that stands on everything that is read."""
        return self.options.pumps[0]

    def decode(self, raw: Mapping[str, Any]) -> tuple[str, Body]:
        """See :func:`tconnectsync_tconnect.rows.entry.decode`."""
        return decode(raw)

    def poll(self, history: History) -> Generator[Batch, None, None]:
        """One question for each pump whether there is news; then the windows that may hold it."""
        with self._api() as api:
            news, trouble = self._news(api, history)
            newest = self._newest_upload(news, history)
            moment = PlanInputs(
                now=self.context.clock.now(),
                today=self._today(),
                uploaded_at=newest,
                unasked=UNASKED if self.account.has_phone else UNASKED_BLIND,
            )
            start = (horizon_of(self.pump, history) or self._first_day()) - LEAD_IN
            plan = windows(position_of(self.pump, history), start, moment)
            if plan:
                self._refuse_other_pumps(api)
            yield Batch(events=news, note="newest upload")
            yield from self._fetch(api, plan, newest)
            if trouble is not None:
                raise trouble

    def backfill(self, history: History, first: date, last: date) -> Iterator[Batch]:
        """These days and one more on both sides; they are opened for delivery once all are complete."""
        with self._api() as api:
            news, trouble = self._news(api, history)
            self._refuse_other_pumps(api)
            yield Batch(events=news, note="newest upload")
            plan = split_into_windows(days_between(first - LEAD_IN, last + LEAD_IN))
            yield from self._fetch(api, plan, self._newest_upload(news, history))
            horizon = horizon_of(self.pump, history)
            if horizon is None or horizon > first:
                opened = ownfacts.history_opened(self.pump, first, last, self.context.clock.now())
                yield Batch(events=(opened,), note=f"pump {self.pump}", done=1, total=1)
            if trouble is not None:
                raise trouble

    def check(self) -> Iterator[CheckResult]:
        """What can be told without reading events."""
        try:
            with self._api() as api:
                token = self.account.token()
                yield CheckResult(
                    good=True, what=f"tconnect: logged in, token good until {token.expires_at:%Y-%m-%d %H:%M} UTC"
                )
                since = api.control_iq_since()
                told = "has no Control:IQ" if since is None else f"has had Control:IQ since {since}"
                yield CheckResult(good=True, what=f"tconnect: the wearer {told}")
                self._refuse_other_pumps(api)
                yield CheckResult(good=True, what=f"tconnect: everything is written down as of pump {self.pump}")
                for pump in self.options.pumps if self.account.has_phone else ():
                    try:
                        index = api.newest_index(pump)["maxPumpEventIndex"]
                    except NoSuchPump as error:
                        yield CheckResult(
                            good=pump != self.pump, what=f"tconnect: {error.message}", remedy=error.remedy
                        )
                        continue
                    yield CheckResult(good=True, what=f"tconnect: pump {pump}, uploaded up to its event {index}")
        except TconnectsyncError as error:
            yield CheckResult(good=False, what=f"tconnect: {error.message}", remedy=error.remedy)
            return
        if not self.account.has_phone:
            what = "tconnect: without client_id and client_secret nothing tells of new uploads; it is asked hourly"
            yield CheckResult(good=True, what=what)

    @contextmanager
    def _api(self) -> Iterator[Api]:
        with closing(HttpClient(clock=self.context.clock)) as client:
            yield Api(account=self.account, transport=TconnectTransport(client, self.context.clock))

    def _news(self, api: Api, history: History) -> tuple[list[Event], Retryable | None]:
        """Facts that the log does not have yet. That nobody tells of uploads does not keep the days from being asked for."""
        now = self.context.clock.now()
        found: list[Event] = []
        trouble: Retryable | None = None
        for pump in self.options.pumps if self.account.has_phone else ():
            try:
                index = api.newest_index(pump)
            except NoSuchPump as error:
                log.warning('newest_upload_unknown pump=%s reason="%s"', pump, error.message)
                if pump == self.pump:
                    if pump not in self._told_pumps(api):
                        raise
                    trouble = trouble or error
                continue
            except Retryable as error:
                log.warning('newest_upload_unknown pump=%s reason="%s"', pump, error.message)
                trouble = trouble or error
                continue
            if not knows_upload(pump, index, history):
                found.append(ownfacts.upload_seen(pump, index, now))
        if horizon_of(self.pump, history) is None:
            found.append(ownfacts.history_opened(self.pump, self._first_day(), None, now))
        return found, trouble

    def _told_pumps(self, api: Api) -> frozenset[str]:
        """The account's pumps; empty where nobody tells."""
        self.account.token()  # a login that fails is told as such
        try:
            return serials_of(api.features())
        except (ServerFailed, SourceChanged) as error:
            log.warning('pumps_unknown reason="%s"', error.message)
            return frozenset()

    def _refuse_other_pumps(self, api: Api) -> None:
        """SourceChanged where the account is not that of the pump that everything is written down as of."""
        told = self._told_pumps(api)
        if told and self.pump not in told:
            raise other_pump("the account is", told, f"{self.pump} first")

    def _newest_upload(self, news: Sequence[Event], history: History) -> datetime | None:
        """When the newest upload of any of the pumps was seen."""
        known = [event.body.uploaded_at for event in news if event.kind == "upload.seen"]
        for pump in self.options.pumps:
            known += [fact.body.uploaded_at for fact in history.facts("upload.seen", pump=pump, limit=1)]
        return max(known, default=None)

    def _fetch(self, api: Api, plan: Sequence[Window], uploaded_at: datetime | None) -> Iterator[Batch]:
        """All windows, oldest first. What fails for some days keeps no others back: those are asked for again."""
        if plan:
            self.account.token()  # a login that fails is tried once, and not for each window
        total = sum((last - first).days + 1 for first, last in plan)
        done = failed = older_failed = older_skipped = 0
        today = self._today()
        rest = Rest()
        trouble: Retryable | None = None
        read: list[Window] = []
        partial: list[Window] = []
        todo = list(plan)
        while todo:
            window = todo.pop(0)
            first, last = window
            step = Batch(note=f"pump {self.pump}, {first} to {last}", done=done, total=total)
            done += (last - first).days + 1
            after_partial = follows(partial, window)
            if not follows(read, window):
                rest = Rest()
            try:
                answers = LegacyResponses(first=first, timeline=api.timeline(first, last))
                yield step
                answers = attrs.evolve(answers, therapy=api.therapy_events(first, last))
                yield step
                missed = trouble
                in_trouble = older_failed >= OLDER_FAILURES and older_skipped < OLDER_SKIPPED and last < today
                if in_trouble or isinstance(trouble, RateLimited):
                    older_skipped += 1
                else:
                    answers, missed = yield from self._older(api, answers, window, step)
                    older_failed, older_skipped = older_failed + 1 if isinstance(missed, ServerFailed) else 0, 0
                self._refuse_other_days(answers)
            except (ServerFailed, SourceChanged) as error:
                log.warning('days_not_read first=%s last=%s reason="%s"', first, last, error.message)
                trouble = trouble or error
                partial.append(window)
                failed += not isinstance(error, OtherPump)  # which is an answer
                if failed >= FAILURES:
                    todo = [window for window in todo if window[1] >= today]
                continue
            failed = 0
            found = merged(answers, rest)
            rest = found.rest
            if found.bad:
                log.warning("rows_set_aside first=%s last=%s count=%d", first, last, found.bad)
            now = self.context.clock.now()
            events = [ownfacts.event_of(one, self.pump, now) for one in found.facts]
            if found.is_changed:
                missed = missed or changed(f"the days {first} to {last}", words_of(found.unreadable))
            trouble = missed if isinstance(missed, RateLimited) else trouble or missed
            if missed is not None:
                partial.append(window)
            elif not after_partial:  # else what began in the days before would have no end
                events.append(ownfacts.window_fetched(self.pump, window, len(events), uploaded_at, now))
            read.append(window)
            yield attrs.evolve(step, events=events, done=done)
        if trouble is not None:
            raise trouble

    def _older(
        self, api: Api, answers: LegacyResponses, window: Window, step: Batch
    ) -> Generator[Batch, None, tuple[LegacyResponses, Retryable | None]]:
        """``answers`` with what the older service says of these days, as far as it does; and what went wrong."""
        first, last = window
        try:
            for text in api.csv_export(first, last):
                if text is not None:
                    answers = attrs.evolve(answers, csv=_rows(text))
                yield step
            for listed in api.suspensions(first, last):
                answers = attrs.evolve(answers, sites=listed or ())
                yield step
            sites = answers.sites
            for listed in api.basal_iq(first, last):
                answers = attrs.evolve(answers, sites=[*sites, *(listed or ())])
                yield step
        except Retryable as error:
            log.warning('older_service_failed first=%s last=%s reason="%s"', first, last, error.message)
            return answers, error
        return answers, None

    def _refuse_other_days(self, answers: LegacyResponses) -> None:
        """SourceChanged where the readings of these days are all of pumps that the options do not name."""
        told = serials_in(answers)
        if told and not told & set(self.options.pumps):
            raise other_pump("there are readings", told, ", ".join(self.options.pumps))

    def _today(self) -> date:
        now = self.context.clock.now()
        return now.astimezone(ZoneInfo(self.context.zone_of(now.date()))).date()

    def _first_day(self) -> date:
        return self._today() - timedelta(days=self.options.history_days)


def _rows(text: bytes) -> list[CsvRow | Damaged]:
    try:
        rows = list(read_rows(io.BytesIO(text)))
    except FileUnreadable as error:
        raise changed("the CSV export", error.message) from None
    if any(row.ends_file for row in rows[-1:]):
        raise changed("the CSV export", f"it ends within line {rows[-1].line}")
    return rows
