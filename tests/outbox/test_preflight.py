"""An interrupted preflight starts again and never counts as done."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tconnectsync.errors import CredentialsRefused
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.preflight import Preflight
from tconnectsync.outbox.sender import Sender
from tconnectsync.outbox.stored_values import READ_BACK
from tconnectsync.plugin.fold import Document
from tconnectsync.plugin.receiver import StoredDocument

NOW = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)


def test_read_back_after_refusal(tmp_path: Path) -> None:
    """Reading back starts again from the beginning after the secret was refused in the middle.

    A generator that raised is exhausted: documents that it has not given yet would be sent as if they were not there.
    """
    trouble = [CredentialsRefused("refused", remedy="")]

    def read_back(*_: Any) -> Iterator[StoredDocument]:
        if trouble:
            raise trouble.pop()
        yield StoredDocument(document_id="a", collection="c", at=NOW, receiver_key="there", unique_slot="s", content={})

    receiver: Any = SimpleNamespace(address="site", inspect=lambda *_: None, read_back=read_back)
    clock: Any = SimpleNamespace(now=lambda: NOW)
    outbox = Outbox(tmp_path / "outbox.sqlite")
    with outbox.transaction():
        outbox.documents.upsert(
            Document(id="a", collection="c", unique_slot="s", at=NOW, content={}), "fold", "stream", 0
        )
    admission = Preflight(Sender(outbox, receiver), clock, "sink", ("fold",))
    with pytest.raises(CredentialsRefused):
        admission.step()
    assert admission.step() is True
    assert outbox.values.get(READ_BACK), "what is there was read"
    outbox.close()
