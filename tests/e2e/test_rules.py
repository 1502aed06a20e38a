"""Rules that are easy to get wrong, through the whole product: the real plugins over HTTP, on a simulated clock."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from tconnectsync.eventlog.repair import repair_log
from tconnectsync.plugin.manager import load_plugins
from tconnectsync.queries.verify import verify
from tconnectsync.reconcile.report import ComparisonChunk, ComparisonReport
from tconnectsync_simulator.pump.pump import simulate
from tests.e2e.simulated_installation import BEGIN, DAY, GENERATIONS, differences, plan_of, simulated_installation
from tests.support.cloud_faults import CloudFault, answered
from tests.support.site_comparison import compare
from tests.support.truths import merge

# --- damage ---------------------------------------------------------------------------------------------------------


def flip(data_dir: Path, kind: str, number: int) -> str:
    """Change one byte of the ``number``-th record of a kind; answers its line."""
    mark = f'"kind":"{kind}"'.encode()
    for path in sorted((data_dir / "log").glob("[0-9]*")):
        data = path.read_bytes()
        text = bytearray(gzip.decompress(data) if path.suffix == ".gz" else data)
        places = [at for at in range(len(text)) if text.startswith(mark, at)] if mark in text else []
        if number < len(places):
            at = places[number]
            line = bytes(text[text.rfind(b"\n", 0, at) + 1 : text.index(b"\n", at)])
            text[at + len(mark) + 12] ^= 1
            path.unlink()
            path.with_name(path.name.removesuffix(".gz")).write_bytes(text)
            return line.decode()
        number -= len(places)
    pytest.fail(f"the log has no such {kind}")


def test_corruption_and_repair(tmp_path: Path) -> None:
    """Corruption stops what needs the corrupt part, and a repair brings everything back.

    A rate's record is corrupt, and everything must be folded again: the worst moment for it.
    """
    pump = simulate(plan_of(41))
    with simulated_installation(tmp_path, pump, now=BEGIN + 6 * DAY, history_days=4) as home:
        assert home.ask("sync").status == 0
        before = home.treatments()
        home.running.engine.close()
        data = home.running.folder / "data"
        flip(data, "basal.delivered", 700)
        home.running.open()
        home.wipe("outbox")
        home.clock.sleep(12 * 3600)

        result = home.ask("sync")
        assert result.status == 7
        sinks = home.status()["sinks"]
        assert sinks["nightscout-treatments"]["state"] == "damaged"
        assert "log repair" in sinks["nightscout-treatments"]["remedy"]
        assert home.running.engine.runners["nightscout-pump-events"].fold_runner.blocked.keys() == {
            ("90556643:0", "modes")
        }
        assert sinks["nightscout-iob"]["state"] == "ok"
        now = home.treatments()
        assert {name for name, doc in before.items() if name not in now} == set()
        basal = {name: doc for name, doc in before.items() if doc["eventType"] == "Temp Basal"}
        assert {name: now[name] for name in basal} == basal, "no rate was shortened by what cannot be read"
        newest = max(doc["created_at"] for doc in now.values() if doc["eventType"] != "Temp Basal")
        assert newest > max(doc["created_at"] for doc in before.values() if doc["eventType"] != "Temp Basal")

        home.running.engine.close()
        assert repair_log(data, clock=home.clock).unrepaired == ()
        home.running.open()
        home.cloud.fail(answered(503, path="pump-logs", times=100))
        home.clock.sleep(3600)
        assert home.ask("sync").status == 3
        home.cloud.faults.clear()
        assert before.keys() <= home.treatments().keys()
        home.clock.sleep(3600)
        assert home.ask("sync").status == 0
        assert before.keys() <= home.treatments().keys()
        assert differences(home, pump, begin=BEGIN + 2 * DAY + timedelta(hours=6)) == []
        assert home.status()["sinks"]["nightscout-treatments"]["state"] == "ok"
        calls = home.cloud.count("pump-logs")
        home.clock.sleep(60)
        assert home.ask("sync").status == 0
        assert home.cloud.count("pump-logs") == calls, "once is enough"


def tallied(parts: Iterable[ComparisonChunk]) -> ComparisonReport:
    tally = ComparisonReport()
    for part in parts:
        tally.add(part)
    return tally


def test_verify_of_repaired_log(tmp_path: Path) -> None:
    """``verify`` beside the daemon says of a repaired log what the daemon says.

    Until the repaired days were fetched again, a document there that nothing makes may be one of what was lost.
    """
    sink = "nightscout-treatments"
    with simulated_installation(tmp_path, simulate(plan_of(42)), now=BEGIN + 6 * DAY) as home:
        assert home.ask("sync").status == 0
        home.running.engine.close()
        data = home.running.folder / "data"
        flip(data, "basal.delivered", 700)
        assert repair_log(data, clock=home.clock).unrepaired == ()
        home.running.open()
        [gap] = home.running.engine.events.facts("log.gap")
        stale = next(doc for doc in home.treatments().values() if doc["eventType"] == "Temp Basal")
        stale["identifier"] = "11111111-2222-5333-8444-555555555555"
        stale["created_at"] = f"{gap.body.first_time:%Y-%m-%d}T12:00:00.001Z"
        home.site.put("treatments", stale)
        home.cloud.fail(answered(503, path="pump-logs", times=100))
        for fetched, verdict in ((False, "foreign"), (True, "orphaned")):
            if fetched:
                home.cloud.faults.clear()
                home.clock.sleep(3600)
            assert home.ask("sync").status == (0 if fetched else 3)
            told = tallied(verify(home.running.config, load_plugins(), sink=sink, clock=home.clock))
            engine = home.running.engine
            assert told.lines(sink) == tallied(engine.runners[sink].verifier(engine.streams).run()).lines(sink)
            assert told.counts[verdict] == 1


# --- a wiped disk ---------------------------------------------------------------------------------------------------


@GENERATIONS
def test_wiped_disk_on_nightscout(tmp_path: Path, version: str) -> None:
    """After the disk was wiped, no document is doubled or orphaned.

    Everything is read back; a document that no event makes any more goes, but not before all is fetched.
    """
    pump = simulate(plan_of(42))
    with simulated_installation(tmp_path, pump, now=BEGIN + 6 * DAY, version=version, history_days=4) as home:
        assert home.ask("sync").status == 0
        before = home.held()
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
        assert before.keys() <= home.held().keys(), "half a history takes nothing back"
        home.clock.sleep(1800)
        assert home.ask("sync").status == 0
        after = home.held()
        assert stale["identifier"] not in after
        # the rate that went on was drawn ahead; the uploads of the half hour in between say how long it held
        going_on = max(
            (doc for doc in before.values() if doc.get("eventType") == "Temp Basal"), key=lambda doc: doc["created_at"]
        )
        settled = {name: doc for name, doc in before.items() if doc.get("eventType") and name != going_on["identifier"]}
        assert len(settled) > 800
        assert {name: after[name] for name in settled} == settled
        assert home.site.count("activity") == 1
        assert any(doc.get("notes") == "mine" for doc in home.site.documents("treatments"))
        assert differences(home, pump, begin=BEGIN + 2 * DAY + timedelta(hours=6)) == []


def test_wiped_disk_unreadable_pump(tmp_path: Path) -> None:
    """After a wiped disk, a pump that cannot be read keeps its documents.

    The old pump's days are read back from the site; that its events are not fetched yet is no reason to take them away.
    """
    change = BEGIN + 3 * DAY + timedelta(hours=11)
    old = simulate(plan_of(55, serial="1111", worn_until=change))
    new = simulate(plan_of(56, serial="2222", worn_from=change))
    with simulated_installation(tmp_path, old, new, now=BEGIN + 6 * DAY, history_days=4) as home:
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

    What was read back is put once more; that is no rewrite of the past, however slow the site is.
    """
    pump = simulate(plan_of(43))
    with simulated_installation(tmp_path, pump, now=BEGIN + 7 * DAY, history_days=6) as home:
        home.ask("sync")
        before = home.treatments()
        home.wipe()
        runner = home.running.engine.runners["nightscout-treatments"]
        runner.folding.rewrite_limit = 20
        runner.sender.receiver.batch_size = 10
        home.running.engine.pollers["tandem"].request_poll()
        while len(home.site.requests) < 40 or runner.folding.is_behind():
            home.running.engine.run_once()
        runner.outbox.checkpoints.start_over()
        runner.sender.receiver.batch_size = 500
        assert home.ask("sync").status == 0
        assert runner.health.state == "ok"
        after = home.treatments()
        assert {name: after[name] for name in before} == before


