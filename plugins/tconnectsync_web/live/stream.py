"""Server-sent events: a message says that there is something new, and the page fetches itself again.

Each listener keeps a thread of the server busy, so their number is limited. One more gets a short answer, and its browser
asks again after a while: the same thing as polling, without other code.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator

import attrs
from flask import Response, request

from tconnectsync_web.live.watch import ChangeWatch

MOST_LISTENERS = 16
STILL_HERE_S = 10.0
"""After this time without news a comment is sent: a browser that is gone is noticed by that."""
LONGEST_S = 600.0
RECONNECT_MS = 3_000
POLL_MS = 20_000
"""A browser that found no free place asks again after this time."""
_VERSION = re.compile(r"[0-9a-f]{0,16}")


@attrs.define
class Live:
    """The listeners of all people."""

    watch: ChangeWatch
    places: threading.Semaphore = attrs.field(factory=lambda: threading.BoundedSemaphore(MOST_LISTENERS))
    still_here_s: float = STILL_HERE_S

    def answer(self, name: str, is_admitted: Callable[[], bool]) -> Response:
        """Return the stream of one person's news. ``is_admitted`` is asked again while it lasts.

        The page names the version that it shows in ``since``; a browser that connects again names the last one it got.
        """
        seen = request.headers.get("Last-Event-ID") or request.args.get("since", "")
        seen = seen if _VERSION.fullmatch(seen) else ""
        stream = self._messages(name, seen, is_admitted)
        # nginx would keep the messages in its buffer
        return Response(stream, mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})

    def _messages(self, name: str, seen: str, is_admitted: Callable[[], bool]) -> Iterator[str]:
        has_place = self.places.acquire(blocking=False)
        if not has_place:
            yield f"retry: {POLL_MS}\n\n" + _message(self.watch.version(name), seen)
            return
        try:
            self.watch.join(name)
            try:
                yield f"retry: {RECONNECT_MS}\n\n"
                yield from self._until_the_end(name, seen, is_admitted)
            finally:
                self.watch.leave(name)
        finally:
            self.places.release()

    def _until_the_end(self, name: str, seen: str, is_admitted: Callable[[], bool]) -> Iterator[str]:
        version, end = self.watch.wait(name, "", 0.0), time.monotonic() + LONGEST_S
        while time.monotonic() < end:
            yield _message(version, seen)
            seen = version
            version = self.watch.wait(name, seen, self.still_here_s)
            if self.watch.is_closed or not is_admitted():
                return


def _message(version: str, seen: str) -> str:
    """Return the version as a message if it is new. A message without data only tells the browser what to name next time."""
    if version == seen:
        return ": nothing new\n\n"
    return f"id: {version}\ndata: {version}\n\n" if seen else f"id: {version}\n\n"
