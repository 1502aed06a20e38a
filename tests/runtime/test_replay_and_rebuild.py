"""A receiver, an outbox, a disk or a log that lost something: the same documents are delivered again."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec

from tests.support.engine.harness import BEGIN, EngineHarness, hours


def test_replay_to_emptied_receiver(harness: EngineHarness) -> None:
    """A receiver that lost everything gets the same documents again."""
    harness.ask("sync")
    there = dict(harness.receiver.there)
    harness.receiver.there.clear()
    result = harness.ask("replay", sink="shelf")
    assert result.status == 0
    assert harness.receiver.there == there
    assert str(len(there)) in result.lines[0]


def test_replay_of_some_days(harness: EngineHarness) -> None:
    """A replay of some days leaves the other days alone."""
    harness.clock.sleep(86400 * 2)
    harness.ask("sync")
    harness.receiver.there.clear()
    harness.ask("replay", sink="shelf", first="2026-06-02", last="2026-06-02")
    assert harness.starts()[0] == BEGIN + timedelta(hours=22)
    assert harness.starts()[-1] == BEGIN + timedelta(hours=45)


def test_wiped_disk(harness: EngineHarness, tmp_path: Path) -> None:
    """After the disk was wiped, no document is doubled or orphaned."""
    harness.ask("sync")
    there = dict(harness.receiver.there)
    other = EngineHarness(tmp_path / "fresh", clock=harness.clock, receiver=harness.receiver)
    stale = msgspec.structs.replace(
        next(iter(there.values())), id="11111111-2222-5333-8444-555555555555", at=BEGIN + timedelta(hours=5, minutes=1)
    )
    harness.receiver.there[stale.id] = stale
    assert other.ask("sync").status == 0
    assert harness.receiver.there == there
    other.engine.close()


def test_deleted_outbox(harness: EngineHarness) -> None:
    """A deleted outbox is rebuilt and gives the same documents."""
    harness.ask("sync")
    there = dict(harness.receiver.there)
    harness.engine.close()
    for path in (harness.folder / "outbox").iterdir():
        path.unlink()
    harness.open()
    assert harness.ask("sync").status == 0
    assert harness.receiver.there == there


def test_restored_log_folded_again(harness: EngineHarness) -> None:
    """A log that was restored from a backup is folded again."""
    harness.ask("sync")
    there = dict(harness.receiver.there)
    harness.engine.close()
    kept = {path.name: path.read_bytes() for path in (harness.folder / "log").iterdir()}
    harness.open()
    harness.pump.hidden = set(range(1441, 1800))
    harness.clock.sleep(6 * 3600)
    harness.ask("sync")
    harness.engine.close()
    for path in (harness.folder / "log").iterdir():
        path.unlink()
    for name, content in kept.items():
        (harness.folder / "log" / name).write_bytes(content)
    for path in harness.folder.glob("index.sqlite*"):
        path.unlink()
    harness.open()
    assert harness.runner.outbox.checkpoints.cursor == 0
    harness.pump.hidden = set()
    harness.ask("sync")
    assert there.keys() <= harness.receiver.there.keys()
    assert harness.starts()[-6:] == hours([24, 25, 26, 27, 28, 29])
