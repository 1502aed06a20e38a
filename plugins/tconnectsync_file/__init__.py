"""The ``file`` sink: the pump's events as monthly JSONL or CSV files, for spreadsheets and backups."""

from __future__ import annotations

from collections.abc import Sequence

from tconnectsync import SinkSpec, hookimpl


@hookimpl
def tconnectsync_sinks() -> Sequence[SinkSpec]:
    """``file``."""
    from tconnectsync_file.sink import spec

    return [spec()]
