"""Whether a worker can write to its folder. If it cannot for some minutes, the other workers should have its people."""

from __future__ import annotations

import logging
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

log = logging.getLogger("tconnectsync.fleet")
LOOK_S = 20.0
ROOM = 65_536
"""So many bytes must have room."""
FAILS_S = 120.0
"""After a failure of so long, the other workers should have the people: moving them is work, and some disks are full for a moment."""
WELL_S = 600.0
"""When the folder has been writable again for so long, this worker takes people again."""
FOLDER_ERROR = "folder_error"
"""In a worker's report: why it cannot write to its folder."""
REMEDY = "Free some space there (`df -h`, and `df -i` for the number of files) or replace the disk, then restart this worker."


def write_error(folder: Path) -> OSError | None:
    """Return why nothing can be written to the folder; None if it can be. Nothing reaches the disk: the file has no name."""
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            written = 0
            while written < ROOM:
                written += file.write(bytes(ROOM - written))
    except OSError as error:
        return error
    return None


@attrs.define
class FolderCheck:
    """Looks at the folder now and then."""

    folder: Path
    monotonic: Callable[[], float] = time.monotonic
    has_failed: bool = False
    """Whether others should have this worker's people."""
    _error: OSError | None = None
    _looked: float = -math.inf
    _since: float | None = None
    """Since when all looks have found the same; None: there was none. The first one decides at once."""

    def look(self) -> None:
        """Look at the folder, if it is time to."""
        now = self.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked, error = now, write_error(self.folder)
        fails = error is not None
        if self._since is None:
            self._since = -math.inf
        elif fails != (self._error is not None):
            self._since = now
        self._error = error
        if fails != self.has_failed and now - self._since >= (FAILS_S if fails else WELL_S):
            self.has_failed = fails
            if fails:
                log.error('folder_failed message="%s" its people are left to other workers. %s', error, REMEDY)
            else:
                log.warning("folder_usable folder=%s this worker takes people again", self.folder)

    def report(self) -> dict[str, Any]:
        """Return what others see of it, as JSON values: nothing if all is well."""
        if not self.has_failed:
            return {}
        why = "failed lately" if self._error is None else self._error.strerror
        return {FOLDER_ERROR: f"it cannot write to {self.folder} ({why})"}
