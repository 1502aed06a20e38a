"""The figures of past days in a file of the data folder, so that a new process computes none of them again.

The file may be deleted at any time: it is rebuilt from the event log. It is not used if it comes from another log, another
zone, decoder or code.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import attrs
import msgspec

from tconnectsync.errors import TconnectsyncError
from tconnectsync.eventlog import OsFiles
from tconnectsync.filesystem import replace_file
from tconnectsync.statistics.summary import Summary

FILE_NAME = "daily-figures.json.gz"
LARGEST = 64 << 20
"""A file that is larger unpacked is not ours."""


@attrs.frozen(kw_only=True)
class StoredDays:
    """What the file holds: the days, and what the event log was when they were computed.

    ``code``: see :func:`code_version`. ``basis``: zones and decoders, as text. ``timelines``: each stream's times, as text.
    """

    code: str = ""
    basis: str = ""
    log_id: str = ""
    position: int = 0
    timelines: Mapping[str, str] = attrs.field(factory=dict)
    days: tuple[Summary, ...] = ()


def figure_code() -> list[Path]:
    """Return the files whose code decides the figures: the statistics, and the rules of the events that they read."""
    package = Path(__file__).parents[1]
    return [path for room in ("events", "statistics") for path in sorted((package / room).glob("*.py"))]


@cache
def code_version() -> str:
    """Return a digest of the code that computes the figures: other code may give other figures."""
    digest = hashlib.sha256()
    for path in figure_code():
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def load_days(path: Path, basis: str) -> StoredDays:
    """Return what the file holds; nothing if it is missing, corrupt, or of another basis or other code."""
    try:
        unpacker = zlib.decompressobj(wbits=31)
        text = unpacker.decompress(OsFiles().read(path), LARGEST)
        found = msgspec.json.decode(text, type=StoredDays)
        return found if (found.code, found.basis) == (code_version(), basis) else StoredDays()
    except (OSError, ValueError, zlib.error, TconnectsyncError):  # msgspec's errors are ValueErrors
        return StoredDays()


def save_days(path: Path, stored: StoredDays) -> None:
    """Replace the file. If it cannot be written, nothing is lost but time."""
    text = gzip.compress(msgspec.json.encode(attrs.evolve(stored, code=code_version())), compresslevel=3)
    with contextlib.suppress(OSError, TconnectsyncError):
        replace_file(OsFiles(), path, text)
