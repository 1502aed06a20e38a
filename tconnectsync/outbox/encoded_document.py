"""A document as the outbox stores it: its time in milliseconds, its content as JSON, and their hash."""

from __future__ import annotations

import hashlib

import msgspec

from tconnectsync.clock import milliseconds
from tconnectsync.plugin.fold import Document


class EncodedDocument(msgspec.Struct, frozen=True):
    """A document, its UTC time in milliseconds, and its content as JSON. Each is needed several times."""

    document: Document
    at_ms: int
    content: bytes

    @classmethod
    def of(cls, document: Document) -> EncodedDocument:
        """Encode ``document``. Raises ValueError, TypeError: its time has no zone, or its content is not JSON."""
        return cls(document, milliseconds(document.at), msgspec.json.encode(document.content, order="sorted"))

    @property
    def place(self) -> tuple[str, str, int]:
        """Collection, slot and time."""
        return self.document.collection, self.document.unique_slot, self.at_ms

    def content_hash(self, time_shift_ms: int = 0) -> bytes:
        """Return the hash of the document as it is sent. ``time_shift_ms`` is added to the time.

        An invalid document has another hash than a valid one with the same content.
        """
        document = self.document
        head = f"{document.collection}\x1f{document.unique_slot}\x1f{self.at_ms + time_shift_ms}\x1f".encode()
        salt = b"" if document.problem is None else b"invalid"
        return hashlib.blake2b(head + self.content, digest_size=12, salt=salt).digest()
