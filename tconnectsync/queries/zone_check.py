"""Whether the pump's clock fits the configured zone, judged by one upload. Used while the log does not have more data."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from zoneinfo import ZoneInfo, available_timezones

import attrs

from tconnectsync.plugin.receiver import CheckResult
from tconnectsync.text.durations import exact_span_words
from tconnectsync.timeline.zone_decision import FIT_S, FRESH_S, IMPOSSIBLE_S, MAX_LEAD, Upload
from tconnectsync.timeline.zones import Zones

PLACES = (
    "America/New_York", "America/Chicago", "America/Denver", "America/Phoenix", "America/Los_Angeles", "America/Anchorage",
    "Pacific/Honolulu", "America/Halifax", "America/St_Johns", "Europe/London", "Europe/Berlin", "Europe/Helsinki",
    "Africa/Johannesburg", "Europe/Istanbul", "Asia/Dubai", "Asia/Kolkata", "Asia/Singapore", "Asia/Tokyo", "Australia/Sydney",
    "Australia/Perth", "Australia/Adelaide", "Australia/Darwin", "Australia/Brisbane", "Pacific/Auckland", "America/Bogota",
    "America/Sao_Paulo", "America/Toronto", "America/Detroit", "America/Winnipeg", "America/Edmonton", "America/Vancouver",
    "Europe/Dublin", "Europe/Lisbon", "Europe/Paris", "Europe/Rome", "Europe/Athens", "Europe/Warsaw",
)  # fmt: skip
"""Well-known places for the clocks that wearers of these pumps have, the most likely first."""
MOST_NAMED = 3
USUAL_S = 240.0
"""Usual delay of an upload after its newest event."""
_REGIONS = frozenset({
    "Africa", "America", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific",
})  # fmt: skip
"""Regions whose zones are named after cities."""


@attrs.frozen(kw_only=True)
class ZoneDoubt:
    """The pump's clock does not fit ``zone``.

    ``sure``: with this zone an event would be later than its upload. Otherwise the upload may just be late. ``places``: zones
    that fit the pump's clock, the most likely first; may be empty.
    """

    zone: str
    sure: bool
    places: tuple[str, ...]
    words: str

    @property
    def finding(self) -> CheckResult:
        """The doubt as a result of ``check``."""
        if not self.places:
            remedy = f"Set the date and time on the pump to those of {self.zone}; then run `tconnectsync check` again."
            return CheckResult(good=not self.sure, what=self.words, remedy=remedy)
        places = " or ".join(f'"{place}"' for place in self.places[:MOST_NAMED])
        remedy = f"If the wearer lives elsewhere, correct `timezone` (the pump's clock shows the time of {places}). Otherwise set the pump's clock."
        return CheckResult(good=not self.sure, what=self.words, remedy=remedy)


def zone_doubt(upload: Upload, zones: Zones) -> ZoneDoubt | None:
    """Return the doubt about the zone; None if its standard or daylight-saving time fits, or if one upload cannot show it."""
    if clock_fits(upload, zones):
        return None
    day = upload.newest.date()
    lags_s = [upload.lag_s(offset_s) for offset_s in zones.offsets_near(day)]
    if upload.newest - upload.at.replace(tzinfo=None) > MAX_LEAD:  # a clock that is days ahead is not a wrong zone
        return None
    sure = max(lags_s) < IMPOSSIBLE_S
    best_s, fitting = _places(upload)
    if not sure and not FIT_S[0] <= best_s <= FIT_S[1]:
        return None  # the data is old in any zone, or the clock is slow
    zone = zones.name_at(day)
    at_home = zones.wall_of(upload.at)
    words = (
        f"pump clock: an upload at {at_home:%Y-%m-%d %H:%M} in {zone} brought data of {upload.newest:%Y-%m-%d %H:%M} by the"
        f" pump's clock: {'it is not set to that zone' if sure else 'it may be set to another zone, or the phone was late'}"
    )
    return ZoneDoubt(zone=zone, sure=sure, places=fitting, words=words)


def unchanged_clock(upload: Upload, zones: Zones) -> ZoneDoubt | None:
    """Return the doubt if the pump's clock fits only the zone's other time, the daylight-saving time in winter or the reverse."""
    lag_s = upload.lag_s(zones.offset_at(upload.at))
    if not clock_fits(upload, zones) or IMPOSSIBLE_S <= lag_s <= FRESH_S:
        return None
    words = (
        f"pump clock: its newest data is of {upload.newest:%Y-%m-%d %H:%M}, which fits {zones.name_at(upload.newest.date())} only if"
        f" the pump's clock was not changed with daylight saving{', or if the phone was late' if lag_s > 0 else ''}"
    )
    return ZoneDoubt(zone=zones.name_at(upload.newest.date()), sure=False, places=_places(upload)[1], words=words)


def clock_fits(upload: Upload, zones: Zones) -> bool:
    """Whether the pump's clock fits the zone's standard or daylight-saving time: the upload came soon after its newest data."""
    lags_s = (upload.lag_s(offset_s) for offset_s in zones.offsets_near(upload.newest.date()))
    return any(IMPOSSIBLE_S <= lag_s <= FRESH_S for lag_s in lags_s)


def places_of_clock(upload: Upload) -> tuple[str, ...]:
    """Return at most three zones that fit the pump's clock, the most likely first; none if its data is old in any zone."""
    best_s, fitting = _places(upload)
    return fitting[:MOST_NAMED] if FIT_S[0] <= best_s <= FIT_S[1] else ()


