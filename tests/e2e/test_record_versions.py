"""The same records again, more or less complete, or read by a newer decoder."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest

from tconnectsync_simulator.pump.pump import simulate
from tests.e2e.simulated_home import BEGIN, DAY, differences, plan_of, simulated_home
from tests.support.cloud_faults import CloudFault

HALF = CloudFault(path="pump-logs", drop=frozenset({"insulinDelivered", "deliveredTotal", "commandedRate"}))


def test_partial_answer_then_whole(tmp_path: Path) -> None:
    """A partial answer is completed by a whole one, and never the other way round.

    The same records, first without what was delivered and then whole; or whole, and then without.
    """
    pump = simulate(plan_of(51, days=5))
    ends = []
    for number, order in enumerate((["half", "good"], ["good", "half"], ["good", "good"])):
        with simulated_home(tmp_path / str(number), pump, now=BEGIN + 6 * DAY) as home:
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

    What it reads differently changes old documents in place, and needs the user's consent if they are many.
    """
    from tconnectsync_tandem.source import TandemSource

    pump = simulate(plan_of(52))
    with simulated_home(tmp_path, pump, now=BEGIN + 6 * DAY, history_days=4) as home:
        assert home.ask("sync").status == 0
        before, calls = home.treatments(), home.cloud.count("pump-logs")
        decode = TandemSource.decode

        def learned(self: TandemSource, raw: Any) -> tuple[str, Any]:
            kind, body = decode(self, raw)
            if kind == "basal.delivered" and body.rate_source == "algorithm":
                body = msgspec.structs.replace(body, rate_source="temp_rate_and_algorithm")
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
