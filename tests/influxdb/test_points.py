"""The line protocol: escaping, numbers, keys."""

from __future__ import annotations

from datetime import datetime, timezone

from tconnectsync import Document
from tconnectsync_influxdb.points import PointKey, iso_ns, point_of, second_of


def document(**content: object) -> Document:
    said = {"tags": {"pump": "1"}, "fields": {"number": 2.0}, "offset_ns": 14, **content}
    return Document(id="an-id", collection="alarm", at=datetime(2026, 5, 14, 12, tzinfo=timezone.utc), content=said)


def test_line() -> None:
    """Tags and fields are sorted; every number is a float; the identity is a field."""
    line = point_of(document(tags={"pump": "1", "kind": "a b"}, fields={"number": 2, "name": 'x"y'})).line()
    assert line == r'alarm,kind=a\ b,pump=1 id="an-id",name="x\"y",number=2.0 1778760000000000014'


def test_key() -> None:
    """A key as text gives the key back; a point is replaced if place and fields are covered."""
    key = point_of(document()).key
    assert PointKey.from_text(key.to_text()) == key
    assert not key.leaves_something(key)
    assert key.leaves_something(None)
    assert key.leaves_something(point_of(document(offset_ns=16)).key)
    assert key.leaves_something(point_of(document(fields={"name": "x"})).key)
    assert not key.leaves_something(point_of(document(fields={"name": "x", "number": 1.0})).key)


def test_times() -> None:
    """Nanoseconds survive where datetime has none."""
    assert iso_ns(1778760000000000014) == "2026-05-14T12:00:00.000000014Z"
    assert second_of(1778760000000999999) == datetime(2026, 5, 14, 12, tzinfo=timezone.utc)
