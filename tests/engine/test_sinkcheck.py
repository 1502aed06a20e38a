"""``check`` names a sink that has stopped, whatever the site answers today."""

from __future__ import annotations

import pytest

from tconnectsync import CredentialsRefused, SiteConflict
from tconnectsync.queries.sink_check import sink_findings
from tests.engine.harness import EngineHarness


def test_a_sink_that_delivers_or_never_ran_is_not_named(harness: EngineHarness) -> None:
    assert list(sink_findings(harness.folder, "another")) == []
    harness.ask("sync")
    assert list(sink_findings(harness.folder, "shelf")) == []


@pytest.mark.parametrize("state", ["halted", "refused"])
def test_a_sink_that_has_stopped_is_named_with_what_waits_and_the_next_command(
    harness: EngineHarness, state: str
) -> None:
    if state == "halted":
        harness.receiver.hold = SiteConflict(reason="inhabited", remedy="Run `tconnectsync adopt SINK`.")
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
