"""A data folder that the release before this one wrote opens, needs no correction, and doubles nothing."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import attrs
import pytest

from tconnectsync import Delivery, Document, Outcome
from tconnectsync.outbox.database import OtherVersion, open_to_read
from tconnectsync.outbox.stored_values import ADDRESS, FOREIGN_ALLOWED, ForeignAllowed
from tconnectsync.reconcile.report import ComparisonReport
from tests.support.engine.fakes import ReadableFakeReceiver
from tests.support.engine.harness import BEGIN, EngineHarness

WRITTEN = Path(__file__).parents[1] / "data" / "previous_release"
"""``EngineHarness`` after a sync of eight hours, written by release 3's code before the outbox got its second schema."""


@attrs.define
class CountingReceiver(ReadableFakeReceiver):
    """Counts how often each document is delivered."""

    delivered: Counter[str] = attrs.field(factory=Counter)

    def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
        self.delivered.update(delivery.document_id for delivery in batch)
        return ReadableFakeReceiver.deliver(self, batch)


@pytest.fixture
def receiver() -> CountingReceiver:
    """The receiver with all that the previous release delivered."""
    there = [
        Document(
            id=found["id"], collection=found["collection"], at=datetime.fromisoformat(found["at"]),
            unique_slot=found["slot"], content=found["content"],
        )
        for found in json.loads((WRITTEN / "receiver.json").read_text(encoding="utf-8"))
    ]  # fmt: skip
    return CountingReceiver(batch_size=100, there={document.id: document for document in there})


@pytest.fixture
def harness(tmp_path: Path, receiver: CountingReceiver) -> Iterator[EngineHarness]:
    """The previous release's folder under this release's engine, an hour later."""
    folder = tmp_path / "data"
    shutil.copytree(WRITTEN, folder)
    made = EngineHarness(folder, receiver=receiver)
    made.clock.time = BEGIN + timedelta(hours=9)
    yield made
    made.engine.close()


def test_everything_is_as_it_should_be(harness: EngineHarness, receiver: CountingReceiver) -> None:
    """After a sync the receiver holds each document once, and a comparison finds nothing to change."""
    before = dict(receiver.there)
    assert len(before) == 8
    assert harness.ask("sync").status == 0
    assert {name: receiver.there[name] for name in before} == before
    assert len(receiver.there) == 9
    assert receiver.beside == []
    tally = ComparisonReport()
    for part in harness.runner.verifier(harness.engine.streams).run(None, None):
        tally.add(part)
    assert (tally.good, tally.wrong, dict(tally.counts)) == (9, 0, {})
    assert harness.ask("verify", sink="shelf").status == 0
    receiver.delivered.clear()
    harness.clock.sleep(3600)
    assert harness.ask("sync").status == 0
    assert not receiver.delivered.keys() & before.keys(), "what was there is not sent once more"


def test_the_old_outbox_is_kept_aside(harness: EngineHarness) -> None:
    """The old file stays beside the new one; the address and the user's consent are carried over."""
    path = harness.runner.outbox.path
    with pytest.raises(OtherVersion):
        open_to_read(path.with_name("shelf.sqlite.v1"))
    assert harness.runner.outbox.values.get(ADDRESS) == "shelf://one"
    assert harness.runner.outbox.values.get(FOREIGN_ALLOWED) is ForeignAllowed.ALWAYS


def test_the_log_is_unchanged(harness: EngineHarness) -> None:
    """The lines that the previous release wrote stay as they are."""
    (name,) = [path.name for path in (WRITTEN / "log").iterdir()]
    assert harness.ask("sync").status == 0
    assert (harness.folder / "log" / name).read_bytes().startswith((WRITTEN / "log" / name).read_bytes())
