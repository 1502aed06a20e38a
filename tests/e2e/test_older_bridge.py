"""A site that has an older bridge's documents: nothing is sent until the user decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tconnectsync_simulator.pump.pump import simulate
from tests.e2e.simulated_home import BEGIN, DAY, plan_of, simulated_home


def older_bridges_bolus(at: str) -> dict[str, Any]:
    return {
        "eventType": "Combo Bolus", "created_at": at, "insulin": 2.5, "carbs": 30, "notes": "Standard",
        "enteredBy": "Pump (tconnectsync)", "pump_event_id": "4711",
    }  # fmt: skip


def test_older_bridges_boluses_wait(tmp_path: Path) -> None:
    """A site with an older bridge's boluses gets nothing until the user decides."""
    with simulated_home(tmp_path, simulate(plan_of(44)), now=BEGIN + 6 * DAY) as home:
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

    The first delivery was to days without any such documents; the days before have some.
    """
    with simulated_home(tmp_path, simulate(plan_of(45)), now=BEGIN + 7 * DAY, history_days=2) as home:
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
