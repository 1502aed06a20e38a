"""Sleep and exercise, which come with their length, as changes from one mode to another."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from tconnectsync_tconnect.rows import timeline
from tconnectsync_tconnect.rows.entry import READERS
from tconnectsync_tconnect.rows.provenance import ProvenancedRow, kept
from tconnectsync_tconnect.rows.timeline import ModeRow

SETTLED = timedelta(minutes=30)
"""Data this much younger than a mode's end show that it did end."""


def mode_changes(modes: Sequence[ModeRow], newest: datetime | None) -> tuple[list[ProvenancedRow], tuple[ModeRow, ...]]:
    """One change for every time at which a mode begins or ends; and the modes that are still going on.

    A mode that reaches to the ``newest`` data (None: there is none) may last longer yet, so it has no end. Where one ends
    inside another, that goes on.
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
    """Which mode holds just before ``mode`` ends: the one that began last."""
    return [other for other in lasting if other.at < mode.end <= other.end][-1]


def _change(mode: ModeRow, after: str, *, ends: bool) -> list[ProvenancedRow]:
    around = {"ends": ends, "mode": after}
    return kept(timeline.MODE, mode.row, READERS[timeline.MODE](mode.row, around), **around)
