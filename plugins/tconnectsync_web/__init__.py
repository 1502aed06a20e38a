"""Web pages with glucose, insulin and problems, and a sync on request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tconnectsync import Section, hookimpl

if TYPE_CHECKING:
    import click


@hookimpl
def tconnectsync_sections() -> Sequence[Section]:
    """``[web]``."""
    from tconnectsync_web.options import WebOptions

    return [Section(name="web", options=WebOptions)]


@hookimpl
def tconnectsync_commands() -> Sequence[click.Command]:
    """``web``."""
    from tconnectsync_web.command import web

    return [web]
