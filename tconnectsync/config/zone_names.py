"""Checks names of time zones: does a name say where the wearer lives, and which name is meant?

A wrong zone moves every dose. So a similar spelling is not enough for a suggestion: it must be a zone of the same city.
"""

from __future__ import annotations

import re
import unicodedata
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

EXPECTED = 'an IANA zone name such as "America/New_York" or "Europe/Berlin"'
LIST = "https://en.wikipedia.org/wiki/List_of_tz_database_time_zones"

_NO_AREAS = frozenset({"Etc", "posix", "right", "SystemV"})
_COUNTRIES = frozenset({
    "Cuba", "Egypt", "Eire", "GB", "GB-Eire", "Hongkong", "Iceland", "Iran", "Israel", "Jamaica", "Japan", "Kwajalein", "Libya",
    "NZ", "NZ-CHAT", "Navajo", "PRC", "Poland", "Portugal", "ROC", "ROK", "Singapore", "Turkey", "W-SU",
})  # fmt: skip
"""Names without a region that name a country."""
_NO_PLACES: tuple[tuple[str, str], ...] = (
    (
        r"(?:Etc/)?(?:GMT|UTC|UCT|Z|Zulu|Greenwich|Universal)0?|Etc/.*",
        "which is a fixed offset from UTC and not a place: it has no daylight saving time",
    ),
    (
        r"(?:(?:GMT|UTC|UCT|Z)\s*)?[-+\N{MINUS SIGN}\N{EN DASH}]\s*\d.*",
        (
            "which is a fixed offset from UTC and not a place: it has no daylight saving time (and the sign of such names is"
            " reversed in the database)"
        ),
    ),
    (r"Factory|localtime|posixrules", "which means the setting of a computer, and not a place"),
    (r"[A-Z]{2,5}(?:\d+[A-Z]*)?", "which is an abbreviation and not a place"),
)
"""Patterns of names that are not a wearer's zone, and why."""


def is_zone(name: str) -> bool:
    """Whether ``name`` is in the IANA database."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def names_place(name: str) -> bool:
    """Whether ``name`` is a zone of a place: ``Area/Place`` or a country, not UTC, ``Etc/…``, an abbreviation or a path."""
    area, slash, place = name.partition("/")
    if not slash:
        return name in _COUNTRIES and is_zone(name)
    return bool(area and place) and area not in _NO_AREAS and is_zone(name)


def zone_problem(name: str) -> str | None:
    """Return what was expected instead of ``name``; None if it is the zone of a place."""
    if names_place(name):
        return None
    why = next((words for pattern, words in _NO_PLACES if re.fullmatch(pattern, name.strip(), re.IGNORECASE)), None)
    same = zones_named(name)
    if same:
        return f"{EXPECTED}; did you mean {' or '.join(map(_quoted, same))}?"
    if why is not None:
        return f"{EXPECTED}, not {_quoted(name.strip())}, {why}"
    return (
        f"{EXPECTED}. There is no zone with this name. Zones are named after large cities: choose a city with the same clock as"
        f" the wearer's home: {LIST}"
    )


def zones_named(name: str) -> list[str]:
    """Return at most three zones of the same region and city, in any spelling. Without a region: zones of the same city."""
    path = re.sub(r".*/zoneinfo/|:?(?:posix|right)/|:", "", name.strip())
    *regions, city = (_letters(part) for part in path.split("/"))
    if not city:
        return []
    found = []
    for zone in sorted(available_timezones()):
        parts = [_letters(part) for part in zone.split("/")]
        if parts[-1] == city and (not regions or parts[0] == regions[0]) and names_place(zone):
            found.append(zone)
    return found[:3]


def _letters(text: str) -> str:
    """Return the text in lower case, with only letters and digits, and without accents."""
    plain = unicodedata.normalize("NFKD", text)
    return "".join(each for each in plain if each.isalnum()).casefold()


def _quoted(name: str) -> str:
    return f'"{name}"'