def _places(upload: Upload) -> tuple[float, tuple[str, ...]]:
    """The delay of the upload that is most like the usual one, and the zones that give it."""
    possible = {place: upload.lag_s(Zones(timezone=place).offset_at(upload.at)) for place in PLACES}
    possible = {place: lag_s for place, lag_s in possible.items() if lag_s >= IMPOSSIBLE_S}
    best_s = min(possible.values(), key=lambda lag_s: abs(lag_s - USUAL_S), default=float("inf"))
    fitting = tuple(place for place, lag_s in possible.items() if lag_s == best_s)
    if fitting:
        fitting += places_with_clock_of(fitting[0], upload.at, many=MOST_NAMED - len(fitting), excluded=fitting)
    return best_s, fitting


def clock_ahead(upload: Upload, zones: Zones) -> CheckResult | None:
    """Return a result if the pump's clock is some minutes ahead: its newest event is later than the upload. Else None."""
    lags_s = [upload.lag_s(offset_s) for offset_s in zones.offsets_near(upload.newest.date())]
    ahead_s = -max((lag_s for lag_s in lags_s if IMPOSSIBLE_S <= lag_s < FIT_S[0]), default=0.0)
    if not ahead_s or any(FIT_S[0] <= lag_s <= FRESH_S for lag_s in lags_s):
        return None
    return CheckResult(
        good=True,
        what=f"pump clock: seems at least {exact_span_words(ahead_s)} ahead of {zones.name_at(upload.newest.date())}",
        remedy="Set the time on the pump. Until then its events are shown too late by that much, and those events stay so.",
    )


def places_with_clock_of(place: str, at: datetime, *, many: int, excluded: Collection[str] = ()) -> tuple[str, ...]:
    """Return at most ``many`` other zones with the same clock as ``place`` at ``at``, zones of its own region first."""
    region = place.partition("/")[0]
    wanted = at.astimezone(ZoneInfo(place)).utcoffset()
    candidates = (name for name in available_timezones() if name.partition("/")[0] in _REGIONS and name not in excluded)
    found: list[str] = []
    for name in sorted(candidates, key=lambda name: (not name.startswith(f"{region}/"), name)):
        if len(found) >= many:
            break
        if at.astimezone(ZoneInfo(name)).utcoffset() == wanted:
            found.append(name)
    return tuple(found)
