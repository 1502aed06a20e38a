"""The Nightscout sinks: pump events as treatments, insulin on board and notes on a Nightscout site."""

from __future__ import annotations

from collections.abc import Sequence

from tconnectsync import Section, SinkSpec, hookimpl


@hookimpl
def tconnectsync_sections() -> Sequence[Section]:
    """``[nightscout]``."""
    from tconnectsync_nightscout.sinks import sections

    return sections()


@hookimpl
def tconnectsync_sinks() -> Sequence[SinkSpec]:
    """``nightscout-treatments``, ``nightscout-iob`` and ``nightscout-pump-events``."""
    from tconnectsync_nightscout.sinks import specs

    return specs()
