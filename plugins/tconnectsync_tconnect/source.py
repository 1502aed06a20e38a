"""The source: checks for new uploads, fetches the days that may have news, and records what was fetched."""

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
    short_serial,
)
from tconnectsync.events import Body
from tconnectsync.events.source_facts import history_opened, window_fetched
from tconnectsync_tconnect.api.account import TconnectAccount
from tconnectsync_tconnect.api.client import NoSuchPump, TconnectApi
from tconnectsync_tconnect.api.transport import RateLimited, ServerFailed, TconnectTransport, response_changed
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
from tconnectsync_tconnect.rows.decoder import DECODER, decode
from tconnectsync_tconnect.rows.merge import OpenSpans, WindowResponses, merge_responses
from tconnectsync_tconnect.rows.unreadable_rows import words_of
from tconnectsync_tconnect.source_events import SOURCE, event_of, upload_seen

log = logging.getLogger("tconnectsync.tconnect")

LEAD_IN = timedelta(days=1)
FAILURES = 3
"""After this many failed windows in a row, only today's days are fetched."""
OLDER_FAILURES = 2
"""The same for the older service, which takes minutes for each window."""
OLDER_SKIPPED = 4
"""After skipping this many windows, the older service is tried again."""
UNASKED = timedelta(hours=6)
UNASKED_BLIND = timedelta(hours=1)
"""The same if new uploads cannot be detected."""


def open_source(options: TconnectOptions, context: Context) -> TconnectSource:
    """Return the source for a checked configuration with account, password and a pump."""
    if options.email is None or options.password is None or not options.pumps:
        raise ValueError("the options were not checked")
    account = TconnectAccount(options=options, clock=context.clock, pace=context.pace)
    return TconnectSource(options=options, context=context, account=account)


