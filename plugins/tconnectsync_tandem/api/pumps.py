"""The account's pumps, read from the ``pumper`` response. Personal data in it is dropped here."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

import attrs

from tconnectsync_tandem.api.transport import shape_changed
from tconnectsync_tandem.decode.entries import unpacked

_SERIAL = re.compile(r"[A-Za-z0-9-]{1,32}")
_MOST_TEXT = 80
_FIRST_YEAR, _LAST_YEAR = 2008, 2150
_PERSONAL = frozenset(
    {
        "address",
        "birthdate",
        "city",
        "country",
        "dateofbirth",
        "email",
        "firstname",
        "lastname",
        "patientcaregiver",
        "patientdateofbirth",
        "patientname",
        "phone",
        "phonenumber",
        "postalcode",
        "street",
    }
)


@attrs.frozen(kw_only=True)
class PumpSettings:
    """The pump's settings as the cloud stores them: their hash, their upload, and the details.

    ``uploaded_at`` is the account's time stamp. It has no zone, but milliseconds, which pumps do not have: read as UTC.
    """

    settings_hash: str
    upload: str
    uploaded_at: datetime | None
    details: Mapping[str, Any] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Pump:
    """One pump. ``assignments`` are the ids with which its events are requested.

    ``uploaded_at`` is UTC. ``newest`` is the pump's own clock (naive), which may be wrong. None: never, or unreadable.
    """

    serial: str
    assignments: tuple[str, ...]
    model: str = ""
    software: str = ""
    uploaded_at: datetime | None = None
    newest: datetime | None = None
    settings: PumpSettings | None = None
    never_uploaded: bool = False
    """Whether the response says so: its dates are present and null."""

    @property
    def age_key(self) -> tuple[datetime, datetime]:
        """A sort key for how recently the pump was used: by upload, then by its newest date."""
        return _age_key(self.uploaded_at, self.newest)


@attrs.frozen(kw_only=True)
class HiddenPump:
    """A pump whose data cannot be requested. ``missing``: what is missing or unreadable, as text."""

    missing: str
    model: str = ""
    uploaded_at: datetime | None = None
    newest: datetime | None = None
    never_uploaded: bool = False

    @property
    def age_key(self) -> tuple[datetime, datetime]:
        """As :attr:`Pump.age_key`."""
        return _age_key(self.uploaded_at, self.newest)

    @property
    def words(self) -> str:
        """The pump as text."""
        uploaded = "" if self.uploaded_at is None else f"uploaded {self.uploaded_at:%Y-%m-%d %H:%M} UTC"
        return ", ".join(part for part in (self.model or "a pump of an unnamed model", uploaded) if part)


class PumpList(NamedTuple):
    """The usable pumps, the hidden ones, and the number of entries that are not pumps."""

    pumps: tuple[Pump, ...]
    hidden: tuple[HiddenPump, ...] = ()
    odd: int = 0

    @property
    def skipped(self) -> int:
        """How many cannot be used."""
        return len(self.hidden) + self.odd

    @property
    def hidden_active(self) -> HiddenPump | None:
        """A hidden pump that was used later than all others, or at an unknown time."""
        newest = newest_used(self.pumps).age_key
        candidates = [
            pump
            for pump in self.hidden
            if not pump.never_uploaded and (pump.age_key > newest or pump.age_key == _age_key(None, None))
        ]
        return max(candidates, key=lambda pump: pump.age_key, default=None)


def read_pumps(answer: Mapping[str, Any]) -> PumpList:
    """Read every pump with a serial number and an assignment. Errors: BrokenShape if there is none."""
    listed = answer.get("pumps")
    if not isinstance(listed, list):
        raise shape_changed("list of pumps", "it has no pumps")
    found: dict[str, Pump] = {}
    hidden: list[HiddenPump] = []
    odd = 0
    for entry in listed:
        pump = _pump(entry) if isinstance(entry, dict) and entry else None
        if pump is None:
            odd += 1
        elif isinstance(pump, HiddenPump):
            hidden.append(pump)
        elif pump.serial in found:
            found[pump.serial] = _merged(found[pump.serial], pump)
        else:
            found[pump.serial] = pump
    if not found:
        lacks = sorted({pump.missing for pump in hidden})
        why = f"no readable pump ({', '.join(lacks)})" if lacks else "no readable pump"
        raise shape_changed("list of pumps", why if listed else "an empty list")
    return PumpList(tuple(found.values()), tuple(hidden), odd)


def is_serial(text: str) -> bool:
    """Whether this may be a pump's serial number."""
    return bool(_SERIAL.fullmatch(text))


