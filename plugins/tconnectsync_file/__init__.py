"""The ``file`` sink: the pump's events as monthly JSONL or CSV files, for spreadsheets and backups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tconnectsync import SinkSpec, hookimpl

if TYPE_CHECKING:  # the folds and the receiver are imported when the sink is opened
    from tconnectsync import Context, Sink


@hookimpl
def tconnectsync_sinks() -> Sequence[SinkSpec]:
    """``file``, off by default."""
    from tconnectsync_file.options import FileOptions, problems

    return [SinkSpec(name="file", options=FileOptions, open=_open, problems=problems)]


def _open(options: Any, context: Context) -> Sink:
    from tconnectsync_file.sink import open_sink

    return open_sink(options, context)
