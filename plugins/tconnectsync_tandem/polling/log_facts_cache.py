"""A cache of what the log says about earlier fetches, so that an idle poll reads almost nothing.

Only facts that were read from the log are cached, never those that were sent to it: the log may have rejected them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime

import attrs
import msgspec

from tconnectsync import Event, History
from tconnectsync_tandem.api.pumps import Pump
from tconnectsync_tandem.polling.planner import Coverage, FetchedDay, coverage_of, newest_of_uploads

WINDOWS_READ = 1_000
"""How many ``window.fetched`` events are read: about forty days of hourly polls."""

NEW_WINDOWS_READ = 40
UPLOADS_READ = 200
CLOCK_CHANGES_READ = 64
OPENED_READ = 10_000
"""A backfill of years adds one of these events for each of its parts."""


@attrs.define
class _Known:
    """The cached facts of one pump."""

    upload: datetime | None = None
    settings_hash: str | None = None
    horizon: date | None = None
    newest_window: str = ""
    coverage: Coverage = attrs.field(factory=lambda: Coverage(days={}))
    newest_change: str = ""
    clock_changes: Sequence[Event] = ()


@attrs.define
class LogFactsCache:
    """Facts from the log, by pump."""

    _known: dict[str, _Known] = attrs.field(factory=dict)

    def knows_upload(self, pump: Pump, history: History) -> bool:
        """Whether this pump's newest upload is in the log."""
        known = self._known_of(pump)
        if known.upload != pump.uploaded_at:
            found = history.facts("upload.seen", pump=pump.serial, limit=1)
            same = bool(found) and found[0].body.uploaded_at == pump.uploaded_at
            known.upload = pump.uploaded_at if same else None
        return known.upload is not None

    def ever_uploaded(self, pump: Pump, history: History) -> bool:
        """Whether the log knows of any upload of this pump."""
        return self._known_of(pump).upload is not None or bool(history.facts("upload.seen", pump=pump.serial, limit=1))

    def newest_upload(self, history: History) -> datetime | None:
        """The time of the newest upload of any pump that the log knows."""
        return max((fact.body.uploaded_at for fact in history.facts("upload.seen", limit=UPLOADS_READ)), default=None)

    def knows_settings(self, pump: Pump, settings_hash: str, history: History) -> bool:
        """Whether these are the settings that were captured last."""
        known = self._known_of(pump)
        if known.settings_hash != settings_hash:
            found = history.facts("settings.captured", pump=pump.serial, limit=1)
            same = bool(found) and found[0].body.settings_hash == settings_hash
            known.settings_hash = settings_hash if same else None
        return known.settings_hash is not None

    def horizon(self, pump: Pump, history: History) -> date | None:
        """The first day to deliver, if the log has it."""
        known = self._known_of(pump)
        if known.horizon is None:
            for fact in history.facts("history.opened", pump=pump.serial, limit=OPENED_READ):
                if fact.body.last_day is None:
                    known.horizon = date.fromisoformat(fact.body.first_day)
        return known.horizon

    def coverage(self, pump: Pump, history: History) -> Coverage:
        """Return which days were fetched, and when."""
        known = self._known_of(pump)
        newest = history.facts("window.fetched", pump=pump.serial, limit=1)
        if newest and newest[0].id != known.newest_window:
            since = _since(
                history.facts("window.fetched", pump=pump.serial, limit=NEW_WINDOWS_READ), known.newest_window
            )
            if since is None:
                found = history.facts("window.fetched", pump=pump.serial, limit=WINDOWS_READ)
                coverage, uploads = coverage_of(found, limit=WINDOWS_READ), UPLOADS_READ
            else:
                coverage, uploads = _merged(known.coverage, coverage_of(since, limit=WINDOWS_READ).days), len(since) + 1
            newest_of = newest_of_uploads(history.facts("upload.seen", pump=pump.serial, limit=uploads))
            newest_of = dict(sorted({**known.coverage.newest_of, **newest_of}.items())[-UPLOADS_READ:])
            known.coverage = msgspec.structs.replace(coverage, newest_of=newest_of)
            known.newest_window = newest[0].id
        return known.coverage

    def clock_changes(self, pump: Pump, history: History) -> Sequence[Event]:
        """The pump's newest clock changes."""
        known = self._known_of(pump)
        newest = history.facts("clock.changed", pump=pump.serial, limit=1)
        if newest and newest[0].id != known.newest_change:
            known.clock_changes = history.facts("clock.changed", pump=pump.serial, limit=CLOCK_CHANGES_READ)
            known.newest_change = newest[0].id
        return known.clock_changes

    def _known_of(self, pump: Pump) -> _Known:
        return self._known.setdefault(pump.serial, _Known())


def _since(facts: Sequence[Event], event_id: str) -> Sequence[Event] | None:
    """Return the facts newer than the event with this id; None if it is not among them."""
    for index, fact in enumerate(facts):
        if fact.id == event_id:
            return facts[:index]
    return None


def _merged(coverage: Coverage, newer: Mapping[date, FetchedDay]) -> Coverage:
    return msgspec.structs.replace(coverage, days={**coverage.days, **newer})
