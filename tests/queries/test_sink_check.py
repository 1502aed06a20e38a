"""``check`` names a sink that has stopped, even if the site answers now."""

from __future__ import annotations

import pytest

from tconnectsync import CredentialsRefused, ReceiverConflict
from tconnectsync.queries.sink_check import sink_findings
from tests.support.engine.harness import EngineHarness


def test_check_healthy_sink(harness: EngineHarness) -> None:
    """A sink that delivers or never ran is not named."""
    assert list(sink_findings(harness.folder, "another")) == []
    harness.ask("sync")
    assert list(sink_findings(harness.folder, "shelf")) == []


@pytest.mark.parametrize("state", ["halted", "refused"])
def test_check_stopped_sink(harness: EngineHarness, state: str) -> None:
    """A stopped sink is named, with what waits and the next command."""
    if state == "halted":
        harness.receiver.hold = ReceiverConflict(reason="inhabited", remedy="Run `tconnectsync adopt SINK`.")
    else:
        harness.receiver.trouble_delivering = CredentialsRefused("refused the secret", remedy="Check the secret.")
    for _ in range(2):
        harness.ask("sync")
        harness.clock.sleep(120)
    (finding,) = sink_findings(harness.folder, "shelf")
    assert not finding.good
    assert "shelf" in finding.what
    assert "25 documents" in finding.what
    assert ("inhabited" if state == "halted" else "refused the secret") in finding.what
    assert f"`tconnectsync {'adopt' if state == 'halted' else 'resume'} shelf`" in (finding.remedy or "")
