"""The content of the log page: events of all pumps, newest first, by kind and by words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import attrs
import msgspec

from tconnectsync import Event, GlucoseUnits
from tconnectsync_web.languages import Texts
from tconnectsync_web.pages.event_kinds import KIND_TITLES
from tconnectsync_web.pages.reader import ReadEvents

ROWS = 100
"""Rows on a page; a few more if several events have the same time."""
MOST_READ = 6_000
"""The number of events that are read for one page. If too few of them fit the search, the next page continues."""
FIRST_WINDOW, LONGEST_WINDOW = timedelta(hours=6), timedelta(days=64)
FEW = 400
"""A window with fewer events is followed by one of twice the length."""
LONGEST_SEARCH = 100
HIDDEN = frozenset(
    {
        "alarm_id",
        "alert_id",
        "details",
        "malfunction_id",
        "reading_time",
        "rtc_ms",
        "settings_hash",
        "signature",
    }
)
USUAL = {"mark": "value"}
"""Values that say nothing."""
UNITS: tuple[tuple[str, str], ...] = (
    ("_u_per_h", "U/h"),
    ("_g_per_u", "g/U"),
    ("_percent", "%"),
    ("_mv", "mV"),
    ("_min", "min"),
    ("_u", "U"),
    ("_g", "g"),
)
"""Endings of field names, and their units."""


@attrs.frozen(kw_only=True)
class EventRow:
    """One event. ``local``: the wearer's time."""

    at: datetime
    local: datetime
    title: str
    kind: str
    details: str
    pump: str
    position: int


@attrs.frozen(kw_only=True)
class EventPage:
    """One page. ``older``: the time before which the next page begins; None at the first event of the log."""

    rows: Sequence[EventRow]
    older: datetime | None = None

    @property
    def days(self) -> Iterator[tuple[date, Sequence[EventRow]]]:
        """The rows by local day."""
        day: list[EventRow] = []
        for row in self.rows:
            if day and row.local.date() != day[0].local.date():
                yield day[0].local.date(), day
                day = []
            day.append(row)
        if day:
            yield day[0].local.date(), day


@attrs.frozen(kw_only=True)
class EventSearch:
    """What a reader looks for: kinds (None: all), and words that a row must contain."""

    kinds: frozenset[str] | None = None
    words: str = ""

    def fits(self, row: EventRow) -> bool:
        """Whether the row has all words, whatever their case."""
        text = f"{row.title} {row.kind} {row.details} {row.pump}".casefold()
        return all(word in text for word in self.words[:LONGEST_SEARCH].casefold().split())


def event_page(
    read: ReadEvents, search: EventSearch, before: datetime, describe: Callable[[Event], EventRow]
) -> EventPage:
    """Return the newest rows before a time. Reads backwards in windows, at most about ``MOST_READ`` events."""
    rows: list[EventRow] = []
    window, end, seen = FIRST_WINDOW, before, 0
    while True:
        begin = end - window
        found = list(read(begin, end, search.kinds))
        seen += len(found)
        for event in reversed(found):
            row = describe(event)
            if len(rows) >= ROWS and row.at < rows[-1].at:
                return EventPage(rows=rows, older=rows[-1].at)
            if search.fits(row):
                rows.append(row)
        end = begin
        if not found and next(iter(read(None, begin, search.kinds)), None) is None:
            return EventPage(rows=rows)
        if seen >= MOST_READ or len(rows) >= ROWS:
            return EventPage(rows=rows, older=end)
        if len(found) < FEW:
            window = min(2 * window, LONGEST_WINDOW)


def describe_event(
    event: Event, texts: Texts, units: GlucoseUnits, wall_of: Callable[[datetime], datetime]
) -> EventRow:
    """Return the row of an event with ``at``."""
    if event.at is None:
        raise ValueError("the event has no UTC time")
    return EventRow(
        at=event.at,
        local=wall_of(event.at),
        title=texts.gettext(KIND_TITLES.get(event.kind, event.kind)),
        kind=event.kind,
        details=", ".join(_details(event.body, texts, units)),
        pump=event.pump,
        position=event.pos,
    )


def _details(body: Any, texts: Texts, units: GlucoseUnits) -> Iterator[str]:
    for name, value in msgspec.structs.asdict(body).items():
        if value is None or value == () or value is False or name in HIDDEN or USUAL.get(name) == value:
            continue
        if isinstance(value, Mapping):
            yield from (f"{texts.name(str(key))} {each}" for key, each in sorted(value.items()))
        else:
            yield _detail(name, value, texts, units)


def _detail(name: str, value: Any, texts: Texts, units: GlucoseUnits) -> str:
    """Return a field in words, such as ``delivered 3.5 U``."""
    if value is True:
        return texts.name(name)
    if isinstance(value, datetime):
        return f"{texts.name(name)} {texts.time(value)}"
    if isinstance(value, tuple):
        return f"{texts.name(name)} {', '.join(texts.name(str(each)) for each in value)}"
    if isinstance(value, (int, float)):
        if name == "glucose_mg_dl" or name.endswith(("_mg_dl", "_mg_dl_per_u", "_mg_dl_per_min")):
            label, _, per = name.partition("_mg_dl")
            is_mmol = units is GlucoseUnits.MMOL_L
            digits = {"": int(is_mmol), "_per_u": 1, "_per_min": 1 + is_mmol}[per]
            ending = per.replace("_per_u", f"/{texts.gettext('U')}").replace("_per_min", "/min")
            return f"{texts.name(label)} {texts.number(units.convert(value), digits)} {units.label}{ending}"
        if name.endswith("_s"):
            return f"{texts.name(name.removesuffix('_s'))} {texts.amount(value / 60, 1)} min"
        for ending, unit in UNITS:
            if name.endswith(ending):
                return f"{texts.name(name.removesuffix(ending))} {texts.amount(value, 3)} {texts.gettext(unit)}"
        return f"{texts.name(name)} {value}"
    return (
        f"{texts.name(name)} {texts.name(str(value))}"
        if name not in ("name", "mark", "mode")
        else texts.name(str(value))
    )
