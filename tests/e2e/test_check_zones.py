"""`check` while the configured time zone is refused: it names the zones that fit the pump's clock."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.installation import Installation, recent_pump
from tests.support.clocks import ShiftedClock
from tests.support.faulty_cloud import FaultyTandemCloud

NEW_YORK = "America/New_York"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Installation]:
    with FaultyTandemCloud([recent_pump(1, zone=NEW_YORK)], ShiftedClock()) as cloud:
        yield Installation(tmp_path / "home", cloud, "http://127.0.0.1:9/", "a secret", NEW_YORK)


def with_zone(home: Installation, line: str, more: str = "") -> str:
    path = home.folder / "config.toml"
    path.write_text(more + re.sub(r"(?m)^timezone = .*$", line, path.read_text(), count=1))
    done = home.run("check", expect=(2,))
    return done.stdout + done.stderr


@pytest.mark.parametrize("line", ['timezone = "GMT-5"', 'timezone = "Europe/Muenchen"', ""])
def test_zones_of_the_pumps_clock_are_named(home: Installation, line: str) -> None:
    told = with_zone(home, line)
    assert f'The pump\'s clock shows the time of "{NEW_YORK}"' in told
    assert "tconnectsync check" in told


def test_nothing_is_asked_while_something_else_is_wrong(home: Installation) -> None:
    told = with_zone(home, 'timezone = "GMT-5"', more='log_level = "loud"\n')
    assert "GMT-5" in told
    assert "pump's clock" not in told
    assert home.cloud.requests == []
