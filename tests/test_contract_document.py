"""The contract in the documents lists what the program has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tconnectsync.cli.root import COMMANDS
from tconnectsync.clock import SystemClock
from tconnectsync.config.load import load_config
from tconnectsync.exit_status import ExitStatus
from tconnectsync.health.states import HealthState
from tconnectsync.plugin.manager import load_plugins
from tconnectsync.queries.status import read_status

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "engineering" / "contract.md").read_text("utf-8")
SETTINGS = {"TCONNECT_EMAIL": "a@example.org", "TCONNECT_PASSWORD": "x", "TCONNECT_REGION": "EU", "NS_URL": "https://site.example", "NS_SECRET": "twelve-letters"}  # fmt: skip


def first_cells(section: str) -> list[str]:
    rows = TEXT.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| (.+?) \|", rows, re.MULTILINE)


def words(text: str) -> set[str]:
    return set(re.findall(r"[\w-]+", " ".join(re.findall(r"`([^`]+)`", text))))


def test_every_configuration_key_is_listed() -> None:
    """The example file has all keys; the contract has them too."""
    example = (ROOT / "config.toml.example").read_text("utf-8")
    keys = set(re.findall(r"^(?:# )?([a-z]\w*) = ", example, re.MULTILINE)) - {"password_file", "secret_file"}
    keys = {key.removesuffix("_file") for key in keys}
    assert keys - words(TEXT.partition("\n## Commands")[0]) == set()


def test_every_command_is_listed() -> None:
    assert {*COMMANDS, "demo", "web"} - words(" ".join(first_cells("Commands"))) == set()


def test_exit_statuses_are_listed() -> None:
    assert [int(cell) for cell in first_cells("Exit statuses") if cell.isdigit()] == [*map(int, ExitStatus), 130]


def test_states_are_listed() -> None:
    cells = first_cells("`status --json`")
    assert [cell.strip("`") for cell in cells[cells.index("state") :] if cell.startswith("`")] == [
        str(state) for state in HealthState
    ]


def test_keys_of_status_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f'timezone = "Europe/Berlin"\ndata_dir = "{tmp_path}/data"\n')
    found: dict[str, Any] = read_status(load_config(path, SETTINGS, load_plugins()), clock=SystemClock())
    section = words(TEXT.partition("\n## `status --json`\n")[2].partition("\n## ")[0])
    parts = [
        found,
        *(found[key] for key in ("disk", "daemon", "log", "alerts", "heartbeat")),
        found["sources"]["tandem"],
        found["sinks"]["nightscout-treatments"],
    ]
    assert {key for part in parts for key in part} - section == set()
