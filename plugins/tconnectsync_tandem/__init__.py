"""Source: pumps as Tandem Source, Tandem's web service, knows them (its JSON API of 2026)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tconnectsync import Context, Source, SourceSpec, hookimpl
from tconnectsync_tandem.options import TandemOptions, problems_of


@hookimpl
def tconnectsync_sources() -> Sequence[SourceSpec]:
    """``[sources.tandem]``."""
    return [
        SourceSpec(
            name="tandem",
            options=TandemOptions,
            open=_open,
            enabled=lambda options: options.email is not None,
            problems=problems_of,
        )
    ]


def _open(options: Any, context: Context) -> Source:
    from tconnectsync_tandem.source import open_source

    return open_source(options, context)
