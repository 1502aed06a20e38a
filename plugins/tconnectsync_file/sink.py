"""The sink: its fold, and a folder as its receiver."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from tconnectsync import (
    Accepted,
    BaseReceiver,
    CheckResult,
    Context,
    Delivery,
    Document,
    Event,
    Fold,
    Outcome,
    Retryable,
    Sink,
    StoredDocument,
    document_id,
    each,
)
from tconnectsync_file.options import FileOptions
from tconnectsync_file.rows import Row, fields_of, read, row_of, utc_time, written

COLLECTION = "events"


def open_sink(options: FileOptions, _context: Context) -> Sink:
    """Return the sink with its receiver."""
    kinds = frozenset(options.kinds)
    fold = event_fold(kinds)
    fingerprint = f"{fold.name} {fold.version} {','.join(sorted(kinds))}"
    receiver = Folder(Path(options.folder or "."), options.format, fields=fields_of(kinds))
    return Sink(folds=[fold], receiver=receiver, fingerprint=fingerprint)


def event_fold(kinds: frozenset[str]) -> Fold[Any]:
    """Each chosen event becomes one document."""

    @each(*kinds, name="events", version=1)
    def flat_event(event: Event) -> Document | None:
        if event.at is None:
            return None
        body = {name: _plain(value) for name, value in msgspec.structs.asdict(event.body).items()}
        content = {**body, "pump_time": event.pump_time.isoformat(), "pump": event.pump, "kind": event.kind}
        numbered = event.group is not None and event.seq is not None
        names = (event.pump, event.group, event.seq) if numbered else (event.pump, event.id)
        identity = document_id(*(str(name) for name in names), "file")
        return Document(id=identity, collection=COLLECTION, at=event.at, content=content)

    return flat_event


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return list(value) if isinstance(value, tuple) else value


class Folder(BaseReceiver):
    """One file per month, always replaced as a whole. ``receiver_key`` is the month."""

    batch_size = 2000

    def __init__(self, folder: Path, file_format: str, *, fields: Sequence[str]) -> None:
        self.folder, self.format, self.fields = folder, file_format, fields
        self.address = f"{folder} ({file_format})"
        self._known: frozenset[str] = frozenset()
        """The months that had a file after a delivery. If one is gone, the rest of its rows would never be written."""

    def memory(self) -> str:
        """The months that have a file."""
        return " ".join(sorted(self._known))

    def recall(self, memory: str) -> None:
        """Take them back."""
        self._known = frozenset(memory.split())

    def begin_replay(self) -> None:
        """Every row comes again, so a new file will be complete."""
        self._known = frozenset()

    def deliver(self, batch: Sequence[Delivery]) -> Sequence[Outcome]:
        """Replace the files of the affected months. Rows of an earlier attempt are searched in every month."""
        wrote = False
        try:
            self._expect(max(self._known, default=""))
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            old: dict[str, dict[str, Row]] = {}
            new: dict[str, dict[str, Row]] = {}
            everywhere = self._months() if any(delivery.in_doubt for delivery in batch) else []

            def rows(month: str) -> dict[str, Row]:
                if month not in old:
                    self._expect(month)
                    old[month] = read(self._path(month), self.format)
                    new[month] = dict(old[month])
                return new[month]

            outcomes: list[Outcome] = []
            for delivery in batch:
                for month in [
                    *(everywhere if delivery.in_doubt else ()),
                    *([delivery.receiver_key] if delivery.receiver_key else ()),
                ]:
                    rows(month).pop(delivery.document_id, None)
                month = delivery.receiver_key or ""
                if delivery.document is not None:
                    row = row_of(delivery.document, self.format)
                    month = str(row["time"])[:7]
                    rows(month)[delivery.document_id] = row
                outcomes.append(Accepted(receiver_key=month))
            for month in sorted(new, reverse=True):
                data = written(new[month], self.format, self.fields)
                if old[month] or new[month]:
                    wrote = True
                    self._replace(self._path(month), data)
            self._known |= frozenset(self._months())
        except OSError as error:
            remedy = (
                "Free some space there. The documents wait until then."
                if error.errno in (errno.ENOSPC, errno.EDQUOT)
                else "Give tconnectsync write permission there. The documents wait until then."
                if isinstance(error, PermissionError)
                else "Check whether the disk of this folder is there and works (`dmesg | tail`). The documents wait until then."
            )
            raise Retryable(
                f"{self.folder} cannot be written: {error.strerror or error}", in_doubt=wrote, remedy=remedy
            ) from error
        return outcomes

    def read_back(self, first: datetime, last: datetime) -> Iterator[StoredDocument]:
        """Yield every row of this time span."""
        try:
            for month in self._months():
                for identity, row in read(self._path(month), self.format).items():
                    at = utc_time(str(row["time"]))
                    if first <= at <= last:
                        yield StoredDocument(
                            document_id=identity, collection=COLLECTION, at=at, receiver_key=month,
                            pump=str(row.get("pump", "")), content=row,
                        )  # fmt: skip
        except OSError as error:
            raise Retryable(
                f"{self.folder} cannot be read: {error.strerror or error}", remedy="Give tconnectsync read permission."
            ) from error

    def check(self) -> Iterator[CheckResult]:
        """Check that the folder can be written to."""
        probe = self.folder / ".tconnectsync-check"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            yield CheckResult(
                good=False, what=f"{self.folder} cannot be written: {error.strerror or error}",
                remedy="Give tconnectsync write permission.",
            )  # fmt: skip
        else:
            yield CheckResult(good=True, what=f"{self.folder} can be written to")

    def _path(self, month: str) -> Path:
        return self.folder / f"tconnectsync-{month}.{self.format}"

    def _expect(self, month: str) -> None:
        """Stop before the file of a known month is begun anew with a few rows, perhaps where no disk is mounted."""
        if month in self._known and not self._path(month).exists():
            raise Retryable(
                f"{self._path(month)} is gone. Nothing is written until it is back",
                remedy="If its disk is not mounted, mount it. If you removed the file, run `tconnectsync replay file`.",
            )

    def _months(self) -> list[str]:
        found = self.folder.glob(f"tconnectsync-????-??.{self.format}")
        return sorted(path.stem.removeprefix("tconnectsync-") for path in found)

    def _replace(self, path: Path, data: bytes) -> None:
        """Replace the file atomically, also if the power fails. Only its owner can read it (health data)."""
        aside = path.with_name(f".{path.name}.new")
        aside.unlink(missing_ok=True)
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123 - the mode
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
