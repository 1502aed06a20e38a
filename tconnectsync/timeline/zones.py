"""The configured time zone, and the dated list of moves to other zones."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo

import attrs

UTC = timezone.utc


def _by_day(moves: Iterable[tuple[date, str]]) -> tuple[tuple[date, str], ...]:
    return tuple(sorted(moves))


@attrs.frozen(kw_only=True)
class Zones:
    """Where the wearer lives: ``timezone`` (IANA name) until the first of ``moves``, each (first local day, IANA name).

    ``moves`` are kept sorted by day. Unknown names raise ``ZoneInfoNotFoundError`` when they are first needed.
    """

    timezone: str
    moves: tuple[tuple[date, str], ...] = attrs.field(default=(), converter=_by_day)

    def name_at(self, day: date) -> str:
        """Return the IANA name for this local day."""
        name = self.timezone
        for first_day, moved_to in self.moves:
            if first_day > day:
                break
            name = moved_to
        return name

    def zone_at(self, day: date) -> ZoneInfo:
        """Return the zone for this local day."""
        return ZoneInfo(self.name_at(day))

    def offset_of(self, wall: datetime, fold: int = 0) -> int:
        """Return the offset from UTC in seconds at a naive local time. ``fold=1``: the second run of a repeated hour."""
        return _offset_s(wall.replace(tzinfo=self.zone_at(wall.date()), fold=fold))

    def utc_of(self, wall: datetime, fold: int = 0) -> datetime:
        """Return the UTC time of a naive local time. A time that a change skips gets the offset before the change."""
        return (wall - timedelta(seconds=self.offset_of(wall, fold))).replace(tzinfo=UTC, fold=0)

    def wall_of(self, at: datetime) -> datetime:
        """Return the naive local time at an aware time. Its date is the day that began last: see :meth:`day_start`."""
        return at.astimezone(ZoneInfo(self._name_when(at))).replace(tzinfo=None, fold=0)

    def _name_when(self, at: datetime) -> str:
        """Return the IANA name at an aware time: the new one from midnight on, of the old or of the new zone, whichever is earlier."""
        name = self.timezone
        for day, moved_to in self.moves:
            midnight = datetime(day.year, day.month, day.day)
            if at < min(midnight.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) for zone in (name, moved_to)):
                break
            name = moved_to
        return name

    def offset_at(self, at: datetime) -> int:
        """Return the offset from UTC in seconds at an aware time."""
        return round((self.wall_of(at) - at.astimezone(UTC).replace(tzinfo=None)).total_seconds())

    def day_start(self, day: date) -> datetime:
        """Return the UTC time at which a local day begins."""
        return self.utc_of(datetime(day.year, day.month, day.day))

    def offsets_near(self, day: date) -> tuple[int, ...]:
        """Return all offsets in seconds of this day's zone within half a year: standard and daylight-saving time."""
        return _offsets_near(self.name_at(day), day)

    def all_offsets_near(self, day: date) -> tuple[int, ...]:
        """Return :meth:`offsets_near` of all configured zones together."""
        names = {self.timezone, *(name for _, name in self.moves)}
        return tuple(sorted({offset_s for name in names for offset_s in _offsets_near(name, day)}))

    def to_json(self) -> list[list[str]]:
        """Return ``[["", zone], ["2025-06-01", zone], …]``."""
        return [["", self.timezone], *([day.isoformat(), name] for day, name in self.moves)]

    @classmethod
    def from_json(cls, rows: Iterable[Iterable[str]]) -> Zones:
        """Return the zones of :meth:`to_json`."""
        (_, first), *moves = ((day, name) for day, name in rows)
        return cls(timezone=first, moves=tuple((date.fromisoformat(day), name) for day, name in moves))


def _offset_s(aware: datetime) -> int:
    offset = aware.utcoffset()
    return 0 if offset is None else round(offset.total_seconds())


@lru_cache(maxsize=512)
def _offsets_near(name: str, day: date) -> tuple[int, ...]:
    zone = ZoneInfo(name)
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=zone)
    return tuple(sorted({_offset_s(noon + timedelta(days=away)) for away in range(-190, 191, 10)}))
