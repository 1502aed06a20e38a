"""Configures memory management: a daemon that runs for years must return memory that it rarely needs, and not search for it in vain."""

from __future__ import annotations

import atexit
import functools
import gc
import linecache
import time
from contextlib import suppress
from typing import Any

_MMAP_THRESHOLD = -3
"""``M_MMAP_THRESHOLD`` in glibc's ``malloc.h``: larger blocks are mapped separately, and unmapped when they are freed."""

_ARENA_MAX = -8
"""``M_ARENA_MAX``: how many heaps the threads share."""

_LARGE = 128 * 1024
_OBJECTS_BETWEEN_COLLECTIONS = 10_000


def save_memory() -> None:
    """Return large blocks, share one heap, search for cycles less often, drop source text. Call it before a log is opened, and once the modules are imported."""
    release_large_blocks()
    share_one_heap()
    collect_cycles_less_often()
    forget_generated_source()


def release_large_blocks() -> None:
    """Return the memory of large blocks to the system as soon as they are freed, from now on.

    By default glibc raises the threshold with every large block that it frees: after a month's answer from the cloud, many
    megabytes stay in the process. A fixed threshold prevents that. Other C libraries (musl, macOS) are not changed.
    """
    _mallopt(_MMAP_THRESHOLD, _LARGE)


def _mallopt(parameter: int, value: int) -> None:
    _call_c_library("mallopt", parameter, value)


def _call_c_library(function: str, *arguments: int) -> None:
    """Call a function of glibc. Another C library may not have it: then nothing happens."""
    with suppress(ImportError, OSError, AttributeError, MemoryError):
        getattr(_c_library(), function)(*arguments)


@functools.cache
def _c_library() -> Any:
    """Load the C library. Once: each time makes classes, which stay until Python searches for cycles."""
    import ctypes

    return ctypes.CDLL(None)


def share_one_heap() -> None:
    """Let all threads allocate from one heap, from now on.

    By default glibc gives new threads heaps of their own, eight for each core, and each one keeps some megabytes. Python's threads
    allocate one after the other, so they do not need them.
    """
    _mallopt(_ARENA_MAX, 1)


def return_free_memory() -> None:
    """Return the unused parts of the heap to the system, at most once a minute. Call it when nothing else is due.

    By itself glibc returns only the end of the heap. A fleet's worker that had many turns at once would keep some 20 MB.
    """
    _return_free_memory_in(int(time.monotonic() // 60))


@functools.lru_cache(maxsize=1)
def _return_free_memory_in(minute: int) -> None:  # noqa: ARG001 - the cache lets it run once for each minute
    _call_c_library("malloc_trim", 0)


def collect_cycles_less_often() -> None:
    """Search for unreachable cycles of objects after 10,000 new ones; by default Python searches after 700 (before 3.12).

    Events and documents are many and form no cycles, so almost every search of a long read is in vain.
    """
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)


def skip_search_at_exit() -> None:
    """Do not search for cycles when the process ends: the system takes all of its memory back anyway.

    Python searches all objects several times then, which is a tenth of the processor time of a short command.
    """
    atexit.register(gc.freeze)


def forget_generated_source() -> None:
    """Drop the source text that Python keeps for tracebacks. Nearly a megabyte is of methods that attrs has generated."""
    linecache.clearcache()
