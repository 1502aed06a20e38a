"""A wearer with two pumps through the whole product: they overlap, or one stopped."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from tconnectsync_simulator.pump.pump import simulate
from tests.e2e.simulated_home import BEGIN, DAY, plan_of, simulated_home
from tests.support.site_comparison import compare
from tests.support.truths import merge


def test_overlapping_pumps(tmp_path: Path) -> None:
    """Overlapping pumps are one wearer.

    A new pump is worn for two days, then the old one again, which has still logged its profile meanwhile.
    """
    there, back = BEGIN + 3 * DAY + timedelta(hours=11), BEGIN + 5 * DAY + timedelta(hours=13)
    old = simulate(plan_of(47, serial="1111", worn_until=there, drawer_rate="profile"))
    new = simulate(plan_of(48, serial="2222", worn_from=there, worn_until=back))
    with simulated_home(tmp_path, old, new, now=BEGIN + 5 * DAY + timedelta(hours=2), history_days=4) as home:
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


def test_new_pump_after_a_long_absence(tmp_path: Path) -> None:
    """Nothing ran for longer than ``history_days``, and the pump was replaced meanwhile: no dose is missing."""
    change = BEGIN + 4 * DAY + timedelta(hours=11)
    old = simulate(plan_of(51, serial="1111", worn_until=change, days=5))
    new = simulate(plan_of(52, serial="2222", worn_from=change, days=12))
    with simulated_home(tmp_path, old, new, now=BEGIN + 2 * DAY + timedelta(hours=2), history_days=1) as home:
        newer = home.cloud.caches.pop()  # the account has it from the day when it is put on
        assert home.ask("sync").status == 0
        home.clock.advance(days=8)
        home.cloud.caches.append(newer)
        assert home.ask("sync").status == 0
        window = (BEGIN + 2 * DAY, home.clock.now() - timedelta(hours=8))
        found = compare(
            merge([old.truth, new.truth]), home.site.documents("treatments"), window=window, parts=("boluses", "basal")
        )
        assert found.lines(basal_u=0.2) == []


def test_stopped_pump_and_active_pump(tmp_path: Path) -> None:
    """A pump that stopped does not count as the active one.

    The old pump's last records are days old, and `status` says which one counts.
    """
    change = BEGIN + 3 * DAY + timedelta(hours=11)
    old = simulate(plan_of(49, serial="1111", worn_until=change, days=4))
    new = simulate(plan_of(50, serial="2222", worn_from=change))
    with simulated_home(tmp_path, old, new, now=BEGIN + 6 * DAY + timedelta(hours=2)) as home:
        assert home.ask("sync").status == 0
        pumps = home.status()["sources"]["tandem"]["pumps"]
        assert pumps["1111"]["newest_event"] < "2026-03-20T06" < "2026-03-22" <= pumps["2222"]["newest_event"]
        assert (pumps["1111"]["worn"], pumps["2222"]["worn"]) == (False, True)
        newest = max(home.site.documents("treatments"), key=lambda doc: str(doc["created_at"]))
        assert newest["pump"]["serial"] == "2222"
