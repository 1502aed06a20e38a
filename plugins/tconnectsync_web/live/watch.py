"""One thread that looks at the files of every data folder, for all open pages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from tconnectsync_web.live.versions import version_of

LOOK_S = 2.0


class ChangeWatch:
    """Wakes the listeners of a folder when it changes. Without listeners nothing is looked at, and no thread runs.

    ``folder_of`` maps each person's name to what gives their data folder, or None as long as it is unknown.
    """

    def __init__(self, folder_of: Mapping[str, Callable[[], Path | None]], *, look_s: float = LOOK_S) -> None:
        self._folder_of = folder_of
        self._look_s = look_s
        self._changed = threading.Condition()
        self._versions: dict[str, str] = {}
        self._listeners: dict[str, int] = {}
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def version(self, name: str) -> str:
        """The version of a person's data now."""
        folder = self._folder_of[name]()
        return "" if folder is None else version_of(folder)

    def join(self, name: str) -> None:
        """Begin to listen; end with :meth:`leave`."""
        version = self.version(name)
        with self._changed:
            self._versions[name] = version
            self._listeners[name] = self._listeners.get(name, 0) + 1
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._look, name="live", daemon=True)
                self._thread.start()

    def leave(self, name: str) -> None:
        """End listening."""
        with self._changed:
            self._listeners[name] -= 1

    def wait(self, name: str, seen: str, timeout_s: float) -> str:
        """Return the present version: at once if it is not ``seen``, else after a change or ``timeout_s``."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed.is_set() or self._versions[name] != seen, timeout_s)
            return self._versions[name]

    @property
    def is_closed(self) -> bool:
        """Whether the server ends."""
        return self._closed.is_set()

    def close(self) -> None:
        """Wake all listeners, so that they end."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()

    def _look(self) -> None:
        while not self._closed.wait(self._look_s):
            with self._changed:
                names = [name for name, count in self._listeners.items() if count]
                if not names:
                    self._thread = None
                    return
            found = {name: self.version(name) for name in names}
            with self._changed:
                if any(self._versions[name] != version for name, version in found.items()):
                    self._versions.update(found)
                    self._changed.notify_all()
