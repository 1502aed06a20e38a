"""Stores the state of a source between runs in two small JSON files, which may be deleted.

Each poll changes the times in it. They have a file that is not synced to the disk, because an SD card wears out by each sync: if
a power cut takes it, the times of the other file hold, which are at most a day old, and the next poll is early.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import attrs

from tconnectsync.eventlog import Files, OsFiles, replace_or_overwrite
from tconnectsync.events import Event
from tconnectsync.health.states import Health
from tconnectsync.json_converter import CONVERTER
from tconnectsync.retry.deadline import RememberedDeadline

_NOT_KEPT = {"json": None}
_OLDEST_DURABLE = timedelta(days=1)
"""So much older may the durable time of the last fetch be: ``status`` shows it after a power cut."""


@attrs.frozen(kw_only=True)
class _Times:
    """What changes with every poll."""

    last_fetch: datetime | None = None
    last_began: datetime | None = None
    next_poll: RememberedDeadline | None = None


@attrs.define
class SourceState:
    """The state of one source: its health, its last and its next poll, and the unknown records it sent so far."""

    path: Path = attrs.field(default=Path(), metadata=_NOT_KEPT)
    files: Files = attrs.field(factory=OsFiles, metadata=_NOT_KEPT)
    health: Health = attrs.field(factory=Health, metadata={"json": "condition"})
    last_fetch: datetime | None = None
    last_began: datetime | None = None
    """When the read that ended at ``last_fetch`` began; None if an older release wrote the file."""
    next_poll: RememberedDeadline | None = None
    unknown_codes: dict[str, int] = attrs.field(factory=dict)
    """Record codes that this release does not know, with their counts."""
    unreadable_records: int = attrs.field(default=0, metadata={"json": "set_aside"})
    """Events of known codes that could not be decoded."""
    refetched_until: dict[str, str] = attrs.field(factory=dict, metadata={"json": "mended"})
    """The last day that was fetched again, by gap: see :func:`tconnectsync.ingest.gaps.next_refetch`."""
    gap_wait: RememberedDeadline | None = None
    """Until when a gap of which some days could not be read is not asked for."""
    clock_override: str = attrs.field(default="", metadata={"json": "overruled"})
    """The time of a record that the user declared wrong: it was written while the computer's clock was ahead."""
    _saved: str = attrs.field(default="", init=False, eq=False, metadata=_NOT_KEPT)
    """What the file has, without times; empty if that is not known."""
    _saved_fetch: datetime | None = attrs.field(default=None, init=False, eq=False, metadata=_NOT_KEPT)
    """The time of the last fetch that the file has."""

    @classmethod
    def load(cls, path: Path, files: Files | None = None) -> SourceState:
        """Read the files. If the first is missing or corrupt, return a new state; if the second is, the times are older ones."""
        files = files or OsFiles()
        try:
            state = CONVERTER.loads(files.read(path), cls)
        except Exception:  # noqa: BLE001 - the remedy is the same for every cause
            return cls(path, files)
        state.path, state.files = path, files
        with contextlib.suppress(Exception):  # whatever is wrong with it, the remedy is the same
            times = CONVERTER.loads(files.read(times_path(path)), _Times)
            state.last_fetch, state.last_began, state.next_poll = times.last_fetch, times.last_began, times.next_poll
        return state

    def save(self) -> None:
        """Write the times, and before them the file, all or nothing and durably, if more than times changed or its times are a day old.

        If no new file can be made, they are written in place: a refusal must not be forgotten, or the login is tried again.
        The data folder itself is not made: if it was moved away, another one in its place would hide that.
        """
        self.files.make_folder(self.path.parent, parents=False)
        apart_from_times = CONVERTER.dumps(attrs.evolve(self, last_fetch=None, last_began=None, next_poll=None))
        if apart_from_times != self._saved or self._is_durable_fetch_old():
            replace_or_overwrite(self.files, self.path, CONVERTER.dumps(self, indent=1).encode())
            self._saved, self._saved_fetch = apart_from_times, self.last_fetch
        times = _Times(last_fetch=self.last_fetch, last_began=self.last_began, next_poll=self.next_poll)
        replace_or_overwrite(self.files, times_path(self.path), CONVERTER.dumps(times).encode(), durable=False)

    def _is_durable_fetch_old(self) -> bool:
        if self.last_fetch is None or self._saved_fetch is None:
            return self.last_fetch is not None
        return abs(self.last_fetch - self._saved_fetch) > _OLDEST_DURABLE

    def count_unknown(self, events: Sequence[Event]) -> None:
        """Count the events that could not be decoded."""
        for event in events:
            if event.kind == "unknown":
                if event.body.reason == "no such code":
                    self.unknown_codes[event.body.code] = self.unknown_codes.get(event.body.code, 0) + 1
                else:
                    self.unreadable_records += 1


def times_path(path: Path) -> Path:
    """Return the path of the file with the times."""
    return path.with_suffix(".times.json")
