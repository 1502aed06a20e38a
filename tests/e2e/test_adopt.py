"""``adopt``: our documents replace those of an older bridge that describe the same facts."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tconnectsync import Document, StoredDocument
from tconnectsync.errors import RequestRefused
from tconnectsync_nightscout.delivery.legacy_documents import match_legacy
from tconnectsync_simulator.pump.pump import simulate
from tests.e2e.installation import ZONE, Installation, by_identity, recent_pump
from tests.e2e.simulated_home import BEGIN, COLLECTIONS, DAY, GENERATIONS, SimulatedHome, plan_of, simulated_home
from tests.support.clocks import standing_clock
from tests.support.cloud_faults import answered
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout
from tests.support.simulated_nightscout.faults import SiteFault
from tests.support.simulated_nightscout.server import as_json

TREATMENTS, PUMP_EVENTS = "nightscout-treatments", "nightscout-pump-events"
DOSES = {"Bolus", "Meal Bolus", "Correction Bolus", "Combo Bolus", "Carb Correction"}
FOREIGN = (
    {"eventType": "Note", "created_at": "2026-03-20T12:00:00.000Z", "notes": "mine", "enteredBy": "me"},
    {"eventType": "Meal Bolus", "created_at": "2026-03-20T13:00:00.000Z", "insulin": 1.5, "carbs": 20, "enteredBy": "a pen"},
)  # fmt: skip


def as_older(ours: Mapping[str, Any], *, off: timedelta = timedelta(0), numbered: bool = True) -> dict[str, Any]:
    """The same fact as an older bridge wrote it: boluses all of one type, stamped at their end, the record's number beside."""
    at = datetime.fromisoformat(ours["created_at"].replace("Z", "+00:00"))
    dose = ours["eventType"] in DOSES
    found = {
        "eventType": "Combo Bolus" if dose else "Site Change" if "Change" in ours["eventType"] else ours["eventType"],
        "created_at": f"{at.replace(microsecond=0) + timedelta(seconds=97 if dose else 0) + off:%Y-%m-%dT%H:%M:%SZ}",
        "enteredBy": "Pump (tconnectsync)",
    }
    found |= {name: ours[name] for name in ("carbs", "duration", "absolute", "notes") if name in ours}
    if "insulin" in ours or "enteredinsulin" in ours:
        found["insulin"] = ours.get("enteredinsulin", ours.get("insulin"))
    events = ours["pump"]["events"]
    if numbered:
        found["pump_event_id"] = ",".join(str(number) for number in (events[-1:] if dose else events))
    return found


def inhabited(home: SimulatedHome, **how: Any) -> dict[str, dict[str, Any]]:
    """Deliver, then put the clock back: the site holds an older bridge's documents and others', this installation knows nothing."""
    assert home.ask("sync").status == 0
    before = home.treatments()
    older = [as_older(document, **how) for document in before.values()]
    for collection in COLLECTIONS:
        home.site.drop(collection)
    home.site.put("treatments", *older, *FOREIGN)
    home.wipe()
    return before


def older_left(home: SimulatedHome) -> list[dict[str, Any]]:
    return [doc for doc in home.site.documents("treatments") if doc.get("enteredBy") == "Pump (tconnectsync)"]


def foreign_stays(home: SimulatedHome) -> bool:
    held = [{k: v for k, v in doc.items() if k != "_id"} for doc in home.site.documents("treatments")]
    return all(any(wanted.items() <= doc.items() for doc in held) for wanted in FOREIGN)


def one_day(folder: Path, seed: int) -> AbstractContextManager[SimulatedHome]:
    """An installation that fetches one day: hundreds of documents, enough if the number of days does not matter."""
    return simulated_home(folder, simulate(plan_of(seed, days=5)), now=BEGIN + 4 * DAY, history_days=1)


@GENERATIONS
def test_adopt_replaces_older_documents(tmp_path: Path, version: str) -> None:
    """Our documents replace an older bridge's, and nothing else is touched."""
    with simulated_home(tmp_path, simulate(plan_of(61)), now=BEGIN + 6 * DAY, version=version) as home:
        before = inhabited(home)
        assert home.ask("sync").status == 6
        assert home.treatments() == {}
        for sink in (TREATMENTS, PUMP_EVENTS):
            result = home.ask("adopt", sink=sink)
            assert result.status == 0, result.lines
            assert "were replaced by those of tconnectsync" in result.lines[0]
        assert home.treatments() == before
        assert older_left(home) == []
        assert foreign_stays(home)
        assert home.ask("sync").status == 0
        assert home.treatments() == before


