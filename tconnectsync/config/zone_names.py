"""Names of time zones: which of them say where a wearer lives, and what to write instead of the others.

A wrong zone moves every dose. So nothing is suggested because it is spelt alike: only a zone of the same region and city.
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
"""Names without a region that say where somebody lives."""
_NO_PLACES: tuple[tuple[str, str], ...] = (
    (
        r"(?:Etc/)?(?:GMT|UTC|UCT|Z|Zulu|Greenwich|Universal)0?|Etc/.*",
        "which is a fixed distance from UTC and no place: it knows no daylight saving time",
    ),
    (
        r"(?:(?:GMT|UTC|UCT|Z)\s*)?[-+\N{MINUS SIGN}\N{EN DASH}]\s*\d.*",
        (
            "which is a fixed distance from UTC and no place: it knows no daylight saving time (and the database counts such"
            " names the other way round)"
        ),
    ),
    (r"Factory|localtime|posixrules", "which stands for whatever a computer is set to, and for no place"),
    (r"[A-Z]{2,5}(?:\d+[A-Z]*)?", "which is an abbreviation and no place"),
)
"""Names that are no wearer's zone, whether the database has them or not, and why."""


def is_zone(name: str) -> bool:
    """Whether ``name`` is in the IANA database."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def names_place(name: str) -> bool:
    """Whether ``name`` says where somebody is: ``Area/Place`` or a country, not UTC, ``Etc/…``, an abbreviation or a path."""
    area, slash, place = name.partition("/")
    if not slash:
        return name in _COUNTRIES and is_zone(name)
    return bool(area and place) and area not in _NO_AREAS and is_zone(name)


def not_a_place(name: str) -> str | None:
    """What was expected instead of ``name``; None when it is a place's zone."""
    if names_place(name):
        return None
    why = next((words for pattern, words in _NO_PLACES if re.fullmatch(pattern, name.strip(), re.IGNORECASE)), None)
    same = zones_called(name)
    if same:
        return f"{EXPECTED}; did you mean {' or '.join(map(_quoted, same))}?"
    if why is not None:
        return f"{EXPECTED}, not {_quoted(name.strip())}, {why}"
    return (
        f"{EXPECTED}. There is no zone of that name: each is called after one large city. Take the city whose clock is also the"
        f" clock of the wearer's home: {LIST}"
    )


def zones_called(name: str) -> list[str]:
    """The zones of the same region and city, however those are written; without a region, of the same city. At most three."""
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
    """The text without accents, blanks, hyphens, underscores and capitals."""
    plain = unicodedata.normalize("NFKD", text)
    return "".join(each for each in plain if each.isalnum()).casefold()


def _quoted(name: str) -> str:
    return f'"{name}"'