# --- somebody else was there ----------------------------------------------------------------------------------------


def older_bridges_bolus(at: str) -> dict[str, Any]:
    return {
        "eventType": "Combo Bolus", "created_at": at, "insulin": 2.5, "carbs": 30, "notes": "Standard",
        "enteredBy": "Pump (tconnectsync)", "pump_event_id": "4711",
    }  # fmt: skip


def test_older_bridges_boluses_wait(tmp_path: Path) -> None:
    """A site with an older bridge's boluses gets nothing until the user decides."""
    with simulated_installation(tmp_path, simulate(plan_of(44)), now=BEGIN + 6 * DAY) as home:
        note = {"eventType": "Sleep", "insulin": None, "pump_event_id": "4712"}
        at = "2026-03-20T17:00:00Z"
        home.site.put("treatments", older_bridges_bolus(at), older_bridges_bolus(at) | note)
        result = home.ask("sync")
        assert result.status == 6
        words = " ".join(result.lines)
        assert "tconnectsync adopt nightscout-treatments --skip" in words
        assert "already holds 1 treatment of an older bridge" in words
        assert home.treatments() == {}
        assert home.site.count("activity") == 1, "what is no treatment cannot double one"
        assert home.ask("sync").status == 6
        home.clock.sleep(7200)
        home.running.reopen()
        assert home.ask("sync").status == 6
        assert home.treatments() == {}

        assert home.ask("adopt", sink="nightscout-treatments", skip=True).status == 0
        kinds = {doc["eventType"] for doc in home.treatments().values()}
        assert {"Temp Basal", "Meal Bolus"} <= kinds
        assert "Site Change" not in kinds, "the other sink still waits"
        assert home.ask("adopt", sink="nightscout-pump-events", skip=True).status == 0
        assert home.ask("sync").status == 0
        assert any(doc.get("pump_event_id") == "4711" for doc in home.site.documents("treatments"))


