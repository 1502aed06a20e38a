"""Import files with saved responses of Tandem's JSON API. The events are those of the source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from tconnectsync import Batch, ImportOptions, counted
from tconnectsync_tandem.files.imported import batches, left_out
from tconnectsync_tandem.files.saved_reader import EntryReader

_BLANK = b" \t\r\n[\xef\xbb\xbf"


def recognises(head: bytes) -> bool:
    """Whether a file that begins with ``head`` has such responses: an object with their lists, or a list of objects."""
    return head.lstrip(_BLANK)[:1] == b"{" and (b'"events"' in head or b'"clockChanges"' in head)


def read(stream: BinaryIO, options: ImportOptions) -> Iterator[Batch]:
    """Yield the events of every entry, with the same ids as the source's. Errors: FileUnreadable."""
    reader = EntryReader(stream=stream, skip_bad=options.skip_bad)

    def note(count: int) -> str:
        return f"pump {options.pump}, {counted(count, 'entry')} of {counted(reader.answers, 'saved response')}{left_out(reader.skipped)}"

    return batches(reader.entries(), options, note, entry_of=lambda entry: entry, device_of=_device_of)


def _device_of(entry: object) -> object:
    device = entry.get("deviceAssignmentId") if isinstance(entry, dict) else None
    return device if isinstance(device, str) else None
