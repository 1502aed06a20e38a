"""The ``influxdb`` sink: glucose, insulin, carbs and the pump's state as time series, for Grafana and other programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tconnectsync import SinkSpec, hookimpl

if TYPE_CHECKING:  # the folds and the receiver are imported when the sink is opened
    from tconnectsync import Context, Sink


@hookimpl
def tconnectsync_sinks() -> Sequence[SinkSpec]:
    """``influxdb``, off by default."""
    from tconnectsync_influxdb.options import InfluxOptions, notes, problems

    return [SinkSpec(name="influxdb", options=InfluxOptions, open=_open, problems=problems, notes=notes)]


def _open(options: Any, context: Context) -> Sink:
    from tconnectsync_influxdb.sink import open_sink

    return open_sink(options, context)
