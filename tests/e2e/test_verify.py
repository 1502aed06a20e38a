"""The site's documents compared with the log and repaired: by command, once a day, and by two machines at one site."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from tconnectsync_simulator.pump.pump import SimulatedPump, simulate
from tests.e2e.engine_in_process import InProcessEngine
from tests.e2e.installation import ZONE, Installation, by_identity, daemon, recent_pump
from tests.e2e.installation import SyncSetup as QuietWorld
from tests.e2e.simulated_home import BEGIN, DAY, GENERATIONS, plan_of, simulated_home
from tests.support.clocks import standing_clock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout
from tests.support.simulated_nightscout.faults import SiteFault

SINKS = ("nightscout-treatments", "nightscout-pump-events", "nightscout-iob")
Document = dict[str, Any]


def without_id(document: Document) -> Document:
    return {name: value for name, value in document.items() if name != "_id"}


def double(site: SimulatedNightscout, document: Document, **changes: Any) -> None:
    """A second copy is there, as when two connections post it at the same moment."""
    site._collections["treatments"].insert(without_id(document) | changes)


def lose(site: SimulatedNightscout, document: Document) -> None:
    """As a database that said 200."""
    site._collections["treatments"]._forget(("object", document["_id"]))


def some(documents: list[Document], event_type: str, number: int) -> Document:
    return [known for known in documents if event_type in known["eventType"] and "identifier" in known][number]


FOREIGN = (
    {"eventType": "Note", "created_at": "2026-03-20T12:00:00.000Z", "notes": "mine", "enteredBy": "me"},
    {"eventType": "Meal Bolus", "created_at": "2026-03-21T12:00:00.000Z", "insulin": 2, "enteredBy": "another app"},
    {"eventType": "Temp Basal", "created_at": "2026-03-21T13:00:00.000Z", "absolute": 1, "duration": 30},
)


def foreign(site: SimulatedNightscout) -> list[Document]:
    return [known for known in site.documents("treatments") if "identifier" not in known]


@GENERATIONS
def test_verify_finds_and_repairs(tmp_path: Path, version: str) -> None:
    """Documents that the site lost, changed or doubled are found and corrected."""
    with simulated_home(tmp_path, simulate(plan_of(61)), now=BEGIN + 6 * DAY, version=version) as home:
        home.site.put("treatments", *FOREIGN)
        home.site.fail(SiteFault(method="POST", path="treatments", lose=3))
        assert home.ask("sync").status == 0
        for sink in SINKS:
            result = home.ask("verify", sink=sink)
            assert result.status == 0
            lost = sink == "nightscout-treatments"
            assert ("1 missing" in result.lines[0]) == lost, "one document of a batch was answered with 200 and is gone"
        good, others = home.own_documents(), foreign(home.site)
        documents = home.site.documents("treatments")
        double(home.site, some(documents, "Correction Bolus", 0))
        altered = some(documents, "Meal Bolus", 1)
        home.site.put("treatments", {**without_id(altered), "insulin": 0.05})
        lose(home.site, some(home.site.documents("treatments"), "Temp Basal", 30))

        result = home.ask("verify", sink="nightscout-treatments")
        words = "\n".join(result.lines)
        assert "1 missing, 1 different, 1 doubled, 3 foreign" in result.lines[0]
        assert f"insulin should be {altered['insulin']} and is 0.05" in words
        assert "another app (1)" in words
        assert result.status == 0
        assert home.own_documents() == good
        assert foreign(home.site) == others, "byte for byte, with their own _id"


@GENERATIONS
def test_verify_stale_second_copy(tmp_path: Path, version: str) -> None:
    """A stale second copy is deleted, and the right one stays.

    Two copies with one identity, of which the first that the site shows is wrong.
    """
    with simulated_home(tmp_path, simulate(plan_of(61)), now=BEGIN + 6 * DAY, version=version) as home:
        home.ask("sync")
        good = home.own_documents()
        bolus = some(home.site.documents("treatments"), "Meal Bolus", 1)
        for wrong_first in (True, False):
            if wrong_first:
                lose(home.site, bolus)
            double(home.site, bolus, insulin=9.0)
            if wrong_first:
                double(home.site, bolus)
            assert home.ask("verify", sink="nightscout-treatments").status == 0
            assert home.own_documents() == good


def test_daily_comparison_repairs(tmp_path: Path) -> None:
    """A day of the daemon corrects it without a command and costs a few requests."""
    with simulated_home(tmp_path, simulate(plan_of(62, days=7)), now=BEGIN + 5 * DAY) as home:
        home.ask("sync")
        home.site.put("treatments", FOREIGN[1])
        others = foreign(home.site)
        bolus = some(home.site.documents("treatments"), "Meal Bolus", 0)
        lose(home.site, bolus)
        before = len(home.site.requests)
        home.running.until(home.clock.now() + 26 * timedelta(hours=1))
        assert home.treatments()[bolus["identifier"]]["insulin"] == bolus["insulin"]
        assert foreign(home.site) == others
        compared = [
            request for request in home.site.requests[before:]
            if request.method == "GET" and "treatments" in request.path and "identifier" not in str(request.query)
        ]  # fmt: skip
        assert len(compared) <= 8
        assert home.status()["sinks"]["nightscout-treatments"]["verified"]["missing"] == 1


def of_other_sinks(known: dict[str, Document]) -> int:
    return sum(doc["sink"] != "nightscout-treatments" for doc in known.values())


STEP = timedelta(minutes=40)
TROUBLED, STEPS = 12, 26
"""Eight hours of faults, then steps of double length until some time after each machine's daily comparison."""


