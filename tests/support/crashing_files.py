"""A file system in memory that loses what POSIX allows it to lose, behind the port that the product writes through.

What was written and not synced may be gone, there, cut at any byte, or partly there: any of its sectors may be missing
(they read as zeros). A name that was made, moved or removed is as before or as now until its folder is synced.
The process dies before the call whose turn it is, or that call fails. A failing ``sync`` may have made any part
durable. No later sync makes up for what it lost, and reading then shows what the disk has.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import attrs

SECTOR = 512
"""The number of bytes that a disk writes whole or not at all, aligned to multiples of it."""

Image: TypeAlias = Mapping[Path, bytes]
"""The files on the disk after a crash."""

Change: TypeAlias = "tuple[int, bytes | None]"
"""(offset, bytes written there), or (size, None): cut, or grown with zeros."""

LOOKS = ("names",)
"""Calls that change nothing. They fail only if a test asks for it."""


class Crash(BaseException):
    """The power fails. Every later call does nothing."""


@attrs.define(eq=False)
class Inode:
    """A file: its content now, what a crash cannot take, and the changes since."""

    now: bytes = b""
    durable: bytes = b""
    pending: list[Change] = attrs.field(factory=list)

    def change(self, change: Change) -> None:
        self.now = changed(self.now, change)
        self.pending.append(change)

    def settle(self) -> None:
        for change in self.pending:
            self.durable = changed(self.durable, change)
        self.pending.clear()

    def after_crash(self, *, every_byte: bool) -> list[bytes]:
        """The contents that may be found after a crash, each once, first the one without pending changes."""
        found = [self.durable]
        text = self.durable
        for at, data in self.pending:
            if data is not None:
                cuts = range(1, len(data)) if every_byte else cut_positions(data)
                found += [changed(text, (at, data[:cut])) for cut in cuts]
                found += [changed(text, (at, holed)) for holed in with_lost_sectors(at, data)]
            text = changed(text, (at, data))
            found.append(text)
        return list(dict.fromkeys(found))


def changed(text: bytes, change: Change) -> bytes:
    """``text`` after ``change``."""
    at, data = change
    if data is None:
        return text[:at].ljust(at, b"\0")
    return text[:at].ljust(at, b"\0") + data + text[at + len(data) :]


def cut_positions(data: bytes) -> list[int]:
    """Places to cut at: around the ends of the first, the last but one and the last line, and in the middle."""
    ends = [at + 1 for at, byte in enumerate(data) if byte == 10]
    near = {at + by for at in (0, *ends[:1], *ends[-2:-1], len(data)) for by in (-1, 0, 1)} | {len(data) // 2}
    return sorted(cut for cut in near if 0 < cut < len(data))


def with_lost_sectors(at: int, data: bytes) -> Iterator[bytes]:
    """``data``, written at ``at``, without some sectors: each alone, all but one, all, all before or after one."""
    first, last = at // SECTOR, (at + max(len(data), 1) - 1) // SECTOR
    sectors = range(first, last + 1)
    lost_ways: list[set[int]] = [set(sectors)]
    for sector in sectors:
        lost_ways += [{sector}, set(sectors) - {sector}, set(range(first, sector)), set(range(sector + 1, last + 1))]
    for lost in lost_ways:
        holed = bytearray(data)
        for sector in lost:
            low, high = max(0, sector * SECTOR - at), min(len(data), (sector + 1) * SECTOR - at)
            holed[low:high] = bytes(max(0, high - low))
        yield bytes(holed)


@attrs.define
class CallFaults:
    """Counts the calls, and lets the one whose turn it is be the last (``crash_at``) or fail (``fail_at``).

    ``partly``: how much of a failing write or sync is done all the same, from 0 to 1. ``forever``: all later ones fail too.
    ``looks_too``: listing a folder may fail as well.
    """

    crash_at: int | None = None
    fail_at: int | None = None
    code: int = errno.ENOSPC
    partly: float = 0.5
    forever: bool = False
    looks_too: bool = False
    count: int = 0
    dead: bool = False
    failed: list[str] = attrs.field(factory=list)

    def next(self, call: str) -> bool:
        """Whether this call fails. Raises Crash if the power fails before it."""
        if self.dead:
            raise Crash
        if call in LOOKS and not self.looks_too:
            return False
        self.count += 1
        if self.count == self.crash_at:
            self.dead = True
            raise Crash
        fails = self.fail_at is not None and (
            self.count == self.fail_at or (self.forever and self.count > self.fail_at)
        )
        if fails:
            self.failed.append(call)
        return fails

    def error(self, path: Path) -> OSError:
        return OSError(self.code, os.strerror(self.code), str(path))


class CrashingFiles:
    """The port, on ``image``. :meth:`after_crash` gives what may be found when it crashes here."""

    def __init__(self, image: Image | None = None, faults: CallFaults | None = None) -> None:
        self.faults = faults or CallFaults()
        self.free = 1 << 30
        self._there = {path: Inode(text, text) for path, text in (image or {}).items()}
        self._durable = dict(self._there)
        self._changes: dict[Path, list[Callable[[dict[Path, Inode]], object]]] = {}

    # --- the port ---------------------------------------------------------------------------------------------------

    def make_folder(self, folder: Path, *, parents: bool = True) -> None:
        """The folders exist, durably, when this returns."""

    def names(self, folder: Path) -> Sequence[str]:
        self._turn("names", folder)
        return sorted(path.name for path in self._there if path.parent == folder)

    def size(self, path: Path) -> int:
        return len(self._at(path).now)

    def sizes(self, folder: Path) -> Mapping[str, int]:
        return {name: self.size(folder / name) for name in self.names(folder)}

    def read(self, path: Path, offset: int = 0, length: int | None = None) -> bytes:
        return self._at(path).now[offset : None if length is None else offset + length]

    def open_append(self, path: Path) -> CrashingFile:
        if path not in self._there:
            self._turn("create", path)
            inode = Inode()
            self._name(path.parent, lambda names: names.__setitem__(path, inode))
        return CrashingFile(path, self._there[path], self.faults)

    def write(self, path: Path, data: bytes, *, sync: bool = True) -> None:
        if path in self._there:
            self.remove(path)
        file = self.open_append(path)
        file.write(data)
        if sync:
            file.sync()
        file.close()

    def overwrite(self, path: Path, data: bytes) -> None:
        inode = self._at(path)
        self._turn("overwrite", path)
        inode.change((0, data))
        inode.change((len(data), None))
        self._turn("sync", path)
        inode.settle()

    def rename(self, path: Path, target: Path) -> None:
        inode = self._at(path)
        self._turn("rename", path)

        def moved(names: dict[Path, Inode]) -> None:
            names.pop(path, None)
            names[target] = inode

        self._name(target.parent, moved)

    def remove(self, path: Path) -> None:
        self._at(path)
        self._turn("remove", path)
        self._name(path.parent, lambda names: names.pop(path, None))

    def sync_folder(self, folder: Path) -> None:
        self._turn("sync_folder", folder)
        for change in self._changes.pop(folder, []):
            change(self._durable)

    def free_bytes(self, folder: Path) -> int:
        return self.free

    # --- the crash --------------------------------------------------------------------------------------------------

    def now(self) -> Image:
        """Everything as it is: what remains if only the process dies."""
        return {path: inode.now for path, inode in self._there.items()}

    def after_crash(self, *, every_byte: bool = False) -> list[Image]:
        """What may be found after a power cut at this moment, each state once."""
        found: dict[tuple[tuple[Path, bytes], ...], Image] = {}
        for names in self._names():
            ways = {path: inode.after_crash(every_byte=every_byte) for path, inode in names.items()}
            lost = {path: texts[0] for path, texts in ways.items()}
            kept = {path: texts[-1] for path, texts in ways.items()}
            for base in (lost, kept):
                for image in [base, *({**base, path: text} for path, texts in ways.items() for text in texts)]:
                    found.setdefault(tuple(sorted(image.items())), image)
        return list(found.values())

    def _names(self) -> Iterator[dict[Path, Inode]]:
        """The names that may survive: any of the changes in each folder since it was synced (many: as many as came first)."""
        ways = []
        for changes in self._changes.values():
            if len(changes) <= 4:
                subsets = [kept for n in range(len(changes) + 1) for kept in itertools.combinations(changes, n)]
            else:
                subsets = [tuple(changes[:n]) for n in range(len(changes) + 1)]
            ways.append(subsets)
        for chosen in itertools.product(*ways):
            names = dict(self._durable)
            for change in itertools.chain(*chosen):
                change(names)
            yield names

    def _name(self, folder: Path, change: Callable[[dict[Path, Inode]], object]) -> None:
        change(self._there)
        self._changes.setdefault(folder, []).append(change)

    def _turn(self, call: str, path: Path) -> None:
        if self.faults.next(call):
            raise self.faults.error(path)

    def _at(self, path: Path) -> Inode:
        if path not in self._there:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return self._there[path]


@attrs.define
class CrashingFile:
    """A file of it, open for appending."""

    path: Path
    inode: Inode
    faults: CallFaults

    def write(self, data: bytes | bytearray) -> None:
        at = len(self.inode.now)
        if self.faults.next("write"):
            short = bytes(data)[: int(len(data) * self.faults.partly)]
            if short:
                self.inode.change((at, short))
            raise self.faults.error(self.path)
        self.inode.change((at, bytes(data)))

    def sync(self) -> None:
        if self.faults.next("sync"):
            done = self.inode.after_crash(every_byte=False)
            self.inode.durable = done[int((len(done) - 1) * self.faults.partly)]
            self.inode.pending.clear()  # no later sync makes up for what this one lost
            self.inode.now = self.inode.durable.ljust(len(self.inode.now), b"\0")
            raise self.faults.error(self.path)
        self.inode.settle()

    def truncate(self, size: int) -> None:
        if self.faults.next("truncate"):
            raise self.faults.error(self.path)
        self.inode.change((size, None))

    def close(self) -> None:
        """Does not make anything durable."""
