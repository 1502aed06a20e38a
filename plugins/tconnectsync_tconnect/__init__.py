"""The ``tconnect`` source: the older t:connect, its web services (before Tandem Source) and its CSV export.

Tandem has shut down the website. Saved exports can still be imported, and other servers may answer as it did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from tconnectsync import Batch, Context, Importer, ImportOptions, Source, SourceSpec, hookimpl
from tconnectsync_tconnect.options import TconnectOptions, problems_of


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


@hookimpl
def tconnectsync_importers() -> Sequence[Importer]:
    """The importer of the website's CSV export."""
    return [Importer(name="CSV export of t:connect's therapy timeline", recognises=_is_export, read=_read_export)]


def _is_export(head: bytes) -> bool:
    from tconnectsync_tconnect.importer import recognises

    return recognises(head)


def _read_export(stream: BinaryIO, options: ImportOptions) -> Iterator[Batch]:
    from tconnectsync_tconnect.importer import read

    return read(stream, options)


def _open(options: Any, context: Context) -> Source:
    from tconnectsync_tconnect.source import open_source

    return open_source(options, context)