def together(folder: Path, pump: SimulatedPump, machines: int, version: str) -> dict[str, Document]:
    """Our documents on the site after this number of machines have served it with faults, and have compared it."""
    with simulated_home(folder, pump, now=BEGIN + 4 * DAY, version=version, history_days=1) as home:
        home.site.put("treatments", *FOREIGN)
        others = foreign(home.site)
        more = [
            InProcessEngine(folder / f"machine {number}", home.cloud, home.site, home.clock, history_days=1)
            for number in range(1, machines)
        ]
        running = [home.running, *more]
        for step in range(STEPS):
            if step % 2 == 0 and step < TROUBLED:
                home.site.fail(SiteFault(method="POST", path="treatments", double=0))
            if step == TROUBLED:
                home.site.mend()
            for number, machine in enumerate(running if step % 2 else reversed(running)):
                if (step // 4 + number) % 3 == 2 and step < TROUBLED and machines > 1:
                    continue  # one of them is off for hours
                while machine.engine.run_once():
                    pass
            home.clock.sleep((STEP if step < TROUBLED else 2 * STEP).total_seconds())
        for machine in running:
            while machine.engine.run_once(polling=False):
                pass
        for machine in more:
            machine.engine.close()
        assert foreign(home.site) == others
        return home.treatments()


@GENERATIONS
def test_two_machines_at_one_site(tmp_path: Path, version: str) -> None:
    """Two machines at one site leave it as one does.

    They have the same account. What both post at once is doubled, and one is off now and then and knows less than the
    other.
    """
    pump = simulate(plan_of(63, late_share=0.1, late_max_h=12))
    alone = together(tmp_path / "one", pump, 1, version)
    assert len(alone) > 300
    both = together(tmp_path / "two", pump, 2, version)
    assert {name: without_id(known) for name, known in both.items()} == {
        name: without_id(known) for name, known in alone.items()
    }


def test_verify_beside_daemon(tmp_path: Path) -> None:
    """``verify`` works beside the daemon, and the daemon corrects."""
    pump = recent_pump(3)
    with FaultyTandemCloud([pump], standing_clock()) as cloud, SimulatedNightscout() as site:
        home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=2)
        refused = home.run("verify", "nightscout-treatments", expect=(2,))
        assert "has not delivered anything yet" in refused.stderr
        assert "Run `tconnectsync sync`." in refused.stderr
        assert "nightscout-cgm is off" in home.run("verify", "nightscout-cgm", expect=(2,)).stderr
        world = QuietWorld(cloud, site, home)
        with daemon(home) as living:
            world.settled(living)
            good = world.treatments()
            assert "documents are as they should be" in home.run("verify", "nightscout-treatments").stdout
            bolus = some(site.documents("treatments"), "Bolus", 1)
            double(site, some(site.documents("treatments"), "Temp Basal", 5))
            lose(site, bolus)

            told = home.run("verify", "nightscout-treatments", expect=(9,)).stdout
            assert "1 missing, 1 doubled" in told
            assert "Run `tconnectsync verify nightscout-treatments --repair`" in told
            listed = home.run("verify", "nightscout-treatments", "--json", expect=(9,)).stdout
            *found, counts = map(json.loads, listed.splitlines())
            assert {each["verdict"] for each in found} == {"missing", "doubled"}
            [missing] = [each for each in found if each["verdict"] == "missing"]
            assert (missing["id"], missing["kind"]) == (bolus["identifier"], bolus["eventType"])
            assert (counts["missing"], counts["doubled"], counts["good"]) == (
                1,
                1,
                len(good) - 2 - of_other_sinks(good),
            )
            day = datetime.now(timezone.utc).date() + timedelta(days=2)
            assert home.run("verify", "nightscout-treatments", "--from", f"{day}").returncode == 0

            mended = home.run("verify", "nightscout-treatments", "--repair").stdout
            assert "after the repair:" in mended
            assert world.treatments() == good
            home.run("verify", "nightscout-treatments")
        home.run("verify", "nightscout-treatments", "--repair", "--json")


def test_verify_on_real_nightscout(site: Any, tmp_path: Path) -> None:
    """On a real site, lost, changed and doubled documents are corrected, and other programs' stay.

    Every field that a real server adds, drops or rewrites is no difference; every change of a dose is one.
    """
    with FaultyTandemCloud([recent_pump(8)], standing_clock()) as cloud:
        home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=7)
        today = f"{datetime.now(timezone.utc):%Y-%m-%d}"
        theirs = [known | {"created_at": today + known["created_at"][10:]} for known in FOREIGN]
        for known in theirs:
            site.ask("POST", "treatments", json=known).raise_for_status()
        home.run("sync")
        for sink in SINKS:
            home.run("verify", sink)
        documents = site.documents("treatments")
        good = {known["identifier"]: without_id(known) for known in documents if "identifier" in known}
        others = [known for known in documents if "identifier" not in known]
        assert len(others) == len(theirs)

        lost, altered, doubled = (
            some(documents, "Bolus", 3),
            some(documents, "Bolus", 5),
            some(documents, "Temp Basal", 9),
        )
        site.ask("DELETE", f"treatments/{lost['_id']}").raise_for_status()
        site.ask("PUT", "treatments", json={**altered, "insulin": 0.05}).raise_for_status()
        site.ask("PUT", "treatments", json={**doubled, "_id": "0123456789abcdef01234567"}).raise_for_status()
        assert len(site.documents("treatments")) == len(documents)

        told = home.run("verify", "nightscout-treatments", expect=(9,)).stdout
        assert "1 missing, 1 different, 1 doubled, 3 foreign" in told
        assert "and is 0.05" in told
        home.run("verify", "nightscout-treatments", "--repair")
        documents = site.documents("treatments")
        assert by_identity([known for known in documents if "identifier" in known]) == good
        assert [known for known in documents if "identifier" not in known] == others, "byte for byte"
        home.run("verify", "nightscout-treatments")
