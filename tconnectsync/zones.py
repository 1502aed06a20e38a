"""Names of time zones: which are known, and which name a place."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

EXPECTED = 'an IANA zone name such as "Europe/Berlin"'

_NO_ZONES = frozenset({"Factory", "localtime", "posixrules"})
_NO_AREAS = frozenset({"Etc", "posix", "right", "SystemV"})


def is_zone(name: str) -> bool:
    """Whether ``name`` is in the IANA database."""
    if name in _NO_ZONES:
        return False
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def names_place(name: str) -> bool:
    """Whether ``name`` says where somebody is: ``Area/Place``, not UTC, ``Etc/…``, an abbreviation or a path."""
    area, slash, place = name.partition("/")
    return bool(area and slash and place) and area not in _NO_AREAS and is_zone(name)


def unknown_zone(name: str) -> str | None:
    """What was expected instead of ``name``; None when it is a zone."""
    if is_zone(name):
        return None
    from tconnectsync.wording import nearest

    known = sorted(available_timezones())
    wanted = name.strip().replace(" ", "_")
    places = [zone for zone in known if zone.rpartition("/")[2].casefold() == wanted.casefold()]
    meant = places[0] if places else nearest(wanted, known, cutoff=0.75)
    return f'{EXPECTED}; did you mean "{meant}"?' if meant else EXPECTED
