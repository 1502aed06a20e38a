"""A script that sends one notification with Apprise.

It runs in a subprocess (started by :mod:`tconnectsync.alerts.sending`), so that Apprise (fifty megabytes) never is in the
daemon's memory, and a server that never answers is cut off with it. It imports nothing of this project, to start fast.

The input is JSON on stdin: ``path`` (where to find modules), ``url``, and ``title`` and ``body``; without ``title`` the address
is only looked at. The result is JSON on stdout: ``{"result": "sent" | "usable" | "unknown" | "missing" | "failed", "why": …}``.
"""

from __future__ import annotations

import importlib
import json
import logging
import signal
import sys
from typing import Any


class LastLogMessage(logging.Handler):
    """Keeps the last thing that Apprise logged: the reason of a failure."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.text = record.getMessage()


def answer(url: str, title: str | None = None, body: str = "") -> dict[str, Any]:
    """Send, or only look at the address."""
    try:
        apprise = importlib.import_module("apprise")
    except ImportError:
        return {"result": "missing"}
    last = LastLogMessage()
    logger = logging.getLogger("apprise")
    logger.addHandler(last)
    logger.propagate = False
    receiver = apprise.Apprise.instantiate(url)
    if receiver is None:
        return {"result": "unknown", "why": last.text}
    if title is None:
        return {"result": "usable"}
    sent = receiver.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT)
    return {"result": "sent"} if sent else {"result": "failed", "why": last.text}


def main() -> None:
    """Answer the question on stdin. Ends only by itself or if its caller kills it."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    question = json.load(sys.stdin)
    sys.path[:] = question.pop("path")
    json.dump(answer(**question), sys.stdout)


if __name__ == "__main__":
    main()
