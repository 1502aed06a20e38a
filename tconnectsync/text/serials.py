"""Serial numbers of pumps, shortened for log lines: who sends in a log need not show which pump is theirs."""

from __future__ import annotations

_SHOWN = 3


def short_serial(serial: str) -> str:
    """Return the end of a serial number, which tells a person's pumps apart: ``…643``."""
    return f"…{serial[-_SHOWN:]}"
