"""Convert sleep and exercise, which have a length, to changes of mode."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from tconnectsync_tconnect.rows import timeline
from tconnectsync_tconnect.rows.decoder import READERS
from tconnectsync_tconnect.rows.provenance import ProvenancedRow, with_row
from tconnectsync_tconnect.rows.timeline import ModeRow

SETTLED = timedelta(minutes=30)
"""Data this much newer than a mode's end confirms the end."""


def mode_changes(modes: Sequence[ModeRow], newest: datetime | None) -> tuple[list[ProvenancedRow], tuple[ModeRow, ...]]:
    """Return one change for every start and end of a mode, and the modes that still last.

    A mode that reaches to the ``newest`` data (None: there is none) may last longer, so it has no end. If a mode ends
    inside another, the other continues.
    """
    latest: dict[datetime, ModeRow] = {}
    for mode in modes:
        known = latest.get(mode.at)
        latest[mode.at] = mode if known is None or mode.end > known.end else known
    lasting = sorted((mode for mode in latest.values() if mode.end > mode.at), key=lambda mode: mode.at)
    found = [change for mode in lasting for change in _change(mode, mode.mode, ends=False)]
    begins = {mode.at for mode in lasting}
    for mode in lasting:
        if _may_last(mode, newest) or mode.end in begins:
            continue
        around = [other for other in lasting if other.at < mode.end < other.end]
        if mode is not _ruling(mode, lasting):
            continue
        found += _change(mode, around[-1].mode if around else "normal", ends=True)
    return found, tuple(mode for mode in lasting if _may_last(mode, newest))


def _may_last(mode: ModeRow, newest: datetime | None) -> bool:
    return newest is None or mode.end >= newest - SETTLED


def _ruling(mode: ModeRow, lasting: Sequence[ModeRow]) -> ModeRow:
    """The mode just before ``mode`` ends: the one that began last."""
    return [other for other in lasting if other.at < mode.end <= other.end][-1]


def _change(mode: ModeRow, after: str, *, ends: bool) -> list[ProvenancedRow]:
    around = {"ends": ends, "mode": after}
    return with_row(timeline.MODE, mode.row, READERS[timeline.MODE](mode.row, around), **around)
