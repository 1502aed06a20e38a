"""The files of a log as a preview sees them: it reads the real files and writes into another folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tconnectsync.filesystem import OsFiles


class OverlayFiles(OsFiles):
    """Shows the segments of ``source`` in ``folder``, and writes everything to ``folder``.

    Sealed segments are read from ``source``, even while their owner compresses one. The last segment is copied. Errors: OSError.
    """

    def __init__(self, source: Path, folder: Path) -> None:
        self._source = source
        self._folder = folder
        self._removed: set[str] = set()
        self._last = self._copy_last()

    def _copy_last(self) -> str:
        self.make_folder(self._folder)
        for attempt in range(5):
            names = [name for name in super().names(self._source) if name[:1].isdigit()]
            if not names:
                return ""
            try:
                (self._folder / names[-1]).write_bytes(self.read(self._source / names[-1]))
            except FileNotFoundError:  # it was compressed or renamed meanwhile
                if attempt == 4:
                    raise
            else:
                return names[-1]
        return ""

    def names(self, folder: Path) -> Sequence[str]:
        own = super().names(folder)
        if folder != self._folder:
            return own
        sealed = (name for name in super().names(self._source) if name < self._last)
        return sorted({*own, *(name for name in sealed if name not in self._removed)})

    def size(self, path: Path) -> int:
        return super().size(self._real_path(path))

    def sizes(self, folder: Path) -> Mapping[str, int]:
        return {name: self.size(folder / name) for name in self.names(folder)}

    def read(self, path: Path, offset: int = 0, length: int | None = None) -> bytes:
        return super().read(self._real_path(path), offset, length)

    def remove(self, path: Path) -> None:
        self._removed.add(path.name)
        path.unlink(missing_ok=True)

    def _real_path(self, path: Path) -> Path:
        return path if path.parent != self._folder or path.exists() else self._source / path.name
