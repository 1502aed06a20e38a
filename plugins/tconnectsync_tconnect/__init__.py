"""The ``tconnect`` source: the older t:connect, its web services (before Tandem Source) and its CSV export.

Tandem has shut down the website. Saved exports can still be imported, and other servers may answer as it did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from tconnectsync import Importer, ImportOptions, SourceSpec, hookimpl

if TYPE_CHECKING:  # every command imports this module, most use nothing of it
    from tconnectsync import Batch, Context, Source


@hookimpl
def tconnectsync_sources() -> Sequence[SourceSpec]:
    """``[sources.tconnect]``; off unless ``enabled``."""
    from tconnectsync_tconnect.options import TconnectOptions, problems_of

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
    return [Importer(name="CSV exports of t:connect's therapy timeline", recognises=_is_export, read=_read_export)]


def _is_export(head: bytes) -> bool:
    from tconnectsync_tconnect.importer import recognises

    return recognises(head)


def _read_export(stream: BinaryIO, options: ImportOptions) -> Iterator[Batch]:
    from tconnectsync_tconnect.importer import read

    return read(stream, options)


def _open(options: Any, context: Context) -> Source:
    from tconnectsync_tconnect.source import open_source

    return open_source(options, context)
