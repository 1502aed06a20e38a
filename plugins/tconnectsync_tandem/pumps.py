"""The pumps of an account, out of the ``pumper`` answer. Everything personal in that answer is dropped here."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

import attrs

from tconnectsync_tandem.decode.entries import unpacked
from tconnectsync_tandem.transport import shape_changed

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
class Settings:
    """The pump's settings as the cloud keeps them: their hash, which upload brought them, and the details.

    ``uploaded_at`` is the account's own stamp. It has no zone, but milliseconds, which pumps do not have: taken as UTC.
    """

    settings_hash: str
    upload: str
    uploaded_at: datetime | None
    details: Mapping[str, Any] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Pump:
    """One pump, by serial number; ``assignments`` are the ids under which its events are asked for.

    ``uploaded_at`` is UTC; ``newest`` is the pump's own clock (naive): a wrong clock makes it lie. None: never, or unreadable.
    """

    serial: str
    assignments: tuple[str, ...]
    model: str = ""
    software: str = ""
    algorithm: str = ""
    uploaded_at: datetime | None = None
    newest: datetime | None = None
    settings: Settings | None = None
    never_uploaded: bool = False
    """The answer says so: its dates are there, and null."""

    @property
    def age_key(self) -> tuple[datetime, datetime]:
        """Sorts pumps by how lately they were used: by upload, then by their own newest date."""
        never = datetime(1, 1, 1)
        return (self.uploaded_at or never.replace(tzinfo=timezone.utc), self.newest or never)


class PumpList(NamedTuple):
    """The usable pumps of an answer, and how many others there were."""

    pumps: tuple[Pump, ...]
    skipped: int


def read_pumps(answer: Mapping[str, Any]) -> PumpList:
    """Every pump with a serial number and an assignment. Errors: BrokenShape if none is left."""
    listed = answer.get("pumps")
    if not isinstance(listed, list):
        raise shape_changed("list of pumps", "no pumps in it")
    found: dict[str, Pump] = {}
    skipped = 0
    for entry in listed:
        pump = _pump(entry)
        if pump is None:
            skipped += 1
        elif pump.serial in found:
            found[pump.serial] = _joined(found[pump.serial], pump)
        else:
            found[pump.serial] = pump
    if not found:
        raise shape_changed("list of pumps", "no pump that can be read" if listed else "an empty list")
    return PumpList(tuple(found.values()), skipped)


def is_serial(text: str) -> bool:
    """Whether this may be a pump's serial number."""
    return bool(_SERIAL.fullmatch(text))


def _pump(entry: Any) -> Pump | None:
    if not isinstance(entry, dict):
        return None
    by_key = {str(key).lower(): value for key, value in entry.items()}
    serial, assignment = by_key.get("serialnumber"), by_key.get("assignmentid")
    serial = str(serial) if type(serial) is int else serial
    if not isinstance(serial, str) or not _SERIAL.fullmatch(serial.strip()):
        return None
    if not isinstance(assignment, str) or not assignment.strip():
        return None
    return Pump(
        serial=serial.strip(),
        assignments=(assignment.strip(),),
        model=_text(by_key.get("modelname")),
        software=_text(by_key.get("softwareversion")),
        algorithm=_text(by_key.get("algorithm")),
        uploaded_at=read_utc(by_key.get("lastuploaddate")),
        newest=read_wall(by_key.get("maxdateofevents")),
        settings=_settings(by_key.get("settings")),
        never_uploaded=all(by_key.get(key, "") is None for key in ("lastuploaddate", "maxdateofevents")),
    )


def _joined(one: Pump, other: Pump) -> Pump:
    """One pump that was assigned twice."""
    later = max(one, other, key=lambda pump: pump.age_key)
    return attrs.evolve(later, assignments=tuple(sorted({*one.assignments, *other.assignments})))


def _settings(entry: Any) -> Settings | None:
    found = unpacked(entry.get("details")) if isinstance(entry, dict) else None
    if not isinstance(found, dict) or not found:
        return None
    details = _impersonal(found)
    told = entry.get("settingsHash")
    if not isinstance(told, str) or not re.fullmatch(r"[0-9A-Fa-f]{8,128}", told):
        text = json.dumps(details, sort_keys=True, default=str)
        told = hashlib.sha1(text.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()
    upload = entry.get("uploadId")
    if not isinstance(upload, str) or (
        not _SERIAL.fullmatch(upload) and not re.fullmatch(r"[0-9A-Fa-f-]{1,64}", upload)
    ):
        upload = ""
    return Settings(
        settings_hash=told.upper(),
        upload=upload,
        uploaded_at=read_utc(entry.get("uploadedTimeStamp")),
        details=details,
    )


def _impersonal(details: Any) -> Any:
    if isinstance(details, dict):
        return {key: _impersonal(item) for key, item in details.items() if str(key).lower() not in _PERSONAL}
    return [_impersonal(item) for item in details] if isinstance(details, list) else details


def read_utc(text: Any) -> datetime | None:
    """An upload's time; one without a zone is taken as UTC."""
    found = _iso(text)
    if found is None:
        return None
    return found.replace(tzinfo=timezone.utc) if found.tzinfo is None else found.astimezone(timezone.utc)


def read_wall(text: Any) -> datetime | None:
    """A time on the pump's own clock, naive; a zone after it is decoration."""
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
    """The pump that was used last, as far as the cloud knows."""
    return max(pumps, key=lambda pump: pump.age_key)
