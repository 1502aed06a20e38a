"""The request that lists what a receiver refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tconnectsync.exit_status import ExitStatus
from tconnectsync.jobs import sync
from tests.support.engine.harness import EngineHarness


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[EngineHarness]:
    """A day is delivered, but for five documents."""
    harness = EngineHarness(tmp_path)
    harness.reopen()
    harness.ask("sync")
    harness.receiver.poison = frozenset(sorted(harness.receiver.there)[:5])
    harness.runner.replay(None, None)
    while harness.engine.run_once():
        pass
    yield harness
    harness.engine.close()


def test_list_of_dead_letters(harness: EngineHarness) -> None:
    """Each has two lines: its sink, ID, time and attempts, and the reason. The last line tells what to do."""
    answer = harness.ask("dead_letters_list")
    assert answer.status is ExitStatus.DONE.value
    first, reasons = answer.lines[:-1:2], answer.lines[1:-1:2]
    assert {line.split("  ")[1] for line in first} == harness.receiver.poison
    assert all(line.startswith("shelf  ") and line.endswith("tried 1 time") for line in first)
    assert reasons == ("    poison",) * 5
    assert answer.lines[-1].startswith("Send those of shelf again: `tconnectsync dead-letters retry shelf`.")
    assert harness.ask("dead_letters_list", sink="shelf") == answer


def test_list_is_short(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer has a limited number of them, the oldest, and says how many more there are."""
    monkeypatch.setattr(sync, "LISTED", 3)
    whole = harness.ask("dead_letters_list")
    assert whole.lines[-2] == "and 2 newer dead letters"
    oldest = sorted(harness.receiver.there[id_].at for id_ in harness.receiver.poison)[:3]
    assert [line.split(" of ")[1].split(",")[0] for line in whole.lines[:-2:2]] == [
        f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in oldest
    ]


def test_list_without_dead_letters(tmp_path: Path) -> None:
    """Without any it says so; a sink that is off is an error."""
    harness = EngineHarness(tmp_path)
    harness.reopen()
    assert harness.ask("dead_letters_list").lines == ("There are no dead letters: nothing was refused.",)
    assert harness.ask("dead_letters_list", sink="other").status == ExitStatus.USAGE.value
    harness.engine.close()
