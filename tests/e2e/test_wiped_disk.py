"""The data folder is lost, and the site has the documents: none is doubled, orphaned or deleted."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs

from tconnectsync.outbox.older_copy import mark_older
from tconnectsync_simulator.pump.pump import simulate
from tests.e2e.simulated_home import BEGIN, DAY, GENERATIONS, differences, plan_of, simulated_home
from tests.support.cloud_faults import CloudFault, answered
from tests.support.site_comparison import compare
from tests.support.truths import merge


@GENERATIONS
def test_wiped_disk_on_nightscout(tmp_path: Path, version: str) -> None:
    """After the disk was wiped, no document is doubled or orphaned.

    Everything is read back; a document that no event makes any more goes, but not before all is fetched.
    """
    pump = simulate(plan_of(42))
    with simulated_home(tmp_path, pump, now=BEGIN + 6 * DAY, version=version, history_days=4) as home:
        assert home.ask("sync").status == 0
        before = home.own_documents()
        sample = next(doc for doc in before.values() if doc.get("eventType") == "Temp Basal" and doc["duration"] > 5)
        stale = {
            **sample,
            "identifier": "11111111-2222-5333-8444-555555555555",
            "created_at": "2026-03-19T12:00:00.001Z",
        }
        foreign = {"eventType": "Note", "created_at": "2026-03-19T12:00:00.000Z", "notes": "mine", "enteredBy": "me"}
        home.site.put("treatments", stale, foreign)

        home.running.engine.close()
        shutil.rmtree(home.running.folder / "data")
        home.cloud.fail(CloudFault(path="pump-logs", reset="after", times=4))
        home.running.open()
        assert home.ask("sync").status == 3
        assert before.keys() <= home.own_documents().keys(), "half a history takes nothing back"
        home.clock.sleep(1800)
        assert home.ask("sync").status == 0
        after = home.own_documents()
        assert stale["identifier"] not in after
        # the current rate was drawn ahead; the uploads of the half hour in between tell how long it lasted
        going_on = max(
            (doc for doc in before.values() if doc.get("eventType") == "Temp Basal"), key=lambda doc: doc["created_at"]
        )
        settled = {name: doc for name, doc in before.items() if doc.get("eventType") and name != going_on["identifier"]}
        assert len(settled) > 800
        assert {name: after[name] for name in settled} == settled
        assert home.site.count("activity") == 1
        assert any(doc.get("notes") == "mine" for doc in home.site.documents("treatments"))
        assert differences(home, pump, begin=BEGIN + 2 * DAY + timedelta(hours=6)) == []


@GENERATIONS
def test_equal_documents_are_not_sent_again(tmp_path: Path, version: str) -> None:
    """After the disk was wiped, the site gets only what differs there: a changed document and a lost one, the second.

    A sink that had to send nothing says so.
    """
    pump = simulate(plan_of(47))
    with simulated_home(tmp_path, pump, now=BEGIN + 6 * DAY, version=version, history_days=4) as home:
        assert home.ask("sync").status == 0
        before = home.own_documents()
        changed, _, *others = home.site.documents("treatments")
        assert len(others) > 800
        home.site.drop("treatments")
        home.site.put("treatments", {**changed, "notes": "changed by hand"}, *others)
        earlier = len(home.site.requests)
        home.wipe()
        assert home.ask("sync").status == 0
        written = [each for each in home.site.requests[earlier:] if each.method != "GET"]
        assert sum(each.documents for each in written) == 2
        had = {name: sink["had_everything"] for name, sink in home.status()["sinks"].items() if sink["cursor"]}
        assert had == {"nightscout-treatments": False, "nightscout-pump-events": True, "nightscout-iob": True}
        assert home.own_documents() == before


@GENERATIONS
def test_older_copy_of_the_outboxes(tmp_path: Path, version: str) -> None:
    """With an older copy of the outboxes, only the days that it does not know are read, and only what differs there is sent."""
    pump = simulate(plan_of(49))
    with simulated_home(tmp_path, pump, now=BEGIN + 6 * DAY, version=version, history_days=4) as home:
        assert home.ask("sync").status == 0
        data, since = home.running.folder / "data", BEGIN + 5 * DAY
        home.running.engine.close()
        shutil.copytree(data / "outbox", tmp_path / "copy")
        home.running.open()
        home.clock.sleep(5 * 3600)
        assert home.ask("sync").status == 0
        before = home.own_documents()

        home.running.engine.close()
        shutil.rmtree(data / "outbox")
        shutil.copytree(tmp_path / "copy", data / "outbox")
        mark_older(data / "outbox", since)
        *left, _lost = sorted(home.site.documents("treatments"), key=lambda doc: doc["created_at"])
        home.site.drop("treatments")
        home.site.put("treatments", *left)
        earlier = len(home.site.requests)
        home.running.open()
        assert home.ask("sync").status == 0
        requests = [each for each in home.site.requests[earlier:] if "treatments" in each.path]
        assert sum(each.documents for each in requests if each.method != "GET") == 1
        reads = [parse_qs(each.query) for each in requests if each.method == "GET"]
        assert {each["find[created_at][$gte]"][0] for each in reads} == {f"{since:%Y-%m-%dT%H:%M:%S}.000Z"}
        assert home.own_documents() == before
        assert home.ask("sync").status == 0
        assert differences(home, pump, begin=BEGIN + 2 * DAY + timedelta(hours=6)) == []


def test_site_that_has_everything_ends_the_trouble(tmp_path: Path) -> None:
    """After a lost outbox the site is away for a while. When it is back and has everything, nothing is sent, and all is well."""
    pump = simulate(plan_of(48))
    with simulated_home(tmp_path, pump, now=BEGIN + 4 * DAY, history_days=2) as home:
        assert home.ask("sync").status == 0
        home.wipe("outbox")
        with home.site.down():
            assert home.ask("sync").status == 5
        runner = home.running.engine.runners["nightscout-treatments"]
        assert runner.health.state == "backing_off"
        home.clock.sleep(1800)
        earlier = len(home.site.requests)
        home.ask("sync")
        assert not [each for each in home.site.requests[earlier:] if each.method != "GET" and "treatments" in each.path]
        assert runner.health.state == "ok"


def test_wiped_disk_unreadable_pump(tmp_path: Path) -> None:
    """After a wiped disk, a pump that cannot be read keeps its documents.

    The old pump's days are read back from the site. They stay, although its events are not fetched yet.
    """
    change = BEGIN + 3 * DAY + timedelta(hours=11)
    old = simulate(plan_of(55, serial="1111", worn_until=change))
    new = simulate(plan_of(56, serial="2222", worn_from=change))
    with simulated_home(tmp_path, old, new, now=BEGIN + 6 * DAY, history_days=4) as home:
        assert home.ask("sync").status == 0
        before = home.treatments()
        home.running.engine.close()
        shutil.rmtree(home.running.folder / "data")
        home.cloud.fail(answered(503, path=old.assignment_id, times=1000))
        home.running.open()
        home.ask("sync")
        assert before.keys() <= home.treatments().keys()
        home.cloud.faults.clear()
        home.clock.sleep(25 * 3600)
        home.ask("sync")
        assert home.ask("sync").status == 0
        after = home.treatments()
        assert {name for name in before if name not in after} == set()
        window = (BEGIN + 2 * DAY + timedelta(hours=6), BEGIN + 6 * DAY - timedelta(hours=3))
        found = compare(
            merge([old.truth, new.truth]), home.site.documents("treatments"), window=window, parts=("boluses", "basal")
        )
        assert found.lines(basal_u=0.2) == []


def test_wiped_disk_needs_no_consent(tmp_path: Path) -> None:
    """A long history that is sent again after a wiped disk needs no consent.

    An earlier release wrote it, so each document is sent again. That is no rewrite of the past, however slow the site is.
    """
    pump = simulate(plan_of(43))
    with simulated_home(tmp_path, pump, now=BEGIN + 7 * DAY, history_days=6) as home:
        home.ask("sync")
        before = home.treatments()
        home.site.put("treatments", *({**doc, "notes": "of an earlier release"} for doc in before.values()))
        home.wipe()
        runner = home.running.engine.runners["nightscout-treatments"]
        runner.folding.rewrite_limit = 20
        runner.sender.receiver.batch_size = 10
        home.running.engine.pollers["tandem"].request_poll()
        while len(home.site.requests) < 40 or runner.folding.is_behind():
            home.running.engine.run_once()
        runner.outbox.checkpoints.start_over()
        runner.folding.fold_all_streams_again()
        runner.sender.receiver.batch_size = 500
        assert home.ask("sync").status == 0
        assert runner.health.state == "ok"
        after = home.treatments()
        assert {name: after[name] for name in before} == before


@GENERATIONS
def test_backfill_after_wiped_disk(tmp_path: Path, version: str) -> None:
    """A backfill after a wiped disk doubles nothing.

    The days that are fetched later are read back when they come, not only those of the first delivery.
    """
    pump = simulate(plan_of(46))
    with simulated_home(tmp_path, pump, now=BEGIN + 7 * DAY, version=version, history_days=2) as home:
        assert home.ask("sync").status == 0
        assert home.ask("backfill", first="2026-03-17", last="2026-03-19").status == 0
        before = home.treatments()
        stale = {**min(before.values(), key=lambda doc: str(doc["created_at"]))}
        stale |= {"identifier": "11111111-2222-5333-8444-555555555555", "created_at": "2026-03-18T12:00:00.001Z"}
        home.wipe()
        assert home.ask("sync").status == 0
        home.site.put("treatments", stale)
        assert home.ask("backfill", first="2026-03-17", last="2026-03-19").status == 0
        assert home.treatments() == before
