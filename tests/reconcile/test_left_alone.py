"""Documents that no fold makes and that stay at the receiver nevertheless."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest

from tconnectsync import Document, document_id
from tconnectsync.ingest.gaps import MARGIN
from tconnectsync.reconcile.daily import INTERVAL
from tests.reconcile.harness import DAY, HOUR, at_hour, compared, run_engine_for, stale_of, verdicts
from tests.support.engine.fakes import ReadableFakeReceiver, StretchFold
from tests.support.engine.harness import BEGIN, EngineHarness


@attrs.frozen(kw_only=True)
class EphemeralFold(StretchFold):
    """Documents that expire after half an hour."""

    name = "ephemeral"

    def step(self, state: Any, event: Any) -> Any:
        state, documents = StretchFold.step(self, state, event)
        return state, [self._ephemeral(document) for document in documents]

    def running(self, state: Any) -> Any:
        return [self._ephemeral(document) for document in StretchFold.running(self, state)]

    def _ephemeral(self, document: Document) -> Document:
        return msgspec.structs.replace(
            document, id=document_id("ephemeral", document.id), unique_slot="ephemeral", ttl_s=1800.0
        )


def test_verify_lapsed_document(tmp_path: Path, receiver: ReadableFakeReceiver) -> None:
    """An expired document is neither missing nor unclaimed."""
    harness = EngineHarness(
        tmp_path, receiver=receiver, folds={"stretches": StretchFold(), "ephemeral": EphemeralFold()}
    )
    harness.clock.time = BEGIN + DAY - timedelta(minutes=45)
    harness.ask("sync")
    [ephemeral] = [document for document in receiver.there.values() if document.unique_slot == "ephemeral"]
    assert compared(harness).good == 25
    harness.clock.sleep(7200)
    for _ in range(2):
        assert compared(harness).wrong == 0
        harness.ask("sync")
    del receiver.there[ephemeral.id]
    assert compared(harness).wrong == 0
    receiver.beside.append(receiver.copy_of(ephemeral))
    assert compared(harness).wrong == 0
    harness.engine.close()


def test_wiped_disk_keeps_lapsed(tmp_path: Path, receiver: ReadableFakeReceiver) -> None:
    """After a wiped disk, expired documents stay at the receiver.

    No fold makes yesterday's announcement any more, but it was right when it was sent.
    """
    harness = EngineHarness(
        tmp_path, receiver=receiver, folds={"stretches": StretchFold(), "ephemeral": EphemeralFold()}
    )
    harness.clock.time = BEGIN + DAY - timedelta(minutes=45)
    harness.ask("sync")
    harness.clock.sleep(7200)
    harness.ask("sync")
    before = dict(receiver.there)
    assert "ephemeral" in {document.unique_slot for document in before.values()}
    wiped(harness)
    assert before.keys() <= receiver.there.keys()
    harness.engine.close()


def wiped(harness: EngineHarness) -> None:
    """The outbox is gone, and the log has been read to its end twice since."""
    harness.engine.close()
    for path in (harness.folder / "outbox").iterdir():
        path.unlink()
    harness.open()
    for _ in range(2):
        harness.clock.sleep(7200)
        assert harness.ask("sync").status == 0


def test_wiped_disk_keeps_other_kinds(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """After a wiped disk, documents of a kind that is not made here stay.

    An option has switched it off since, or they belong to another machine that has it on.
    """
    known = at_hour(receiver, 3)
    for kind in ("another kind", "stretch"):
        other = msgspec.structs.replace(known, id=document_id(kind), unique_slot=kind, at=BEGIN + 3.5 * HOUR)
        receiver.there[other.id] = other
    wiped(harness)
    assert document_id("another kind") in receiver.there
    assert document_id("stretch") not in receiver.there


def test_verify_option_switched_off(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """Documents of an option that is off now are left alone."""
    harness.reopen(folds={}, fingerprint="2")
    harness.ask("sync")
    assert verdicts(harness) == {}
    assert harness.ask("verify", sink="shelf").status == 0
    assert len(receiver.there) == 24


@pytest.mark.parametrize(
    "changes",
    [{"pump": "2"}, {"at": BEGIN - 3 * DAY}, {"unique_slot": "another kind"}, {"collection": "elsewhere"}],
    ids=["another pump", "a day that this log does not open", "a kind that is not made here", "another collection"],
)
def test_verify_foreign_documents(
    harness: EngineHarness, receiver: ReadableFakeReceiver, changes: dict[str, Any]
) -> None:
    """Documents of another installation are foreign."""
    other = receiver.copy_of(at_hour(receiver, 3), document_id=document_id("other"), **changes)
    receiver.beside.append(other)
    assert compared(harness, BEGIN - 10 * DAY).wrong == 0
    assert harness.ask("verify", sink="shelf", first="2026-05-20").status == 0
    run_engine_for(harness, INTERVAL + 2 * HOUR)
    assert receiver.beside == [other]


def test_verify_with_log_gap(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """A gap that a repair of the log left makes nothing unclaimed."""
    stale = stale_of(receiver)
    assert verdicts(harness) == {"orphaned": 1}
    span = (int((stale.at - MARGIN).timestamp() * 1000), int((stale.at + MARGIN).timestamp() * 1000))
    harness.engine.streams = {
        name: attrs.evolve(stream, gaps=(span,)) for name, stream in harness.engine.streams.items()
    }
    assert verdicts(harness) == {"foreign": 1}
