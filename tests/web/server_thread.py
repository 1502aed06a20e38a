"""The product's own HTTP server in a thread, which ends with the test."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from waitress import wasyncore


@contextlib.contextmanager
def running(server: Any) -> Iterator[int]:
    """The port of ``server``, which :func:`tconnectsync_web.http_server.web_server` made."""
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server.effective_port
    finally:
        with contextlib.suppress(OSError):  # the loop may wake by itself, and close its trigger before that is pulled
            server.trigger.pull_trigger(lambda: wasyncore.close_all(server._map))  # the end of its loop, in its thread
        thread.join(60)
        server.task_dispatcher.shutdown()
        assert not thread.is_alive()