def test_backfill_into_older_bridges_time(tmp_path: Path) -> None:
    """A backfill into an older bridge's time waits too.

    The first delivery was to days without any; the days before them are another matter.
    """
    with simulated_installation(tmp_path, simulate(plan_of(45)), now=BEGIN + 7 * DAY, history_days=2) as home:
        home.site.put("treatments", older_bridges_bolus("2026-03-18T17:00:00Z"))
        assert home.ask("sync").status == 0

        def doses() -> set[str]:
            return {id_ for id_, doc in home.treatments().items() if doc["sink"] == "nightscout-treatments"}

        before, events = doses(), len(home.treatments())
        result = home.ask("backfill", first="2026-03-17", last="2026-03-19")
        assert result.status == 6
        assert doses() == before
        assert len(home.treatments()) > events, "what the other sink tells, nobody else has told there"
        assert home.ask("adopt", sink="nightscout-treatments", skip=True).status == 0
        oldest = min(doc["created_at"] for doc in home.treatments().values())
        assert oldest < "2026-03-18"


@GENERATIONS
def test_backfill_after_wiped_disk(tmp_path: Path, version: str) -> None:
    """A backfill after a wiped disk doubles nothing.

    The days that are fetched later are read back when they come, not only those of the first delivery.
    """
    pump = simulate(plan_of(46))
    with simulated_installation(tmp_path, pump, now=BEGIN + 7 * DAY, version=version, history_days=2) as home:
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


# --- several pumps --------------------------------------------------------------------------------------------------


