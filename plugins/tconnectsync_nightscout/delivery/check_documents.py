"""The documents that ``check`` posts and deletes: one alone, and for treatments a request as large as a full batch.

A proxy or firewall in front of the site may accept small requests only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from typing import Any

import attrs

from tconnectsync import Rejected, Retryable, TconnectsyncError, document_id
from tconnectsync_nightscout.api.client import NightscoutClient, is_mongo_id
from tconnectsync_nightscout.api.document_format import ENTRIES, created_at_text, epoch_ms
from tconnectsync_nightscout.api.find_copies import copies_of
from tconnectsync_nightscout.delivery.upsert import TREATMENTS

CHECK_TIME = datetime(2001, 2, 3, 4, 5, 6, tzinfo=timezone.utc)
"""Long before the range of any page or report."""
MORE, NOTE_BYTES, SALT_BYTES = 20, 8192, 2048
"""As large as five hundred treatments, plain and compressed. Few documents, because each is deleted on its own."""
BATCH = f"{MORE + 1} documents, {MORE * NOTE_BYTES >> 10} KB"

_FIELDS: Mapping[str, Mapping[str, Any]] = {
    TREATMENTS: {"eventType": "Note", "notes": "tconnectsync check: may be deleted"},
    "activity": {"activityType": "tconnectsync_check"},
    ENTRIES: {"type": "mbg", "mbg": 100, "device": "tconnectsync check: may be deleted"},
    "devicestatus": {"device": "tconnectsync check: may be deleted"},
}


@attrs.define(kw_only=True)
class WriteTest:
    """The test documents of one collection.

    ``batch_error``: why the large request failed although a small one worked.
    """

    client: NightscoutClient
    collection: str
    entered_by: str
    batch_error: TconnectsyncError | None = None
    _named: list[str] = attrs.field(factory=list)
    """The site's own ids of the stored documents."""

    def create(self) -> None:
        """Post the documents; only one of them if the large request fails."""
        bodies = self._bodies()
        try:
            answered = self.client.create(self.collection, bodies)
        except (Retryable, Rejected) as error:
            if len(bodies) == 1 or not error.narrow:
                raise
            answered = self.client.create(self.collection, bodies[:1])
            self.batch_error = error
        self._named = [item["_id"] for item in answered if is_mongo_id(item.get("_id"))]

    def stored(self) -> list[str]:
        """Return the site's ids of the stored documents: found by our identifiers, else those from the response."""
        wanted = {identifier: (at,) for identifier, at in self._known()}
        found = copies_of(self.client, self.collection, wanted)
        return [copy.mongo_id for copies in found.values() for copy in copies]

    def remove(self) -> None:
        """Delete all stored test documents, including those of an earlier check."""
        for mongo_id in dict.fromkeys([*self.stored(), *self._named]):
            self.client.delete(self.collection, mongo_id)
        self._named = []

    @property
    def is_named_by_response(self) -> bool:
        """Whether the response identifies the stored documents."""
        return bool(self._named)

    def _known(self) -> Sequence[tuple[str, datetime]]:
        more = range(1, MORE + 1 if self.collection == TREATMENTS else 1)
        rest = [(document_id("check", self.collection, n), CHECK_TIME + timedelta(milliseconds=n)) for n in more]
        return [(document_id("check", self.collection), CHECK_TIME), *rest]

    def _bodies(self) -> list[dict[str, Any]]:
        bodies = []
        for number, (identifier, at) in enumerate(self._known()):
            body = {
                **_FIELDS[self.collection],
                "created_at": created_at_text(at),
                "identifier": identifier,
                "enteredBy": self.entered_by,
            }
            if self.collection == ENTRIES:
                body |= {"date": epoch_ms(at), "dateString": created_at_text(at)}
            if number:
                body["notes"] = _long(body["notes"], number)
            bodies.append(body)
        return bodies


def _long(text: str, number: int) -> str:
    """Text as long as many treatments; some of it compresses badly, like theirs."""
    salt = "".join(sha256(f"{number} {part}".encode()).hexdigest() for part in range(SALT_BYTES // 64))
    return f"{text} {salt}".ljust(NOTE_BYTES, ".")
