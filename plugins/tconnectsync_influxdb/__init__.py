"""The ``influxdb`` sink: glucose, insulin, carbs and the pump's state as time series, for Grafana and other programs."""

from __future__ import annotations

from collections.abc import Sequence

from tconnectsync import SinkSpec, hookimpl


@hookimpl
def tconnectsync_sinks() -> Sequence[SinkSpec]:
    """``influxdb``."""
    from tconnectsync_influxdb.sink import spec

    return [spec()]
