"""Copies the log at one moment, complete lines only, while another process may write to it and compress it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import attrs

from tconnectsync.eventlog.compression import SegmentCorrupt, unpack
from tconnectsync.eventlog.damage import Damage, Segment, damages
from tconnectsync.eventlog.framing import START_CHAIN, DamagedRange, position_after, read_header, walk
from tconnectsync.eventlog.segments import Segments
from tconnectsync.filesystem import TEMPORARY, Files, OsFiles

_ATTEMPTS = 5
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""Names of the log's files. Other files in the folder (of a desktop or a network drive) are not copied."""


@attrs.define(kw_only=True)
class LogCopy:
    """A log that is being copied. ``end`` is the last position that :meth:`contents` yielded so far."""

    log_id: str
    end: int = 0
    _crc: int = START_CHAIN
    _segments: Segments
    _everything: tuple[Segment, ...]
    _beside: tuple[Path, ...]

    @property
    def count(self) -> int:
        """The number of files."""
        return len(self._everything) + len(self._beside)

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Yield name and bytes of every file, segments first; the last segment up to its last complete line.

        The checksums of every segment are verified, also from one segment to the next. Errors: LogCorrupt, OSError.
        """
        for segment in self._everything:
            name, content = self._read(segment)
            if segment is self._everything[-1] and not name.endswith(".gz"):
                content = content[: content.rfind(b"\n") + 1]
                if not content:  # it was created just now
                    continue
            self._verify(segment, content, packed=name.endswith(".gz"))
            yield name, content
        for path in self._beside:
            yield path.name, self._segments.files.read(path)

    def _read(self, segment: Segment) -> tuple[str, bytes]:
        for _ in range(_ATTEMPTS):
            try:
                return segment.path.name, self._segments.files.read(segment.path)
            except FileNotFoundError:  # compressed meanwhile
                self._segments.refresh()
                segment = self._segments.containing(segment.first)
            except OSError:
                self._raise_damage(segment)
                raise
        raise FileNotFoundError(segment.path)

    def _verify(self, segment: Segment, content: bytes, *, packed: bool) -> None:
        try:
            text = unpack(content) if packed else content
        except SegmentCorrupt:
            text = b""
        header = read_header(text, segment.first)
        follows = header is not None and (header[0].log, segment.first, int(header[0].chain, 16)) == (
            self.log_id,
            self.end + 1,
            self._crc,
        )
        if header is not None:
            self._crc = header[2]
        for item in walk(text, segment.first) if follows else ():
            if isinstance(item, DamagedRange):
                follows = False
                break
            self.end, self._crc = position_after(item.position, item.record) - 1, item.crc
        if not follows:
            self._raise_damage(segment)
            what = "it is corrupt, or it was changed while it was copied"
            raise Damage(path=str(segment.path), line=1, position=segment.first, what=what).error()

    def _raise_damage(self, last: Segment) -> None:
        """Raise LogCorrupt for the first damage up to the segment ``last``, if there is any."""
        for segment in self._segments.all():
            for damage in damages(segment, self._segments.walk(segment)) if segment.first <= last.first else ():
                raise damage.error()


def copy_of_log(data_dir: Path, files: Files | None = None) -> LogCopy | None:
    """Return the log of ``data_dir`` to be copied; None if there is none. Needs no lock."""
    folder, files = data_dir / "log", files or OsFiles()
    segments = Segments(folder, files)
    everything = tuple(segments.all())
    if not everything:
        return None
    segments.log_id = segments.find_log_id()
    beside = tuple(
        path
        for path in (folder / name for name in files.names(folder))
        if FILE_NAME.fullmatch(path.name)
        and not path.name.endswith((TEMPORARY, ".jsonl", ".jsonl.gz"))
        and path.is_file()
    )
    return LogCopy(log_id=segments.log_id, segments=segments, everything=everything, beside=beside)