def test_overlapping_pumps(tmp_path: Path) -> None:
    """Overlapping pumps are one wearer.

    A new pump for two days, then the old one again, which went on logging its profile meanwhile.
    """
    there, back = BEGIN + 3 * DAY + timedelta(hours=11), BEGIN + 5 * DAY + timedelta(hours=13)
    old = simulate(plan_of(47, serial="1111", worn_until=there, drawer_rate="profile"))
    new = simulate(plan_of(48, serial="2222", worn_from=there, worn_until=back))
    with simulated_installation(tmp_path, old, new, now=BEGIN + 5 * DAY + timedelta(hours=2), history_days=4) as home:
        assert home.ask("sync").status == 0
        window = (BEGIN + DAY + timedelta(hours=6), home.clock.now() - timedelta(hours=8))
        found = compare(
            merge([old.truth, new.truth]), home.site.documents("treatments"), window=window, parts=("boluses", "basal")
        )
        assert found.lines(basal_u=0.2) == []
        [activity] = home.site.documents("activity")
        assert activity["pump"]["serial"] == "2222"
        assert {doc["pump"]["serial"] for doc in home.site.documents("devicestatus")} <= {"2222"}
        pumps = home.status()["sources"]["tandem"]["pumps"]
        assert (pumps["1111"]["worn"], pumps["2222"]["worn"]) == (False, True)


def test_stopped_pump_and_active_pump(tmp_path: Path) -> None:
    """A pump that stopped is not taken for the active one.

    The old pump's last words are days old, and `status` says which one counts.
    """
    change = BEGIN + 3 * DAY + timedelta(hours=11)
    old = simulate(plan_of(49, serial="1111", worn_until=change, days=4))
    new = simulate(plan_of(50, serial="2222", worn_from=change))
    with simulated_installation(tmp_path, old, new, now=BEGIN + 6 * DAY + timedelta(hours=2)) as home:
        assert home.ask("sync").status == 0
        pumps = home.status()["sources"]["tandem"]["pumps"]
        assert pumps["1111"]["newest_event"] < "2026-03-20T06" < "2026-03-22" <= pumps["2222"]["newest_event"]
        assert (pumps["1111"]["worn"], pumps["2222"]["worn"]) == (False, True)
        newest = max(home.site.documents("treatments"), key=lambda doc: str(doc["created_at"]))
        assert newest["pump"]["serial"] == "2222"


# --- revisions and decoders -----------------------------------------------------------------------------------------

HALF = CloudFault(path="pump-logs", drop=frozenset({"insulinDelivered", "deliveredTotal", "commandedRate"}))


def test_partial_answer_then_whole(tmp_path: Path) -> None:
    """A partial answer is completed by a whole one, and never the other way round.

    The same records, first without what was delivered and then whole; or whole, and then without.
    """
    pump = simulate(plan_of(51, days=5))
    ends = []
    for number, order in enumerate((["half", "good"], ["good", "half"], ["good", "good"])):
        with simulated_installation(tmp_path / str(number), pump, now=BEGIN + 6 * DAY) as home:
            for answer in order:
                if answer == "half":
                    home.cloud.fail(attrs.evolve(HALF, times=20))
                assert home.ask("backfill", first="2026-03-18", last="2026-03-22").status in (0, 3, 6)
                home.cloud.faults.clear()
                home.clock.sleep(2 * 3600)
            ends.append(home.treatments())
            assert differences(home, pump, begin=BEGIN + 2 * DAY + timedelta(hours=6), hours=20) == []
    assert ends[0] == ends[1] == ends[2]