def test_adopt_never_doubles_a_dose(tmp_path: Path) -> None:
    """On the way, no dose is there twice."""
    with one_day(tmp_path, 62) as home:
        before = inhabited(home)
        home.ask("sync")
        most = sum("insulin" in doc for doc in home.site.documents("treatments"))
        served = home.site._perform
        seen: list[int] = []

        def watched(*args: Any) -> Any:
            answer = served(*args)
            seen.append(sum("insulin" in doc for doc in home.site.documents("treatments")))
            return answer

        home.site._perform = watched  # type: ignore[method-assign]
        assert home.ask("adopt", sink=TREATMENTS).status == 0
        assert max(seen) <= most
        assert len(seen) > 10
        assert {id_ for id_, doc in before.items() if "insulin" in doc} <= home.treatments().keys()


def test_adopt_interrupted(tmp_path: Path) -> None:
    """It can be interrupted and started again."""
    with one_day(tmp_path, 63) as home:
        before = inhabited(home)
        home.ask("sync")
        many = len(older_left(home))
        home.site.fail(SiteFault(status=503, method="DELETE", times=1000))
        result = home.ask("adopt", sink=TREATMENTS)
        assert result.status == 5
        assert "again" in " ".join(result.lines)
        assert home.treatments() == {}
        assert len(older_left(home)) == many
        home.site.mend()
        home.running.reopen()
        assert home.ask("sync").status == 6
        for sink in (TREATMENTS, PUMP_EVENTS):
            assert home.ask("adopt", sink=sink).status == 0
        assert home.treatments() == before
        assert older_left(home) == []


def test_adopt_where_both_were_kept(tmp_path: Path) -> None:
    """It corrects a site where both were kept.

    The daemon had already delivered beside the older bridge's documents.
    """
    with simulated_home(tmp_path, simulate(plan_of(64)), now=BEGIN + 6 * DAY) as home:
        before = inhabited(home)
        home.ask("sync")
        for sink in (TREATMENTS, PUMP_EVENTS):
            home.ask("adopt", sink=sink, skip=True)
        assert older_left(home) != []
        for sink in (TREATMENTS, PUMP_EVENTS):
            assert home.ask("adopt", sink=sink).status == 0
        assert home.treatments() == before
        assert older_left(home) == []
        assert foreign_stays(home)


def test_adopt_other_time_zone(tmp_path: Path) -> None:
    """Documents that were written in another time zone are found by their record numbers."""
    with one_day(tmp_path, 65) as home:
        before = inhabited(home, off=timedelta(hours=-3))
        home.ask("sync")
        for sink in (TREATMENTS, PUMP_EVENTS):
            assert home.ask("adopt", sink=sink).status == 0
        assert home.treatments() == before
        assert older_left(home) == []


def test_adopt_without_record_numbers(tmp_path: Path) -> None:
    """Without record numbers, amount and time decide; unclear documents wait for the user.

    If it is unclear what some documents describe, nothing is replaced: a deleted document could leave a gap.
    """
    with one_day(tmp_path, 66) as home:
        before = inhabited(home, numbered=False)
        strange = {"eventType": "Combo Bolus", "created_at": "2026-03-20T03:33:00Z", "insulin": 7.77, "enteredBy": "Pump (tconnectsync)"}  # fmt: skip
        held = home.site.documents("treatments")
        other_carbs = next(
            doc for doc in held if doc.get("insulin") and doc.get("carbs") and doc["enteredBy"] != "a pen"
        )
        other_carbs["carbs"] += 5
        home.site.drop("treatments")
        home.site.put("treatments", *held, strange)
        home.ask("sync")
        held = home.site.documents("treatments")
        result = home.ask("adopt", sink=TREATMENTS)
        said = "\n".join(result.lines)
        assert result.status == 6
        assert "2026-03-20 03:33:00 UTC  Combo Bolus" in said
        assert f"tconnectsync adopt {TREATMENTS} --keep-unclear" in said
        assert home.site.documents("treatments") == held
        result = home.ask("adopt", sink=TREATMENTS, keep_unclear=True)
        assert result.status == 0, result.lines
        left = [doc["insulin"] for doc in older_left(home) if "insulin" in doc]
        assert sorted(left) == sorted([7.77, other_carbs["insulin"]])
        assert {id_ for id_, doc in before.items() if doc["eventType"] in DOSES} <= home.treatments().keys()
        assert not any("insulin" in doc for doc in held if doc.get("sink"))


