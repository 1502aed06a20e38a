"""Remedies name the commands that work for a person of a fleet."""

from __future__ import annotations

import pytest

from tconnectsync import LogCorrupt, Retryable
from tconnectsync_fleet.fleet_words import for_person, told
from tconnectsync_fleet.folder_check import REMEDY
from tconnectsync_fleet.request_keys import request_arguments


@pytest.mark.parametrize(
    ("single", "fleet"),
    [
        ("replay nightscout-treatments", "fleet run anna replay sink=nightscout-treatments"),
        ("resume tandem", "fleet run anna resume sink=tandem"),
        ("verify influxdb --repair", "fleet run anna verify sink=influxdb repair=yes"),
        ("dead-letters retry influxdb", "fleet run anna dead_letters_retry sink=influxdb"),
        ("dead-letters list influxdb", "fleet run anna dead_letters_list sink=influxdb"),
        ("dead-letters list", "fleet run anna dead_letters_list"),
        ("dead-letters drop influxdb ID…", "fleet run anna dead_letters_drop sink=influxdb ids=ID,ID"),
        ("backfill --from 2026-11-20 --to 2026-11-27", "fleet run anna backfill first=2026-11-20 last=2026-11-27"),
        ("backfill --from 2026-11-20", "fleet run anna backfill first=2026-11-20"),
        ("sync", "fleet run anna sync"),
        ("status", "fleet show anna"),
        ("check", "--config FILE check"),
    ],
)
def test_command_for_a_person(single: str, fleet: str) -> None:
    """Every command in a message becomes the fleet's, which takes these keys."""
    line = "Correct the password, then run `tconnectsync {}`, and `tconnectsync {}` again."
    assert for_person(line.format(single, single), "anna") == line.format(fleet, fleet)
    _, _, run = fleet.partition("run anna ")
    if run:
        command, *keys = run.split()
        assert request_arguments(command, keys).keys() <= {"sink", "repair", "first", "last", "ids"}


@pytest.mark.parametrize("line", ["`tconnectsync fleet status` shows it.", "tconnectsync sync", "`tconnectsync syncs`"])
def test_other_words_stay(line: str) -> None:
    """Only whole commands are replaced."""
    assert for_person(line, "anna") == line


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OSError(28, "No space left on device"),
            f"worker w1: [Errno 28] No space left on device. {REMEDY}",
        ),
        (
            OSError(30, "Read-only file system", "/data/x"),
            f"worker w1: [Errno 30] Read-only file system: '/data/x'. {REMEDY}",
        ),
        (TimeoutError("nats: timeout"), "nats: timeout"),
        (Retryable("no answer"), "no answer"),
        (Retryable("no answer.", remedy="Look at the servers."), "no answer. Look at the servers."),
    ],
)
def test_failed_turn_has_its_remedy(error: Exception, words: str) -> None:
    assert told(error, "w1") == words


def test_no_repair_of_a_workers_copy() -> None:
    """It removes records that the servers may still have."""
    words = for_person(told(LogCorrupt("a line is corrupt", path="/data/log", line=7), "w1"), "anna")
    assert words == 'a line is corrupt. What to do: "A corrupt log" in docs/user/fleet-trouble.md.'
