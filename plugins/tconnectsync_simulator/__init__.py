"""A simulated pump, its cloud and a simulated Nightscout site, for the demo, for tests and for plugin authors."""

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
