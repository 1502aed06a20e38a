"""Limits of the C library's memory allocator, so that a daemon that runs for years gives back memory it needs only now and then."""

from __future__ import annotations

from contextlib import suppress

_MMAP_THRESHOLD = -3
"""``M_MMAP_THRESHOLD`` of glibc's ``malloc.h``: blocks of so many bytes are mapped each by itself, and unmapped when freed."""

_LARGE = 128 * 1024


def give_back_large_blocks() -> None:
    """From here on a large block's memory goes back to the system when it is freed.

    That is how glibc begins, but it raises the threshold with every large block that it frees: after a month's answer of the
    cloud, blocks of many megabytes stay in the process for good. Setting the threshold at all ends that. Where the
    C library has no such thing (musl, macOS), nothing happens.
    """
    with suppress(ImportError, OSError, AttributeError, MemoryError):
        import ctypes

        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)
