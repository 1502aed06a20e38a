"""A document as the outbox stores it: its time in milliseconds, its content as JSON, and their hash."""

from __future__ import annotations

import hashlib

import msgspec

from tconnectsync.clock import milliseconds
from tconnectsync.plugin.fold import Document


class EncodedDocument(msgspec.Struct, frozen=True):
    """A document, its content as JSON, and its place: collection, slot, and UTC time in milliseconds. Each is needed several times."""

    document: Document
    content: bytes
    place: tuple[str, str, int]

    @classmethod
    def of(cls, document: Document) -> EncodedDocument:
        """Encode ``document``. Raises ValueError, TypeError: its time has no zone, or its content is not JSON."""
        content = msgspec.json.encode(document.content, order="sorted")
        return cls(document, content, (document.collection, document.unique_slot, milliseconds(document.at)))

    @property
    def at_ms(self) -> int:
        """UTC time in milliseconds."""
        return self.place[2]

    def content_hash(self, time_shift_ms: int = 0) -> bytes:
        """Return the hash of the document as it is sent. ``time_shift_ms`` is added to the time.

        An invalid document has another hash than a valid one with the same content.
        """
        collection, slot, at_ms = self.place
        head = f"{collection}\x1f{slot}\x1f{at_ms + time_shift_ms}\x1f".encode()
        salt = b"" if self.document.problem is None else b"invalid"
        return hashlib.blake2b(head + self.content, digest_size=12, salt=salt).digest()