def test_adopt_some_days_before_delivery(tmp_path: Path) -> None:
    """Some days alone are not replaced before ours were delivered.

    Ours would not follow what is deleted on these days, because delivery still waits for the user.
    """
    with simulated_home(tmp_path, simulate(plan_of(66, days=5)), now=BEGIN + 4 * DAY) as home:
        inhabited(home)
        held = home.site.documents("treatments")
        day = f"{BEGIN + DAY:%Y-%m-%d}"
        result = home.ask("adopt", sink=TREATMENTS, first=day, last=day)
        assert result.status == 2
        assert "without --from and --to" in result.lines[1]
        assert home.site.documents("treatments") == held
        home.ask("adopt", sink=TREATMENTS, skip=True)
        assert home.ask("adopt", sink=TREATMENTS, first=day, last=day).status == 0
        left = [doc for doc in older_left(home) if doc["eventType"] in {*DOSES, "Temp Basal"}]
        assert 0 < len(left) < sum(doc["eventType"] in {*DOSES, "Temp Basal"} for doc in held)


def test_adopt_consent_covers_one_look(tmp_path: Path) -> None:
    """The consent ends with the comparison that it was given for.

    Days that are delivered for the first time later are compared again.
    """
    with simulated_home(tmp_path, simulate(plan_of(70, days=6)), now=BEGIN + 5 * DAY, history_days=2) as home:
        before = inhabited(home)
        early = {**as_older(next(doc for doc in before.values() if doc["eventType"] in DOSES)), "pump_event_id": "9"}
        early["created_at"] = f"{BEGIN + DAY:%Y-%m-%dT%H:%M:%SZ}"
        assert home.ask("adopt", sink=TREATMENTS).status == 0
        delivered = home.treatments()
        home.site.put("treatments", early)
        first = f"{BEGIN:%Y-%m-%d}"
        assert home.ask("backfill", first=first, last=first).status == 6
        assert home.treatments() == delivered


def test_adopt_fold_switched_on_later(tmp_path: Path) -> None:
    """A fold that is switched on later waits because of the older bridge's documents."""
    with one_day(tmp_path, 71) as home:
        before = inhabited(home)
        basal = {id_ for id_, doc in before.items() if doc["eventType"] == "Temp Basal"}
        home.running.more = f"[sinks.{TREATMENTS}]\nbasal = false\n"
        home.running.reopen()
        assert home.ask("adopt", sink=TREATMENTS).status == 0
        assert not basal & home.treatments().keys()
        assert any(doc["eventType"] == "Temp Basal" for doc in older_left(home))
        home.running.more = ""
        home.running.reopen()
        assert home.ask("sync").status == 6
        assert not basal & home.treatments().keys()
        assert home.ask("adopt", sink=TREATMENTS).status == 0
        assert basal <= home.treatments().keys()
        assert not any(doc["eventType"] == "Temp Basal" for doc in older_left(home))


