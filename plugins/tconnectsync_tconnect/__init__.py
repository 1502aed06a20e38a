"""Source: the older t:connect, as its web services (before Tandem Source) and its CSV export know a pump.

Tandem switched the website off; the files that people saved from it stay readable, and other places may still answer as it did.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tconnectsync import Context, Source, SourceSpec, hookimpl
from tconnectsync_tconnect.settings import TconnectOptions, problems_of


@hookimpl
def tconnectsync_sources() -> Sequence[SourceSpec]:
    """``[sources.tconnect]``; off unless ``enabled``."""
    return [
        SourceSpec(
            name="tconnect",
            options=TconnectOptions,
            open=_open,
            enabled=lambda _options: False,
            problems=problems_of,
        )
    ]


def _open(options: Any, context: Context) -> Source:
    from tconnectsync_tconnect.source import open_source

    return open_source(options, context)