@attrs.define(kw_only=True)
class TconnectSource:
    """The source for one account of the older t:connect. See :class:`tconnectsync.Source`.

    The services do not name the pump of a dose: all data is stored under the first pump of the options.
    """

    options: TconnectOptions = attrs.field(repr=False)
    context: Context = attrs.field(repr=False)
    account: TconnectAccount = attrs.field(repr=False)

    decoder = DECODER

    @property
    def pump(self) -> str:
        """The serial number under which all data is stored."""
        return self.options.pumps[0]

    def decode(self, raw: Mapping[str, Any]) -> tuple[str, Body]:
        """See :func:`tconnectsync_tconnect.rows.decoder.decode`."""
        return decode(raw)

    def poll(self, history: History) -> Generator[Batch, None, None]:
        """Ask once per pump for new uploads, then fetch the windows that may have news."""
        with self._api() as api:
            news, trouble = self._new_facts(api, history)
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
        """Fetch these days and one more on both sides; open them for delivery when all are complete."""
        with self._api() as api:
            news, trouble = self._new_facts(api, history)
            self._refuse_other_pumps(api)
            yield Batch(events=news, note="newest upload")
            plan = split_into_windows(days_between(first - LEAD_IN, last + LEAD_IN))
            yield from self._fetch(api, plan, self._newest_upload(news, history))
            horizon = horizon_of(self.pump, history)
            if horizon is None or horizon > first:
                opened = history_opened(SOURCE, self.pump, first, last, self.context.clock.now())
                yield Batch(events=(opened,), note=f"pump {self.pump}", done=1, total=1)
            if trouble is not None:
                raise trouble

    def check(self) -> Iterator[CheckResult]:
        """Check what is possible without reading events."""
        try:
            with self._api() as api:
                token = self.account.token()
                yield CheckResult(
                    good=True, what=f"tconnect: logged in, token valid until {token.expires_at:%Y-%m-%d %H:%M} UTC"
                )
                since = api.control_iq_since()
                words = "has no Control:IQ" if since is None else f"has had Control:IQ since {since}"
                yield CheckResult(good=True, what=f"tconnect: the user {words}")
                self._refuse_other_pumps(api)
                yield CheckResult(good=True, what=f"tconnect: all data is stored under pump {self.pump}")
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
            what = (
                "tconnect: without client_id and client_secret, new uploads cannot be detected; data is fetched hourly"
            )
            yield CheckResult(good=True, what=what)

    @contextmanager
    def _api(self) -> Iterator[TconnectApi]:
        with closing(HttpClient(clock=self.context.clock, pace=self.context.pace)) as client:
            yield TconnectApi(account=self.account, transport=TconnectTransport(client, self.context.clock))

    def _new_facts(self, api: TconnectApi, history: History) -> tuple[list[Event], Retryable | None]:
        """Return events that the log does not have, and an error. An unknown upload time does not stop the fetching."""
        now = self.context.clock.now()
        found: list[Event] = []
        trouble: Retryable | None = None
        for pump in self.options.pumps if self.account.has_phone else ():
            try:
                index = api.newest_index(pump)
            except NoSuchPump as error:
                log.warning('newest_upload_unknown pump=%s reason="%s"', short_serial(pump), error.message)
                if pump == self.pump:
                    if pump not in self._pumps_of_account(api):
                        raise
                    trouble = trouble or error
                continue
            except Retryable as error:
                log.warning('newest_upload_unknown pump=%s reason="%s"', short_serial(pump), error.message)
                trouble = trouble or error
                continue
            if not knows_upload(pump, index, history):
                found.append(upload_seen(pump, index, now))
        if horizon_of(self.pump, history) is None:
            found.append(history_opened(SOURCE, self.pump, self._first_day(), None, now))
        return found, trouble

    def _pumps_of_account(self, api: TconnectApi) -> frozenset[str]:
        """The account's pumps; empty if unknown."""
        self.account.token()  # a failed login is reported as such
        try:
            return serials_of(api.features())
        except (ServerFailed, SourceChanged) as error:
            log.warning('pumps_unknown reason="%s"', error.message)
            return frozenset()

    def _refuse_other_pumps(self, api: TconnectApi) -> None:
        """Raise SourceChanged if the account belongs to another pump than the one under which data is stored."""
        serials = self._pumps_of_account(api)
        if serials and self.pump not in serials:
            raise other_pump("the account is", serials, f"{self.pump} first")

    def _newest_upload(self, news: Sequence[Event], history: History) -> datetime | None:
        """When the newest upload of any of the pumps was seen."""
        known = [event.body.uploaded_at for event in news if event.kind == "upload.seen"]
        for pump in self.options.pumps:
            known += [fact.body.uploaded_at for fact in history.facts("upload.seen", pump=pump, limit=1)]
        return max(known, default=None)

    def _fetch(self, api: TconnectApi, plan: Sequence[Window], uploaded_at: datetime | None) -> Iterator[Batch]:
        """Fetch all windows, oldest first. Days that fail do not stop others; they are requested again."""
        if plan:
            self.account.token()  # a failing login is tried once, not for each window
        total = sum((last - first).days + 1 for first, last in plan)
        done = failed = older_failed = older_skipped = 0
        today = self._today()
        rest = OpenSpans()
        trouble: Retryable | None = None
        read, partial, todo = list[Window](), list[Window](), list(plan)
        while todo:
            window = todo.pop(0)
            first, last = window
            step = Batch(note=f"pump {self.pump}, {first} to {last}", done=done, total=total)
            done += (last - first).days + 1
            after_partial = follows(partial, window)
            if not follows(read, window):
                rest = OpenSpans()
            try:
                answers = WindowResponses(first=first, timeline=api.timeline(first, last))
                yield step
                answers = attrs.evolve(answers, therapy=api.therapy_events(first, last))
                yield step
                missed = trouble
                in_trouble = older_failed >= OLDER_FAILURES and older_skipped < OLDER_SKIPPED and last < today
                if in_trouble or isinstance(trouble, RateLimited):
                    older_skipped += 1
                else:
                    answers, missed = yield from self._older_service(api, answers, window, step)
                    older_failed, older_skipped = older_failed + 1 if isinstance(missed, ServerFailed) else 0, 0
                self._refuse_other_days(answers)
            except (ServerFailed, SourceChanged) as error:
                log.warning('days_not_read first=%s last=%s reason="%s"', first, last, error.message)
                trouble = trouble or error
                partial.append(window)
                failed += not isinstance(error, OtherPump)  # which is a valid response
                if failed >= FAILURES:
                    todo = [window for window in todo if window[1] >= today]
                continue
            failed = 0
            found = merge_responses(answers, rest)
            rest = found.open_spans
            if found.bad:
                log.warning("rows_set_aside first=%s last=%s count=%d", first, last, found.bad)
            now = self.context.clock.now()
            events = [event_of(one, self.pump, now) for one in found.facts]
            if found.is_changed:
                missed = missed or response_changed(f"the days {first} to {last}", words_of(found.unreadable))
            trouble = missed if isinstance(missed, RateLimited) else trouble or missed
            if missed is not None:
                partial.append(window)
            elif not after_partial:  # otherwise spans from the days before would have no end
                events.append(
                    window_fetched(SOURCE, self.pump, window, len(events), uploaded_at=uploaded_at, received_at=now)
                )
            read.append(window)
            yield attrs.evolve(step, events=events, done=done)
        if trouble is not None:
            trouble.partial = bool(read) and not isinstance(trouble, RateLimited)
            raise trouble

    def _older_service(
        self, api: TconnectApi, answers: WindowResponses, window: Window, step: Batch
    ) -> Generator[Batch, None, tuple[WindowResponses, Retryable | None]]:
        """Return ``answers`` with the older service's data of these days, as far as it answered, and the error."""
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

    def _refuse_other_days(self, answers: WindowResponses) -> None:
        """Raise SourceChanged if all readings of these days are from pumps that the options do not name."""
        serials = serials_in(answers)
        if serials and not serials & set(self.options.pumps):
            raise other_pump("there are readings", serials, ", ".join(self.options.pumps))

    def _today(self) -> date:
        now = self.context.clock.now()
        return now.astimezone(ZoneInfo(self.context.zone_of(now.date()))).date()

    def _first_day(self) -> date:
        return self._today() - timedelta(days=self.options.history_days)


def _rows(text: bytes) -> list[CsvRow | Damaged]:
    try:
        rows = list(read_rows(io.BytesIO(text)))
    except FileUnreadable as error:
        raise response_changed("the CSV export", error.message) from None
    if any(row.ends_file for row in rows[-1:]):
        raise response_changed("the CSV export", f"it ends within line {rows[-1].line}")
    return rows
