"""A simulated pump, its cloud and a simulated Nightscout: the demo, and what tests and plugin authors try things on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tconnectsync import hookimpl

if TYPE_CHECKING:
    import click


@hookimpl
def tconnectsync_commands() -> Sequence[click.Command]:
    """``demo``."""
    from tconnectsync_simulator.demo.command import demo

    return [demo]
