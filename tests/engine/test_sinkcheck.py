"""``check`` names a sink that has stopped, whatever the site answers today."""

from __future__ import annotations

import pytest

from tconnectsync import CredentialsRefused, SiteConflict
from tconnectsync.queries.sink_check import sink_findings
from tests.engine.harness import World


def test_a_sink_that_delivers_or_never_ran_is_not_named(world: World) -> None:
    assert list(sink_findings(world.folder, "another")) == []
    world.ask("sync")
    assert list(sink_findings(world.folder, "shelf")) == []


@pytest.mark.parametrize("state", ["halted", "refused"])
def test_a_sink_that_has_stopped_is_named_with_what_waits_and_the_next_command(world: World, state: str) -> None:
    if state == "halted":
        world.shelf.hold = SiteConflict(reason="inhabited", remedy="Run `tconnectsync adopt SINK`.")
    else:
        world.shelf.trouble_delivering = CredentialsRefused("refused the secret", remedy="Check the secret.")
    for _ in range(2):
        world.ask("sync")
        world.clock.sleep(120)
    (finding,) = sink_findings(world.folder, "shelf")
    assert not finding.good
    assert "shelf" in finding.what
    assert "25 documents" in finding.what
    assert ("inhabited" if state == "halted" else "refused the secret") in finding.what
    assert f"`tconnectsync {'adopt' if state == 'halted' else 'resume'} shelf`" in (finding.remedy or "")
