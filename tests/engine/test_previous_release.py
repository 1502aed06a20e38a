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
from tconnectsync.outbox.facts import ADDRESS, OTHERS_ALLOWED, OthersAllowed
from tconnectsync.reconcile.report import ComparisonReport
from tests.engine.fakes import OpenShelf
from tests.engine.harness import BEGIN, World

WRITTEN = Path(__file__).parents[1] / "data" / "previous_release"
"""``World`` after a sync of eight hours, written by release 3's code before the outbox got its second schema."""


@attrs.define
class CountingShelf(OpenShelf):
    """Counts how often each document is delivered."""

    delivered: Counter[str] = attrs.field(factory=Counter)

    def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
        self.delivered.update(delivery.document_id for delivery in batch)
        return OpenShelf.deliver(self, batch)


@pytest.fixture
def shelf() -> CountingShelf:
    """The receiver with all that the previous release delivered."""
    there = [
        Document(
            id=found["id"], collection=found["collection"], at=datetime.fromisoformat(found["at"]),
            unique_slot=found["slot"], content=found["content"],
        )
        for found in json.loads((WRITTEN / "receiver.json").read_text(encoding="utf-8"))
    ]  # fmt: skip
    return CountingShelf(batch_size=100, there={document.id: document for document in there})


@pytest.fixture
def world(tmp_path: Path, shelf: CountingShelf) -> Iterator[World]:
    """The previous release's folder under this release's engine, an hour later."""
    folder = tmp_path / "data"
    shutil.copytree(WRITTEN, folder)
    made = World(folder, shelf=shelf)
    made.clock.time = BEGIN + timedelta(hours=9)
    yield made
    made.engine.close()


def test_everything_is_as_it_should_be(world: World, shelf: CountingShelf) -> None:
    """After a sync the receiver holds each document once, and a comparison finds nothing to change."""
    before = dict(shelf.there)
    assert len(before) == 8
    assert world.ask("sync").status == 0
    assert {name: shelf.there[name] for name in before} == before
    assert len(shelf.there) == 9
    assert shelf.beside == []
    tally = ComparisonReport()
    for part in world.runner.verifier(world.engine.views).run(None, None):
        tally.add(part)
    assert (tally.good, tally.wrong, dict(tally.counts)) == (9, 0, {})
    assert world.ask("verify", sink="shelf").status == 0
    shelf.delivered.clear()
    world.clock.sleep(3600)
    assert world.ask("sync").status == 0
    assert not shelf.delivered.keys() & before.keys(), "what was there is not sent once more"


def test_the_old_outbox_is_kept_aside(world: World) -> None:
    """The old file stays beside the new one; the address and the user's consent are carried over."""
    path = world.runner.outbox.path
    with pytest.raises(OtherVersion):
        open_to_read(path.with_name("shelf.sqlite.v1"))
    assert world.runner.outbox.facts.get(ADDRESS) == "shelf://one"
    assert world.runner.outbox.facts.get(OTHERS_ALLOWED) is OthersAllowed.ALWAYS


def test_the_log_is_unchanged(world: World) -> None:
    """The lines that the previous release wrote stay as they are."""
    (name,) = [path.name for path in (WRITTEN / "log").iterdir()]
    assert world.ask("sync").status == 0
    assert (world.folder / "log" / name).read_bytes().startswith((WRITTEN / "log" / name).read_bytes())
