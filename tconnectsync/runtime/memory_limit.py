"""Configures memory management: a daemon that runs for years must return memory that it rarely needs, and not search for it in vain."""

from __future__ import annotations

import gc
import linecache
from contextlib import suppress

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
    with suppress(ImportError, OSError, AttributeError, MemoryError):
        import ctypes

        ctypes.CDLL(None).mallopt(parameter, value)


def share_one_heap() -> None:
    """Let all threads allocate from one heap, from now on.

    By default glibc gives new threads heaps of their own, eight for each core, and each one keeps some megabytes. Python's threads
    allocate one after the other, so they do not need them.
    """
    _mallopt(_ARENA_MAX, 1)


def collect_cycles_less_often() -> None:
    """Search for unreachable cycles of objects after 10,000 new ones; by default Python searches after 700 (before 3.12).

    Events and documents are many and form no cycles, so almost every search of a long read is in vain.
    """
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)


def forget_generated_source() -> None:
    """Drop the source text that Python keeps for tracebacks. Nearly a megabyte is of methods that attrs has generated."""
    linecache.clearcache()
