"""The sink: its folds, and a database or bucket as its receiver."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tconnectsync import (
    Accepted,
    BaseReceiver,
    CheckResult,
    Context,
    CredentialsRefused,
    Delivery,
    Document,
    FieldDiff,
    Fold,
    Outcome,
    Rejected,
    Retryable,
    Sink,
    StoredDocument,
    host_of,
)
from tconnectsync_influxdb.folds.basal import BasalPointFold
from tconnectsync_influxdb.folds.boluses import BolusPointFold
from tconnectsync_influxdb.folds.levels import LevelsFold, ReservoirFold
from tconnectsync_influxdb.folds.readings import ReadingPointFold
from tconnectsync_influxdb.folds.single_records import alarms, carbs, fingersticks, modes, site_changes
from tconnectsync_influxdb.folds.suspensions import SuspensionsFold
from tconnectsync_influxdb.options import InfluxOptions
from tconnectsync_influxdb.points import (
    ID,
    SECOND_NS,
    PointKey,
    point_of,
    quoted_name,
    quoted_text,
    second_of,
    seconds_of,
)
from tconnectsync_influxdb.server import InfluxServer, Series, connect

MEASUREMENTS = (
    "alarm", "basal", "battery", "bolus", "glucose", "iob", "mode", "reservoir", "site_change", "suspension",
)  # fmt: skip
READ_AT_ONCE = timedelta(days=7)
"""A week has some four thousand points, so a reader's memory is bounded."""
LOOK_AROUND = timedelta(days=2)
"""How far from its present time an earlier copy of a document can be: a corrected clock moves it by hours."""
_QUERIES_AT_ONCE = 10


def folds() -> Sequence[Fold[Any]]:
    """Every fold of the sink."""
    return (
        alarms, BasalPointFold(), BolusPointFold(), carbs, fingersticks, LevelsFold(), modes, ReadingPointFold(), ReservoirFold(),
        site_changes, SuspensionsFold(),
    )  # fmt: skip


def open_sink(options: InfluxOptions, context: Context) -> Sink:
    """Return the sink with its receiver."""
    return Sink(folds=folds(), receiver=TimeSeries(connect(options, context.clock), options))


class TimeSeries(BaseReceiver):
    """A database (InfluxDB 1) or bucket (InfluxDB 2). The receiver key is the point's key as text."""

    def __init__(self, server: InfluxServer, options: InfluxOptions) -> None:
        self.server = server
        self.batch_size = server.batch_size
        host, path = host_of(options.base_url), f"/{options.org or ''}/{options.bucket or options.database or ''}"
        self.address = f"{host}:{options.port_used}{path}"
        self.former_address = host + path

    def deliver(self, batch: Sequence[Delivery]) -> Sequence[Outcome]:
        """Delete old copies that the new points do not replace, then write. A point with the same key is replaced as a whole."""
        copies = self._copies_in_doubt([delivery for delivery in batch if delivery.in_doubt])
        lines, gone, outcomes = [], list[PointKey](), list[Outcome]()
        for delivery in batch:
            point = None if delivery.document is None else point_of(delivery.document)
            key = None if point is None else point.key
            known = [PointKey.from_text(delivery.receiver_key)] if delivery.receiver_key else []
            gone += [old for old in (*known, *copies.get(delivery.document_id, ())) if old.leaves_something(key)]
            lines += [] if point is None else [point.line()]
            outcomes.append(Accepted(receiver_key="" if key is None else key.to_text()))
        if gone:
            self.server.delete(list({old.place: old for old in gone}.values()))
        if lines:
            self.server.write(lines)
        return outcomes

    def read_back(self, first: datetime, last: datetime) -> Iterator[StoredDocument]:
        """Yield every point of tconnectsync of this time span."""
        return self.survey(first, last)

    def shows(self, collection: str) -> bool:
        """Whether it is one of our measurements."""
        return collection in MEASUREMENTS

    def survey(self, first: datetime, last: datetime) -> Iterator[StoredDocument]:
        """Yield every point of tconnectsync, a week at a time. Points of other programs have no ``id`` and are left out."""
        since = first.replace(microsecond=0)
        while since <= last:
            until = min(since + READ_AT_ONCE, last + timedelta(seconds=1))
            for series in self.server.query(*(_near(name, since, until) for name in MEASUREMENTS)):
                yield from (copy for copy in _copies(series) if first <= copy.at <= last)
            if until > last:
                return
            since = until

    def compare(self, document: Document, stored: StoredDocument) -> Sequence[FieldDiff]:
        """Return the fields that differ, and the point's place if it is another one."""
        point = point_of(document)
        differences = [
            FieldDiff(field=name, ours=point.values.get(name), theirs=stored.content.get(name))
            for name in sorted({*point.values, *stored.content})
            if point.values.get(name) != stored.content.get(name)
        ]
        if PointKey.from_text(stored.receiver_key).place != point.key.place:
            differences.append(FieldDiff(field="tags", ours=point.key.to_text(), theirs=stored.receiver_key))
        return differences

    def rendered(self, document: Document) -> Mapping[str, Any]:
        """The line of the line protocol."""
        return {"line": point_of(document).line()}

    def check(self) -> Iterator[CheckResult]:
        """Check that the login may read and write, with a write that contains only a comment."""
        place = self.server.place
        try:
            version = self.server.version()
            list(self.server.query(f"SELECT * FROM {quoted_name(MEASUREMENTS[0])} LIMIT 1"))
            self.server.write(["# tconnectsync check"])
        except Rejected:
            pass  # InfluxDB 2 accepts login and bucket, and then wants a point
        except (Retryable, CredentialsRefused) as error:
            yield CheckResult(good=False, what=error.message, remedy=error.remedy)
            return
        yield CheckResult(good=True, what=f"{place} {version}: {place.what} can be read and written")

    def _copies_in_doubt(self, doubtful: Sequence[Delivery]) -> dict[str, list[PointKey]]:
        """The stored points of these documents: near their times, and anywhere for those whose time nobody knows."""
        wanted = {delivery.document_id for delivery in doubtful}
        dated: dict[str, list[datetime]] = {}
        undated: dict[str, list[str]] = {}
        for delivery in doubtful:
            times = _times_of(delivery)
            if times:
                dated.setdefault(delivery.collection, []).extend(times)
            else:
                undated.setdefault(delivery.collection, []).append(delivery.document_id)
        statements = [_near(name, *span) for name, times in dated.items() for span in _spans(times)]
        statements += [_look_up(name, ids) for name, ids in undated.items()]
        found: dict[str, list[PointKey]] = {}
        for start in range(0, len(statements), _QUERIES_AT_ONCE):
            for series in self.server.query(*statements[start : start + _QUERIES_AT_ONCE]):
                for copy in (copy for copy in _copies(series) if copy.document_id in wanted):
                    found.setdefault(copy.document_id, []).append(PointKey.from_text(copy.receiver_key))
        return found


