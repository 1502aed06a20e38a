"""Long work as it goes: one line that moves on a terminal, nothing anywhere else."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

import attrs

from tconnectsync.text.printable import one_line

_BAR_WIDTH = 24
_LEAST_WAIT_S = 0.05


@attrs.define(kw_only=True)
class ProgressLine:
    """Shows the newest message and a bar on ``stream`` if that is a terminal; gone when the work ends."""

    stream: TextIO
    monotonic: Callable[[], float] = time.monotonic
    _shown_at: float | None = None

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown_at is not None:
            self.stream.write("\r\x1b[K")
            self.stream.flush()

    def show(self, message: str, done: int, total: int) -> None:
        """Replace the line. Fast ones in between are left out."""
        now = self.monotonic()
        if not self.stream.isatty() or (self._shown_at is not None and now - self._shown_at < _LEAST_WAIT_S):
            return
        self._shown_at = now
        bar = bar_words(done, total)
        width = shutil.get_terminal_size().columns - len(bar) - 2
        self.stream.write(f"\r\x1b[K{bar} {one_line(message)[: max(width, 10)]}")
        self.stream.flush()


def bar_words(done: int, total: int) -> str:
    """``[######------] 50 %``; without a total an ellipsis."""
    if total <= 0:
        return "[…]"
    part = min(max(done / total, 0.0), 1.0)
    filled = round(part * _BAR_WIDTH)
    return f"[{'#' * filled}{'-' * (_BAR_WIDTH - filled)}] {part:4.0%}"
