"""The ``mqtt`` sink: the pump's current state for Home Assistant and other clients of an MQTT broker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tconnectsync import SinkSpec, hookimpl

if TYPE_CHECKING:  # the folds and the receiver are imported when the sink is opened
    from tconnectsync import Context, Sink


@hookimpl
def tconnectsync_sinks() -> Sequence[SinkSpec]:
    """``mqtt``, off by default."""
    from tconnectsync_mqtt.options import MqttOptions, notes, problems

    return [SinkSpec(name="mqtt", options=MqttOptions, open=_open, problems=problems, notes=notes)]


def _open(options: Any, context: Context) -> Sink:
    from tconnectsync_mqtt.sink import open_sink

    return open_sink(options, context)
