"""Runs tconnectsync for many people on several machines, over NATS JetStream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tconnectsync import hookimpl

if TYPE_CHECKING:
    import click


@hookimpl
def tconnectsync_commands() -> Sequence[click.Command]:
    """``fleet``."""
    from tconnectsync_fleet.group import fleet

    return [fleet]
