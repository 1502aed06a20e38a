"""Whether the pump's clock is one of the configured zone, as far as a single upload tells; for the time before the log knows."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from zoneinfo import ZoneInfo, available_timezones

import attrs

from tconnectsync.plugin.receiver import CheckResult
from tconnectsync.timeline.anchoring import BOGUS, FIT_S, FRESH_S, IMPOSSIBLE_S, Upload
from tconnectsync.timeline.pump_clock import span_text
from tconnectsync.timeline.zones import Zones

PLACES = (
    "America/New_York", "America/Chicago", "America/Denver", "America/Phoenix", "America/Los_Angeles", "America/Anchorage",
    "Pacific/Honolulu", "America/Halifax", "America/St_Johns", "Europe/London", "Europe/Berlin", "Europe/Helsinki",
    "Africa/Johannesburg", "Europe/Istanbul", "Asia/Dubai", "Asia/Kolkata", "Asia/Singapore", "Asia/Tokyo", "Australia/Sydney",
    "Australia/Perth", "Australia/Adelaide", "Australia/Darwin", "Australia/Brisbane", "Pacific/Auckland", "America/Bogota",
    "America/Sao_Paulo", "America/Toronto", "America/Detroit", "America/Winnipeg", "America/Edmonton", "America/Vancouver",
    "Europe/Dublin", "Europe/Lisbon", "Europe/Paris", "Europe/Rome", "Europe/Athens", "Europe/Warsaw",
)  # fmt: skip
"""Well-known places for each clock that wearers of these pumps have; the likeliest of those with one clock comes first."""
MOST_NAMED = 3
USUAL_S = 240.0
"""Lag of an upload behind its newest event when everything works."""
_REGIONS = frozenset({
    "Africa", "America", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific",
})  # fmt: skip
"""Regions whose zones are called after cities."""


@attrs.frozen(kw_only=True)
class ZoneDoubt:
    """The pump's clock is not that of ``zone``, in words.

    ``sure``: an event would be later than the upload that brought it. Else that upload may only have come late. ``places``:
    zones with the pump's clock, the likeliest first; there may be none.
    """

    zone: str
    sure: bool
    places: tuple[str, ...]
    words: str

    @property
    def finding(self) -> CheckResult:
        """A line of ``check``."""
        if not self.places:
            remedy = f"Set the date and time on the pump to those of {self.zone}; then run `tconnectsync check` again."
            return CheckResult(good=not self.sure, what=self.words, remedy=remedy)
        places = " or ".join(f'"{place}"' for place in self.places[:MOST_NAMED])
        remedy = f"If the wearer lives elsewhere, correct `timezone` (its clock is that of {places}); else set the pump's clock."
        return CheckResult(good=not self.sure, what=self.words, remedy=remedy)


def zone_doubt(upload: Upload, zones: Zones) -> ZoneDoubt | None:
    """What speaks against the zone; None where standard or daylight-saving time there fits, or nothing can be told."""
    day = upload.newest.date()
    lags_s = [upload.lag_s(offset_s) for offset_s in zones.offsets_near(day)]
    if any(IMPOSSIBLE_S <= lag_s <= FRESH_S for lag_s in lags_s):
        return None
    if upload.newest - upload.at.replace(tzinfo=None) > BOGUS:  # a clock that is days ahead is no matter of zones
        return None
    sure = max(lags_s) < IMPOSSIBLE_S
    possible = {place: upload.lag_s(Zones(timezone=place).offset_at(upload.at)) for place in PLACES}
    possible = {place: lag_s for place, lag_s in possible.items() if lag_s >= IMPOSSIBLE_S}
    best_s = min(possible.values(), key=lambda lag_s: abs(lag_s - USUAL_S), default=float("inf"))
    if not sure and not FIT_S[0] <= best_s <= FIT_S[1]:
        return None  # an upload of data that is old in any zone, or a clock that is slow
    fitting = tuple(place for place, lag_s in possible.items() if lag_s == best_s)
    if fitting:
        fitting += places_with_clock_of(fitting[0], upload.at, many=MOST_NAMED - len(fitting), beside=fitting)
    zone = zones.name_at(day)
    at_home = zones.wall_of(upload.at)
    words = (
        f"pump clock: an upload at {at_home:%Y-%m-%d %H:%M} in {zone} brought data of {upload.newest:%Y-%m-%d %H:%M} by the"
        f" pump's clock: {'it is not set to that zone' if sure else 'it may be set to another zone, or the phone was late'}"
    )
    return ZoneDoubt(zone=zone, sure=sure, places=fitting, words=words)


def clock_ahead(upload: Upload, zones: Zones) -> CheckResult | None:
    """A clock that is minutes ahead of its zone's: its newest event would be later than the upload. None where it is not."""
    lags_s = [upload.lag_s(offset_s) for offset_s in zones.offsets_near(upload.newest.date())]
    ahead_s = -max((lag_s for lag_s in lags_s if IMPOSSIBLE_S <= lag_s < FIT_S[0]), default=0.0)
    if not ahead_s or any(FIT_S[0] <= lag_s <= FRESH_S for lag_s in lags_s):
        return None
    return CheckResult(
        good=True,
        what=f"pump clock: seems at least {span_text(ahead_s)} ahead of {zones.name_at(upload.newest.date())}",
        remedy="Set the time on the pump. Until then its events are shown as much too late; they stay as they are after that.",
    )


def places_with_clock_of(place: str, at: datetime, *, many: int, beside: Collection[str] = ()) -> tuple[str, ...]:
    """At most ``many`` further zones that have the clock of ``place`` at ``at``, those of its own region first."""
    region = place.partition("/")[0]
    wanted = at.astimezone(ZoneInfo(place)).utcoffset()
    candidates = (name for name in available_timezones() if name.partition("/")[0] in _REGIONS and name not in beside)
    found: list[str] = []
    for name in sorted(candidates, key=lambda name: (not name.startswith(f"{region}/"), name)):
        if len(found) >= many:
            break
        if at.astimezone(ZoneInfo(name)).utcoffset() == wanted:
            found.append(name)
    return tuple(found)
