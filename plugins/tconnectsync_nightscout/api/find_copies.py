"""Read our documents back: in pages through time, and the copies of given documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec

from tconnectsync_nightscout.api.client import Find, NightscoutClient, is_mongo_id
from tconnectsync_nightscout.api.document_format import (
    ENTRIES,
    Key,
    Task,
    created_at_text,
    epoch_ms,
    moment_of,
    slot_of,
)
from tconnectsync_nightscout.api.match_copies import CopyMatcher, identity_of, time_of_document

PAGE = 1000
REACH = timedelta(days=2)
"""Copies are searched this far from the known times: a response may have been lost, or a user edited the time."""
FIRST_TIME = datetime(1990, 1, 1, tzinfo=timezone.utc)
LAST_TIME = datetime(2100, 1, 1, tzinfo=timezone.utc)
DENSITY_PER_DAY = 0.5
"""Up to this many documents per day are requested one by one; for more, all pages of the days are read."""
FEW = 8


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """One stored document with an identifier: the server's ``_id``, the key, and all fields."""

    mongo_id: str
    identifier: str
    key: Key
    fields: Mapping[str, Any]

    def holds(self, body: Mapping[str, Any]) -> bool:
        """Whether it has the contents of ``body``; the server may have added fields."""
        return all(self.fields.get(name) == value for name, value in body.items() if name != "created_at")


def pages(
    client: NightscoutClient, collection: str, first: datetime, last: datetime, find: Find = ()
) -> Iterator[Mapping[str, Any]]:
    """Yield every document of a collection from ``first`` to ``last``, newest first, each ``_id`` once."""
    seen: set[object] = set()
    count = PAGE
    while True:
        page = client.read(collection, [*between(collection, first, last), *find], count=count)
        fresh = [item for item in page if item.get("_id") not in seen]
        seen = {item.get("_id") for item in page}
        yield from fresh
        times = [moment for moment in map(time_of, page) if moment is not None]
        if len(page) < count or not times:
            return
        # The next page begins with the oldest time again: more documents may have that time than fit on this page.
        oldest = min(times)
        count = PAGE if oldest < last else count * 2
        last = min(oldest, last)


def time_of(item: Mapping[str, Any]) -> datetime | None:
    """The time of a stored document. Entries of other programs have a ``dateString`` in any format, and a ``date``."""
    return moment_of(item.get("created_at")) or moment_of(item.get("dateString")) or _moment_at(item.get("date"))


def _moment_at(milliseconds: object) -> datetime | None:
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, (int, float)):
        return None
    try:
        return datetime.fromtimestamp(int(milliseconds) / 1000, timezone.utc)
    except (ValueError, OverflowError, OSError):
        return None


def copy_of(item: Mapping[str, Any], identifier: object = None) -> Copy | None:
    """Return a stored document as a copy of ours; None if identifier, time or a server-made ``_id`` is missing."""
    mongo_id, identifier, at = item.get("_id"), identifier or item.get("identifier"), time_of_document(item)
    if not isinstance(mongo_id, str) or not is_mongo_id(mongo_id) or not isinstance(identifier, str) or at is None:
        return None
    key = Key(at=at, event_type=slot_of(item))
    return Copy(mongo_id=mongo_id, identifier=identifier, key=key, fields=item)


def copies_of(
    client: NightscoutClient,
    collection: str,
    wanted: Mapping[str, Sequence[datetime]],
    *,
    tasks: Sequence[Task] = (),
    unfiltered: bool = False,
) -> dict[str, list[Copy]]:
    """Return the site's copies by identifier, from around the known times of each (none known: from any time).

    If the site does not keep identifiers, or ``unfiltered``: also copies that match ``tasks`` in other ways.
    """
    loose = unfiltered or collection in client.drops_identifier
    likeness = CopyMatcher(tasks if loose else ())
    found: dict[str, list[Copy]] = {identifier: [] for identifier in wanted}
    for group in _search_groups(wanted):
        members = {span.identifier for span in group}
        for first, last, find in _queries(group, filtered=not loose):
            for item in pages(client, collection, first, last, find):
                copy = copy_of(item, identity_of(item, members) or likeness.owner(item))
                # The server's filter is never trusted: a document without our identifier is not touched.
                if copy is not None and copy.identifier in members:
                    found[copy.identifier].append(copy)
    return {identifier: list({copy.mongo_id: copy for copy in copies}.values()) for identifier, copies in found.items()}


class _SearchSpan(msgspec.Struct, frozen=True, kw_only=True):
    """The time span in which copies of one document are searched."""

    identifier: str
    first: datetime
    last: datetime


def _search_groups(wanted: Mapping[str, Sequence[datetime]]) -> Iterator[list[_SearchSpan]]:
    """Group overlapping spans. A document without a known time is a group of its own, over all times."""
    spans = []
    for identifier, times in wanted.items():
        if times:
            spans.append(_SearchSpan(identifier=identifier, first=min(times) - REACH, last=max(times) + REACH))
        else:
            yield [_SearchSpan(identifier=identifier, first=FIRST_TIME, last=LAST_TIME)]
    group: list[_SearchSpan] = []
    end = FIRST_TIME
    for span in sorted(spans, key=lambda span: span.first):
        if group and span.first > end:
            yield group
            group = []
        group.append(span)
        end = max(end, span.last)
    if group:
        yield group


def _queries(group: Sequence[_SearchSpan], *, filtered: bool) -> Iterator[tuple[datetime, datetime, Find]]:
    first, last = min(span.first for span in group), max(span.last for span in group)
    if not filtered or len(group) > max(FEW, (last - first) / timedelta(days=1) * DENSITY_PER_DAY):
        yield first, last, ()
        return
    for span in group:
        yield span.first, span.last, [("identifier", span.identifier)]


def between(collection: str, first: datetime, last: datetime) -> list[tuple[str, str]]:
    """Return conditions on the time. Entries need one on their number; otherwise the server searches two days only."""
    if collection == ENTRIES:
        return [("date[$gte]", str(epoch_ms(first))), ("date[$lte]", str(epoch_ms(last)))]
    return [("created_at[$gte]", created_at_text(first)), ("created_at[$lte]", created_at_text(last))]
