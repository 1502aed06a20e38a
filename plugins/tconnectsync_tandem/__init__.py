"""The ``tandem`` source: pump data from Tandem Source, Tandem's web service (its JSON API of 2026)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from tconnectsync import Importer, ImportOptions, SourceSpec, hookimpl

if TYPE_CHECKING:  # every command imports this module, most use nothing of it
    from tconnectsync import Batch, Context, Event, Source


@hookimpl
def tconnectsync_sources() -> Sequence[SourceSpec]:
    """``[sources.tandem]``."""
    from tconnectsync_tandem.options import TandemOptions, problems_of

    return [
        SourceSpec(
            name="tandem",
            options=TandemOptions,
            open=_open,
            enabled=lambda options: options.email is not None,
            problems=problems_of,
        )
    ]


@hookimpl
def tconnectsync_importers() -> Sequence[Importer]:
    """Importers for saved responses of today's API and of the one before it."""
    return [
        Importer(
            name="saved responses of Tandem's JSON API (pump-logs)",
            recognises=_is_saved,
            read=_read_saved,
            device=_device_of,
        ),
        Importer(
            name="a pump's binary history log (26-byte records, as bytes or base64 text)",
            recognises=_is_binary,
            read=_read_binary,
            device=_device_of,
            partial=_is_partial,
        ),
    ]


def _is_saved(head: bytes) -> bool:
    from tconnectsync_tandem.files.saved_import import recognises

    return recognises(head)


def _read_saved(stream: BinaryIO, options: ImportOptions) -> Iterator[Batch]:
    from tconnectsync_tandem.files.saved_import import read

    return read(stream, options)


def _is_binary(head: bytes) -> bool:
    from tconnectsync_tandem.files.binary.importer import recognises

    return recognises(head)


def _read_binary(stream: BinaryIO, options: ImportOptions) -> Iterator[Batch]:
    from tconnectsync_tandem.files.binary.importer import read

    return read(stream, options)


def _is_partial(event: Event) -> bool:
    from tconnectsync_tandem.files.binary.record import is_partial

    return is_partial(event.raw or {})


def _device_of(event: Event) -> str | None:
    from tconnectsync_tandem.decode.event_factory import device_of

    return device_of(event)


def _open(options: Any, context: Context) -> Source:
    from tconnectsync_tandem.source import open_source

    return open_source(options, context)
