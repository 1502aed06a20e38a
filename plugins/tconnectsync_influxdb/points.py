"""Points: how a document becomes a line of the line protocol, and how its copy is named, found and deleted.

A point is identified by measurement, tags and time. Pumps record several facts in one second, so a point's time is the second
of its record plus a few hundred microseconds, made from the record's sequence number: the same in each replay, and different for
two records of one second. The field ``id`` holds the identity of the document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import TypeAlias

import attrs

from tconnectsync import Document

Value: TypeAlias = float | str
ID = "id"
"""The field with the document's identity."""
SECOND_NS = 1_000_000_000
_NAME_ESCAPES = str.maketrans({",": r"\,", " ": r"\ ", "=": r"\=", "\n": " ", "\r": " "})
_TEXT_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\""})


@attrs.frozen(kw_only=True)
class PointKey:
    """What identifies a point, and the names of its fields. ``time_ns``: nanoseconds since 1970."""

    measurement: str
    tags: Mapping[str, str]
    time_ns: int
    fields: frozenset[str]

    @property
    def place(self) -> tuple[str, tuple[tuple[str, str], ...], int]:
        """Two points with the same place are one point."""
        return self.measurement, tuple(sorted(self.tags.items())), self.time_ns

    def to_text(self) -> str:
        """The receiver key of the document."""
        parts = [self.measurement, dict(sorted(self.tags.items())), self.time_ns, ",".join(sorted(self.fields))]
        return json.dumps(parts, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> PointKey:
        """The inverse of :meth:`to_text`."""
        measurement, tags, time_ns, fields = json.loads(text)
        return cls(measurement=measurement, tags=tags, time_ns=time_ns, fields=frozenset(fields.split(",")))

    def leaves_something(self, other: PointKey | None) -> bool:
        """Whether writing ``other`` would leave this point, or a field of it, in the database."""
        return other is None or self.place != other.place or not self.fields <= other.fields


@attrs.frozen(kw_only=True)
class Point:
    """A point with its values."""

    key: PointKey
    values: Mapping[str, Value]

    def line(self) -> str:
        """The line protocol, without line break."""
        tags = "".join(f",{_name(name)}={_name(value)}" for name, value in sorted(self.key.tags.items()))
        values = ",".join(f"{_name(name)}={_value(value)}" for name, value in sorted(self.values.items()))
        return f"{_measurement(self.key.measurement)}{tags} {values} {self.key.time_ns}"


def point_of(document: Document) -> Point:
    """Return the point of a document, whose content was made by :func:`tconnectsync_influxdb.folds.point_documents.point_document`."""
    content = document.content
    values = {**content["fields"], ID: document.id}
    time_ns = seconds_of(document.at) * SECOND_NS + content["offset_ns"]
    key = PointKey(
        measurement=document.collection, tags=content["tags"], time_ns=time_ns, fields=frozenset(values)
    )  # fmt: skip
    return Point(key=key, values=values)


def seconds_of(at: datetime) -> int:
    """Whole seconds since 1970."""
    return int(at.replace(microsecond=0).timestamp())


def second_of(time_ns: int) -> datetime:
    """The UTC second of a point's time: the ``at`` of its document."""
    return datetime.fromtimestamp(time_ns // SECOND_NS, timezone.utc)


def iso_ns(time_ns: int) -> str:
    """RFC 3339 with nanoseconds."""
    return f"{second_of(time_ns):%Y-%m-%dT%H:%M:%S}.{time_ns % SECOND_NS:09d}Z"


def quoted_name(name: str) -> str:
    """A measurement or tag name in InfluxQL and in delete predicates."""
    return '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'


def quoted_text(text: str) -> str:
    """A text value in InfluxQL."""
    return "'" + re.sub(r"(['\\])", r"\\\1", text) + "'"


def _measurement(name: str) -> str:
    return name.replace(",", r"\,").replace(" ", r"\ ")


def _name(text: str) -> str:
    """A tag name, tag value or field name. A backslash at its end would escape the character after it."""
    return text.rstrip("\\").translate(_NAME_ESCAPES)


def _value(value: Value) -> str:
    """Numbers are always floats: the first integer would permanently make the field an integer."""
    return f'"{value.translate(_TEXT_ESCAPES)}"' if isinstance(value, str) else repr(float(value))
