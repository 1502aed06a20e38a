"""A request to end that Python dropped is made again."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

AGAIN_AFTER_S = 0.05


@contextlib.contextmanager
def repeat_dropped_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt or SystemExit again if it came up where Python cannot pass it on.

    A signal handler runs between any two steps of the program, also inside a destructor or the callback of a weak reference
    (each import ends with one). Python prints and drops what is raised there: the program would run on as if nobody had
    asked it to end. Works in the main thread only, where all signal handlers run. Uses SIGALRM once something was dropped.
    """
    before = sys.unraisablehook

    def hook(dropped: Any, /) -> None:
        error = dropped.exc_value
        if not isinstance(error, (KeyboardInterrupt, SystemExit)) or not _in_main_thread():
            before(dropped)
            return

        def again(_number: int, _frame: FrameType | None) -> None:
            raise type(error)(*error.args)

        signal.signal(signal.SIGALRM, again)
        signal.setitimer(signal.ITIMER_REAL, AGAIN_AFTER_S)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
        signal.setitimer(signal.ITIMER_REAL, 0)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
