"""Progress of long work: one line on a terminal that is updated; nothing if the output is not a terminal."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import TextIO

import attrs

from tconnectsync.cli.output import is_dumb
from tconnectsync.text.printable import one_line

_BAR_WIDTH = 24
_REDRAW_INTERVAL_S = 0.05


@attrs.define(kw_only=True)
class ProgressLine:
    """Shows the newest message and a bar on ``stream`` if it is a terminal. Clears the line at the end."""

    stream: TextIO
    monotonic: Callable[[], float] = time.monotonic
    dumb: bool = attrs.field(factory=is_dumb)
    """Without control sequences no line can be updated: nothing is shown."""
    _shown_at: float | None = None

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def clear(self) -> None:
        """Take the line away, before anything else is written to the terminal."""
        if self._shown_at is not None:
            self._shown_at = None
            self.stream.write("\r\x1b[K")
            self.stream.flush()

    def counting(self, message: str) -> Callable[[int, int], None]:
        """Return a function of ``done`` and ``total`` that shows them with this message."""
        return lambda done, total: self.show(message, done, total)

    def show(self, message: str, done: int, total: int) -> None:
        """Replace the line. Calls that follow too fast are skipped."""
        now = self.monotonic()
        if (
            self.dumb
            or not self.stream.isatty()
            or (self._shown_at is not None and now - self._shown_at < _REDRAW_INTERVAL_S)
        ):
            return
        self._shown_at = now
        bar = bar_words(done, total)
        width = shutil.get_terminal_size().columns - len(bar) - 2
        self.stream.write(f"\r\x1b[K{bar} {one_line(message)[: max(width, 10)]}")
        self.stream.flush()


def bar_words(done: int, total: int) -> str:
    """Format a bar such as ``[######------] 50 %``; ``[…]`` without a total."""
    if total <= 0:
        return "[…]"
    part = min(max(done / total, 0.0), 1.0)
    filled = round(part * _BAR_WIDTH)
    return f"[{'#' * filled}{'-' * (_BAR_WIDTH - filled)}] {part:4.0%}"
