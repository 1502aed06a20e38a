"""Restoring an old backup: newer data is fetched again, the site's documents are recognised, nothing is doubled or lost."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from tconnectsync.eventlog import FolderLock
from tconnectsync.eventlog.backup import back_up, restore
from tconnectsync.eventlog.check import check_log
from tconnectsync_simulator.pump.pump import simulate
from tests.e2e.simulated_home import BEGIN, DAY, GENERATIONS, differences, plan_of, simulated_home
from tests.support.cloud_faults import answered


@GENERATIONS
@pytest.mark.parametrize("cloud_is_down_first", [False, True])
def test_old_backup_restored(tmp_path: Path, version: str, cloud_is_down_first: bool) -> None:
    """An old backup that is restored ends as if nothing had happened.

    The site is two days ahead of it, and keeps these documents while the cloud cannot be asked.
    """
    pump = simulate(plan_of(43))
    with simulated_home(tmp_path, pump, now=BEGIN + 3 * DAY, version=version, history_days=1) as home:
        assert home.ask("sync").status == 0
        data = home.running.folder / "data"
        backup = back_up(data, tmp_path / "b.tar.gz", clock=home.clock)  # the engine holds the folder and continues
        home.clock.sleep(2 * 86400)
        assert home.ask("sync").status == 0
        before = home.own_documents()

        home.running.engine.close()
        shutil.rmtree(data)
        data.mkdir()
        with FolderLock(data):
            restore(backup.path, data)
        home.running.open()
        assert home.running.engine.events.end == backup.manifest.positions
        if cloud_is_down_first:
            home.cloud.fail(answered(503, path="pumper", times=50))
            assert home.ask("sync").status == 3
            assert home.treatments().keys() >= {id_ for id_, doc in before.items() if "eventType" in doc}
            home.cloud.faults.clear()
            home.clock.sleep(120)
        home.clock.sleep(60)
        assert home.ask("sync").status == 0
        home.clock.sleep(60)
        assert home.ask("sync").status == 0
        held = home.own_documents()
        changed = {
            id_: (doc, held.get(id_)) for id_, doc in before.items() if "eventType" in doc and held.get(id_) != doc
        }
        assert changed.keys() <= _running(before), changed
        assert len(home.site.documents("treatments")) == len(home.treatments())
        assert differences(home, pump, begin=home.clock.now() - timedelta(days=3)) == []
        assert all(line.good for line in check_log(data))


def _running(documents: dict[str, dict[str, object]]) -> set[str]:
    """The basal stretch that had not ended: it may have grown."""
    stretches = [doc for doc in documents.values() if doc.get("eventType") == "Temp Basal"]
    newest = max(stretches, key=lambda doc: str(doc["created_at"]))
    return {str(newest["identifier"])}
