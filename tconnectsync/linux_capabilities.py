"""The Linux capability to enter and read any folder, which a former root keeps. Imported only where root became another user."""

from __future__ import annotations

import ctypes

_DAC_READ_SEARCH = 1 << 2
"""May enter and read any folder, and write nothing."""
_CAPABILITY_VERSION = 0x20080522
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 47, 2


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def can_search() -> bool:
    """Whether this thread may enter and read any folder."""
    return bool(_capabilities()[0] & _DAC_READ_SEARCH)


def keep_search() -> None:
    """Keep the capability to read and enter folders, for child processes too: files inside root's folders stay readable."""
    data = (_Data * 2)()
    library = ctypes.CDLL(None)
    call = getattr(library, "capset", None)
    if call is None:
        return
    permitted = _capabilities()[1]
    data[0].permitted, data[0].effective = permitted, permitted & _DAC_READ_SEARCH
    data[0].inheritable = permitted & _DAC_READ_SEARCH
    call(ctypes.byref(_Header(_CAPABILITY_VERSION, 0)), data)
    library.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, ctypes.c_ulong(2), ctypes.c_ulong(0), ctypes.c_ulong(0))


def _capabilities() -> tuple[int, int]:
    """Return this thread's effective and permitted capabilities (lower 32 bits); zeros if the system has none."""
    data = (_Data * 2)()
    call = getattr(ctypes.CDLL(None), "capget", None)
    if call is None or call(ctypes.byref(_Header(_CAPABILITY_VERSION, 0)), data) != 0:
        return 0, 0
    return data[0].effective, data[0].permitted
