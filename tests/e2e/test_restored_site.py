"""A site gets its older self back, from a backup that was made before ``adopt``: no dose is there twice."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from tconnectsync_simulator.pump.pump import simulate
from tests.e2e.simulated_home import BEGIN, DAY, GENERATIONS, plan_of, simulated_home
from tests.e2e.test_adopt import TREATMENTS, inhabited, older_left


@GENERATIONS
@pytest.mark.parametrize("how", ["daily", "verify", "replay"])
def test_site_from_before_adoption(tmp_path: Path, version: str, how: str) -> None:
    """The older bridge's documents are back, and ours are gone: the sink asks before it sends them beside the older ones."""
    with simulated_home(tmp_path, simulate(plan_of(61, days=10)), now=BEGIN + 6 * DAY, version=version) as home:
        inhabited(home)
        home.ask("sync")
        older, backup = len(older_left(home)), home.site.snapshot()
        assert older
        for sink in (TREATMENTS, "nightscout-pump-events"):
            assert home.ask("adopt", sink=sink).status == 0
        home.running.until(home.clock.now() + timedelta(hours=2))
        assert older_left(home) == []
        home.site.restore(backup)
        if how != "daily":
            home.ask(how, sink=TREATMENTS)
        home.running.until(home.clock.now() + timedelta(hours=26))
        assert len(older_left(home)) == older
        since = BEGIN + 6 * DAY - timedelta(hours=1)  # what came later is not there twice
        ours = [document for document in home.treatments().values() if document["created_at"] < since.isoformat()]
        assert ours == []
        sink = home.status()["sinks"][TREATMENTS]
        assert (sink["state"], "adopt" in sink["remedy"]) == ("halted", True)
        assert home.ask("adopt", sink=TREATMENTS).status == 0
        assert home.treatments()


def test_one_deleted_document(tmp_path: Path) -> None:
    """A parent deleted one: before it is sent again, its days are read, and not the whole history, which a slow site may not give."""
    with simulated_home(tmp_path, simulate(plan_of(61, days=12)), now=BEGIN + 10 * DAY, history_days=9) as home:
        home.ask("sync")
        before = home.treatments()
        deleted = max(before.values(), key=lambda document: document["created_at"])
        home.site.remove("treatments", deleted["created_at"])
        assert home.treatments() != before
        asked = len(home.site.requests)
        assert home.ask("verify", sink=TREATMENTS).status == 0
        assert home.treatments() == before
        looks = [parse_qs(each.query) for each in home.site.requests[asked:] if each.method == "GET"]
        first = {look["find[created_at][$gte]"][0] for look in looks if look.get("find[sink]") == [TREATMENTS]}
        assert first
        assert min(first) > (BEGIN + 7 * DAY).isoformat()
