"""One thread that looks for news of every data folder, for all open pages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

LOOK_S = 2.0


class ChangeWatch:
    """Wakes the listeners of a name when its version changes. Without listeners nothing is looked at, and no thread runs.

    ``version_of`` maps each name to what returns its version now.
    """

    def __init__(self, version_of: Mapping[str, Callable[[], str]], *, look_s: float = LOOK_S) -> None:
        self._version_of = version_of
        self._look_s = look_s
        self._changed = threading.Condition()
        self._versions: dict[str, str] = {}
        self._listeners: dict[str, int] = {}
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def version(self, name: str) -> str:
        """The version of a name's data now."""
        return self._version_of[name]()

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
