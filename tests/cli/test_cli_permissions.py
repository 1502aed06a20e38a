"""Commands of a user who may not use the data folder."""

from __future__ import annotations

from cli_worlds import World


def test_what_may_not_be_read_is_told_with_the_way_out(world: World) -> None:
    world.application.answer = PermissionError(13, "Permission denied", "/var/lib/tconnectsync/lock")
    said = world.run("sync")
    assert said.status == 2
    assert "This user may not use /var/lib/tconnectsync/lock" in said.err
    assert "sudo" in said.err
    assert "Traceback" not in said.err