def test_newer_decoder_reads_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer decoder reads the log again, not the vendor.

    What an update learned changes old documents, each in its place, and only with consent where they are many.
    """
    from tconnectsync_tandem.source import TandemSource

    pump = simulate(plan_of(52))
    with simulated_installation(tmp_path, pump, now=BEGIN + 6 * DAY, history_days=4) as home:
        assert home.ask("sync").status == 0
        before, calls = home.treatments(), home.cloud.count("pump-logs")
        decode = TandemSource.decode

        def learned(self: TandemSource, raw: Any) -> tuple[str, Any]:
            kind, body = decode(self, raw)
            if kind == "basal.delivered" and body.rate_source == "algorithm":
                body = attrs.evolve(body, rate_source="temp_rate_and_algorithm")
            return kind, body

        monkeypatch.setattr(TandemSource, "decode", learned)
        monkeypatch.setattr(TandemSource, "decoder", TandemSource.decoder + 1)
        home.running.reopen()
        home.running.engine.runners["nightscout-treatments"].folding.rewrite_limit = 20
        while home.running.engine.run_once(polling=False):
            pass
        runner = home.running.engine.runners["nightscout-treatments"]
        assert runner.health.state == "braked"
        assert home.treatments() == before
        home.ask("resume", sink="nightscout-treatments")
        after = home.treatments()
        assert after.keys() == before.keys()
        changed = [name for name in before if before[name] != after[name]]
        assert len(changed) > 50
        assert {after[name]["reason"] for name in changed} == {"temp rate and algorithm"}
        assert home.cloud.count("pump-logs") == calls


# --- the pump's clock -----------------------------------------------------------------------------------------------


def test_uploads_correct_zone(tmp_path: Path) -> None:
    """What uploads say about the clock is reported before it is applied, and braked.

    The configured zone is an hour off. Days of uploads say so: first in words, then, with consent, in the documents.
    """
    pump = simulate(plan_of(53, zone="America/Chicago", days=11))
    with simulated_installation(tmp_path, pump, now=BEGIN + 2 * DAY, history_days=1, poll_s=(1800, 3600)) as home:
        home.running.until(BEGIN + 3 * DAY)
        told = None
        while told is None and home.clock.now() < BEGIN + 9 * DAY:
            for runner in home.running.engine.runners.values():
                runner.folding.rewrite_limit = 10
            home.running.until(home.clock.now() + timedelta(minutes=40))
            told = next((words for words in home.running.engine.timelines.messages() if "Uploads show" in words), None)
        assert told is not None
        assert "UTC-05:00, not UTC-04:00" in told
        assert told in home.status()["sources"]["tandem"]["message"]
        before = home.treatments()
        placements = {stream.timeline.clock for stream in home.running.engine.streams.values()}
        home.running.until(home.clock.now() + timedelta(hours=2))
        assert {stream.timeline.clock for stream in home.running.engine.streams.values()} != placements
        runner = home.running.engine.runners["nightscout-treatments"]
        assert runner.health.state == "braked"
        assert home.treatments() == before
        assert "resume nightscout-treatments" in str(home.status()["sinks"]["nightscout-treatments"]["remedy"])
        for sink in ("nightscout-treatments", "nightscout-pump-events"):
            home.ask("resume", sink=sink)
        home.clock.sleep(3600 * 3)
        home.ask("sync")
        assert differences(home, pump, begin=BEGIN + 2 * DAY) == []


# --- what is still missing ------------------------------------------------------------------------------------------


def test_unfinished_bolus_and_old_iob(tmp_path: Path) -> None:
    """A bolus without an end and an old value of insulin on board are reported.

    The phone is off for two days, and of the last bolus nobody knows how it ended.
    """
    pump = simulate(plan_of(54, upload_every_min=60.0, scan_codes=True))
    codes = {20, 280}
    last = max(
        (
            record
            for record in pump.log
            if record.entry["eventCode"] == 20 and record.at_s < (BEGIN + 4 * DAY).timestamp()
        ),
        key=lambda record: record.at_s,
    )
    bolus_id = last.entry["eventProperties"]["bolusId"]
    log = tuple(
        record for record in pump.log
        if not (record.entry["eventCode"] in codes and record.entry["eventProperties"]["bolusId"] == bolus_id)
    )  # fmt: skip
    with simulated_installation(tmp_path, attrs.evolve(pump, log=log), now=BEGIN + 4 * DAY) as home:
        assert home.ask("sync").status == 0
        assert "does not say how it ended" not in home.status()["sinks"]["nightscout-treatments"]["message"]
        assert "no current IOB" in home.status()["sinks"]["nightscout-iob"]["message"]
        home.clock.sleep(1.5 * 86400)
        assert home.ask("sync").status == 0
        words = home.status()["sinks"]["nightscout-treatments"]["message"]
        assert f"bolus {bolus_id} of" in words
        assert "the pump's data does not say how it ended (since 2026-03-1" in words
