"""The ``mqtt`` sink: the pump's current state for Home Assistant and other clients of an MQTT broker."""

from __future__ import annotations

from collections.abc import Sequence

from tconnectsync import SinkSpec, hookimpl


@hookimpl
def tconnectsync_sinks() -> Sequence[SinkSpec]:
    """``mqtt``."""
    from tconnectsync_mqtt.sink import spec

    return [spec()]