def _pump(entry: Mapping[Any, Any]) -> Pump | HiddenPump:
    by_key = {str(key).lower(): value for key, value in entry.items()}
    serial, assignment = (_identity(by_key.get(key)) for key in ("serialnumber", "assignmentid"))
    uploaded_at, newest = read_utc(by_key.get("lastuploaddate")), read_wall(by_key.get("maxdateofevents"))
    never_uploaded = all(by_key.get(key, "") is None for key in ("lastuploaddate", "maxdateofevents"))
    if not _SERIAL.fullmatch(serial) or not assignment:
        return HiddenPump(
            missing="no assignment" if _SERIAL.fullmatch(serial) else "no serial number",
            model=_text(by_key.get("modelname")),
            uploaded_at=uploaded_at,
            newest=newest,
            never_uploaded=never_uploaded,
        )
    return Pump(
        serial=serial,
        assignments=(assignment,),
        model=_text(by_key.get("modelname")),
        software=_text(by_key.get("softwareversion")),
        uploaded_at=uploaded_at,
        newest=newest,
        settings=_settings(by_key.get("settings")),
        never_uploaded=never_uploaded,
    )


def _identity(value: Any) -> str:
    """An id, which may be sent as a number; empty if it is none."""
    if type(value) is int:
        return str(value)
    return value.strip() if isinstance(value, str) else ""


def _age_key(uploaded_at: datetime | None, newest: datetime | None) -> tuple[datetime, datetime]:
    never = datetime(1, 1, 1)
    return (uploaded_at or never.replace(tzinfo=timezone.utc), newest or never)


def _merged(one: Pump, other: Pump) -> Pump:
    """Merge two entries of a pump that was assigned twice."""
    later = max(one, other, key=lambda pump: pump.age_key)
    return attrs.evolve(later, assignments=tuple(sorted({*one.assignments, *other.assignments})))


def _settings(entry: Any) -> PumpSettings | None:
    found = unpacked(entry.get("details")) if isinstance(entry, dict) else None
    if not isinstance(found, dict) or not found:
        return None
    details = _impersonal(found)
    settings_hash = entry.get("settingsHash")
    if not isinstance(settings_hash, str) or not re.fullmatch(r"[0-9A-Fa-f]{8,128}", settings_hash):
        text = json.dumps(details, sort_keys=True, default=str)
        settings_hash = hashlib.sha1(text.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()
    upload = entry.get("uploadId")
    if not isinstance(upload, str) or (
        not _SERIAL.fullmatch(upload) and not re.fullmatch(r"[0-9A-Fa-f-]{1,64}", upload)
    ):
        upload = ""
    return PumpSettings(
        settings_hash=settings_hash.upper(),
        upload=upload,
        uploaded_at=read_utc(entry.get("uploadedTimeStamp")),
        details=details,
    )


def _impersonal(details: Any) -> Any:
    if isinstance(details, dict):
        return {key: _impersonal(item) for key, item in details.items() if str(key).lower() not in _PERSONAL}
    return [_impersonal(item) for item in details] if isinstance(details, list) else details


def read_utc(text: Any) -> datetime | None:
    """Read an upload's time; without a zone it is UTC."""
    found = _iso(text)
    if found is None:
        return None
    return found.replace(tzinfo=timezone.utc) if found.tzinfo is None else found.astimezone(timezone.utc)


def read_wall(text: Any) -> datetime | None:
    """Read a time on the pump's own clock, naive; a zone after it is ignored."""
    found = _iso(text)
    return None if found is None else found.replace(tzinfo=None)


def _iso(text: Any) -> datetime | None:
    if not isinstance(text, str) or not 10 <= len(text) <= 40:
        return None
    text = re.sub(r"\.(\d+)", lambda part: "." + part.group(1)[:6].ljust(6, "0"), text.strip())
    try:
        found = datetime.fromisoformat(text[:-1] + "+00:00" if text[-1:] in "zZ" else text)
    except ValueError:
        return None
    return found if _FIRST_YEAR <= found.year <= _LAST_YEAR else None


def _text(value: Any) -> str:
    return " ".join(value.split())[:_MOST_TEXT] if isinstance(value, str) else ""


def newest_used(pumps: Sequence[Pump]) -> Pump:
    """Return the most recently used pump, as far as the cloud knows."""
    return max(pumps, key=lambda pump: pump.age_key)