def _times_of(delivery: Delivery) -> list[datetime]:
    """When the document is, and when its last accepted copy was."""
    times = [] if delivery.document is None else [delivery.document.at]
    if delivery.receiver_key:
        times.append(second_of(PointKey.from_text(delivery.receiver_key).time_ns))
    return times


def _spans(times: Iterable[datetime]) -> Iterator[tuple[datetime, datetime]]:
    """The time around each of these, overlapping ones together."""
    begin: datetime | None = None
    end: datetime | None = None
    for at in sorted(times):
        if begin is not None and end is not None and at - LOOK_AROUND > end:
            yield begin, end
            begin = None
        begin, end = begin or at - LOOK_AROUND, at + LOOK_AROUND
    if begin is not None and end is not None:
        yield begin, end


def _near(measurement: str, begin: datetime, end: datetime) -> str:
    """Select the points of a measurement from ``begin`` until before ``end``."""
    span = f"time >= {seconds_of(begin) * SECOND_NS} AND time < {seconds_of(end) * SECOND_NS}"
    return f"SELECT * FROM {quoted_name(measurement)} WHERE {span} GROUP BY *"


def _look_up(measurement: str, ids: Iterable[str]) -> str:
    """Select the points of these documents. Fields have no index, so all points of the measurement are read."""
    named = " OR ".join(f"{quoted_name(ID)} = {quoted_text(identity)}" for identity in ids)
    return f"SELECT * FROM {quoted_name(measurement)} WHERE {named} GROUP BY *"


def _copies(series: Series) -> Iterator[StoredDocument]:
    """The points of a series that have an identity. A tag that a series does not have is shown as empty."""
    tags = {name: value for name, value in series.tags.items() if value}
    for row in series.rows:
        values = {name: value for name, value in row.items() if name != "time" and value is not None}
        if not isinstance(values.get(ID), str):
            continue
        key = PointKey(measurement=series.measurement, tags=tags, time_ns=row["time"], fields=frozenset(values))
        yield StoredDocument(
            document_id=values[ID],
            collection=series.measurement,
            at=second_of(row["time"]),
            receiver_key=key.to_text(),
            pump=tags.get("pump", ""),
            content=values,
        )