def test_adopt_site_deletes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site that deletes nothing is found out before ours are sent.

    It answers as if it had: ours beside theirs would show every dose twice.
    """
    with one_day(tmp_path, 72) as home:
        inhabited(home)
        monkeypatch.setattr(
            "tests.support.simulated_nightscout.app.removed", lambda *_, **__: as_json({"n": 1, "ok": 1})
        )
        result = home.ask("adopt", sink=TREATMENTS)
        assert result.status == 5
        assert "still holds" in result.lines[0]
        assert home.treatments() == {}


def test_adopt_unreadable_log(tmp_path: Path) -> None:
    """Nothing is replaced while a part cannot be read."""
    with one_day(tmp_path, 67) as home:
        inhabited(home)
        home.cloud.fail(answered(503, path="pump-logs", times=1000))
        many = len(older_left(home))
        result = home.ask("adopt", sink=TREATMENTS)
        assert result.status == 3
        assert "nothing was replaced" in " ".join(result.lines)
        assert len(older_left(home)) == many
        assert home.treatments() == {}


def test_adopt_dry_run(tmp_path: Path) -> None:
    """A dry run reports what would be replaced and changes nothing."""
    with FaultyTandemCloud([recent_pump(3)], standing_clock()) as cloud, SimulatedNightscout() as site:
        home = Installation(tmp_path / "first", cloud, site.url, site.secret, ZONE, history_days=2)
        home.run("sync")
        older = [as_older(doc) for doc in site.documents("treatments")]
        for collection in COLLECTIONS:
            site.drop(collection)
        site.put("treatments", *older)
        held = site.count("treatments")  # some may have one key
        fresh = Installation(tmp_path / "fresh", cloud, site.url, site.secret, ZONE, history_days=2)
        said = fresh.run("adopt", TREATMENTS, "--dry-run").stdout
        assert "would be replaced by those of tconnectsync" in said
        assert "Combo Bolus" in said
        assert site.count("treatments") == held
        assert not list((tmp_path / "fresh" / "data").glob("log/*"))


def test_adopt_sink_without_older_documents(tmp_path: Path) -> None:
    """A sink whose facts no older bridge wrote as treatments says so."""
    with simulated_home(tmp_path, simulate(plan_of(68, days=3)), now=BEGIN + 2 * DAY) as home:
        with pytest.raises(RequestRefused) as refused:
            home.ask("adopt", sink="nightscout-iob")
        assert refused.value.exit_status == 2
        assert "--skip" in str(refused.value.remedy)


def test_adopt_sends_lost_ours_first(tmp_path: Path) -> None:
    """If ours was lost at the site, it is sent again before the older copy is deleted.

    Both were kept, and somebody cleaned up the wrong half of the doubles.
    """
    with one_day(tmp_path, 69) as home:
        before = inhabited(home)
        home.ask("sync")
        home.ask("adopt", sink=TREATMENTS, skip=True)
        older = older_left(home)
        home.site.drop("treatments")
        home.site.put("treatments", *older)
        assert home.ask("adopt", sink=TREATMENTS).status == 0
        doses = {id_ for id_, doc in before.items() if doc["eventType"] in {*DOSES, "Temp Basal"}}
        assert doses <= home.treatments().keys()
        assert not any("insulin" in doc for doc in older_left(home))


def test_adopt_at_new_address(tmp_path: Path) -> None:
    """At a new address nothing is replaced before anything was sent there."""
    with one_day(tmp_path, 69) as home:
        assert home.ask("sync").status == 0
        older = [as_older(document) for document in home.treatments().values()]
        with SimulatedNightscout(now=home.clock.now) as other:
            other.put("treatments", *older)
            home.running.site = other
            home.running.reopen()
            result = home.ask("adopt", sink=TREATMENTS)
            assert result.status == 6
            assert "nothing was replaced" in result.lines[0]
            assert other.count("treatments") == len(older)


def test_older_bridge_still_writes(tmp_path: Path) -> None:
    """An older bridge that still writes is noticed.

    It was not stopped, or came back with an update of its machine: every dose is there twice from then on.
    """
    with simulated_home(tmp_path, simulate(plan_of(73, days=4)), now=BEGIN + 2 * DAY, poll_s=(7200, 14400)) as home:
        inhabited(home)
        assert home.ask("adopt", sink=TREATMENTS).status == 0
        newest = max(
            (doc for doc in home.treatments().values() if doc["eventType"] in DOSES),
            key=lambda doc: str(doc["created_at"]),
        )
        home.site.put("treatments", as_older(newest))
        home.running.until(home.clock.now() + DAY * 1.2)
        status = home.status()["sinks"][TREATMENTS]
        assert status["verified"]["twice"] == 1
        assert f"tconnectsync adopt {TREATMENTS}" in status["message"]
        assert home.ask("adopt", sink=TREATMENTS).status == 0
        assert not [doc for doc in older_left(home) if doc["eventType"] in DOSES]
        assert home.ask("verify", sink=TREATMENTS).status == 0


def test_adopt_on_real_nightscout(site: Any, tmp_path: Path) -> None:
    """On a real site, ours replace an older bridge's documents.

    By the commands, before a real Nightscout that keeps one treatment per time and type.
    """
    with FaultyTandemCloud([recent_pump(3)], standing_clock()) as cloud:
        Installation(tmp_path / "first", cloud, site.url, site.secret, ZONE, history_days=2).run("sync")
        before = by_identity([doc for doc in site.documents("treatments") if "identifier" in doc])
        site.drop_all()
        theirs = [as_older(doc) for doc in before.values()]
        today = f"{datetime.now(timezone.utc):%Y-%m-%d}"
        foreign = [doc | {"created_at": today + doc["created_at"][10:]} for doc in FOREIGN]
        site.ask("POST", "treatments", json=[*theirs, *foreign]).raise_for_status()
        held = site.documents("treatments")

        home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=2)
        assert "tconnectsync adopt nightscout-treatments" in home.run("sync", expect=(6,)).stderr
        home.run("adopt", TREATMENTS, "--dry-run")
        assert site.documents("treatments") == held
        for sink in (TREATMENTS, PUMP_EVENTS):
            assert "were replaced by those of tconnectsync" in home.run("adopt", sink).stdout
        after = site.documents("treatments")
        assert by_identity([doc for doc in after if "identifier" in doc]) == before
        assert [doc["enteredBy"] for doc in after if "identifier" not in doc] == ["a pen", "me"]
        home.run("sync")
        home.run("verify", TREATMENTS)
        assert site.documents("treatments") == after


def older_note(at: datetime) -> dict[str, Any]:
    return {
        "eventType": "Sleep",
        "created_at": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "enteredBy": "Pump (tconnectsync)",
        "pump_event_id": "9",
    }


def test_adopt_leftovers_block_nothing(tmp_path: Path) -> None:
    """Documents that adopt left do not stop delivery after a silence or a wiped disk.

    They describe nothing that we deliver and lie between our documents, and the user has seen them.
    """
    gone = BEGIN + 4 * DAY
    pump = simulate(plan_of(74, outages=((gone + timedelta(minutes=20), gone + timedelta(hours=30)),)))
    with simulated_home(tmp_path, pump, now=gone, poll_s=(3600, 7200)) as home:
        inhabited(home)
        home.site.put("treatments", older_note(gone - timedelta(minutes=10)), older_note(gone - timedelta(days=1)))
        for sink in (TREATMENTS, PUMP_EVENTS):
            assert home.ask("adopt", sink=sink).status == 0
        assert len(older_left(home)) == 2
        home.running.until(gone + timedelta(hours=36))
        assert [home.status()["sinks"][sink]["state"] for sink in (TREATMENTS, PUMP_EVENTS)] == ["ok", "ok"]
        held = len(home.treatments())
        home.wipe()
        home.clock.sleep(6 * 3600)
        assert home.ask("sync").status == 0
        assert len(home.treatments()) > held


def test_adopt_numbers_against_numberless_source(tmp_path: Path) -> None:
    """An older bridge's numbers are no proof against a source that has none.

    Records of the older services have no numbers, so amount and time decide.
    """
    at = datetime(2026, 3, 20, 12, tzinfo=timezone.utc)
    ours = Document(
        id="a",
        collection="treatments",
        unique_slot="Meal Bolus",
        at=at,
        content={"insulin": 2.5, "pump": {"serial": "1"}},
    )

    def judged(**more: Any) -> list[bool | None]:
        content = {**older_note(at), "_id": "0" * 24, "eventType": "Combo Bolus", **more}
        copy = StoredDocument(document_id="", collection="treatments", at=at + timedelta(seconds=80), receiver_key="", unique_slot="Combo Bolus", content=content)  # fmt: skip
        return [found.same for found in match_legacy([ours], [copy], set(), kinds=frozenset({"dose"}))]

    assert judged(insulin=2.5) == [True]
    assert judged(insulin=1.5) == [None]
