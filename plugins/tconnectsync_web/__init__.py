"""A small web application that runs a sync cycle on request, for hosting services that only run web applications."""

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
