"""``tconnectsync setup`` as root: the service's files, their modes, and what is said if the service cannot be used."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import attrs
import click
import pytest

from tconnectsync.cli.init.template import quoted
from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.setup import atomic_write as file_writing
from tconnectsync.cli.setup import service, steps
from tconnectsync.cli.setup.answer_check import Answers
from tconnectsync.cli.setup.atomic_write import NewFile, write_files
from tconnectsync.cli.setup.first_sync import SyncState, sync_state, wait_for_sync
from tconnectsync.cli.setup.paths import SetupPaths
from tconnectsync.cli.setup.service import NoService, Service, find_service
from tconnectsync.cli.setup.write_config import write_configuration
from tconnectsync.config.load import load_config
from tconnectsync.plugin.manager import load_plugins

ANSWERS = Answers(
    email="a@example.org",
    password="hidden pass",
    region="EU",
    timezone="Europe/Berlin",
    url="https://site.example/",
    secret="site-hidden-1234",
)


@pytest.fixture
def where(tmp_path: Path) -> SetupPaths:
    return SetupPaths(
        config=tmp_path / "etc/tconnectsync/config.toml",
        secrets_folder=tmp_path / "etc/credstore",
        prefix="tconnectsync.",
        data_dir=tmp_path / "data",
        service=True,
    )


@pytest.fixture
def invocation(tmp_path: Path) -> Invocation:
    return Invocation(environ={"HOME": str(tmp_path)}, system_file=tmp_path / "none", plugins=load_plugins())


def fake_systemctl(folder: Path, script: str) -> str:
    path = folder / "systemctl"
    path.write_text(f'#!/bin/sh\necho "$*" >> {folder / "asked"}\n{script}\n')
    path.chmod(0o755)
    return str(path)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_file_modes(where: SetupPaths, invocation: Invocation) -> None:
    """Everybody can read the configuration, only its owner the secrets."""
    before = os.umask(0o077)
    try:
        write_configuration(invocation, where, ANSWERS)
    finally:
        os.umask(before)
    assert (mode(where.config.parent), mode(where.config)) == (0o755, 0o644)
    assert mode(where.secrets_folder) == 0o700
    assert {path.name: mode(path) for path in where.secrets_folder.iterdir()} == {
        "tconnectsync.tandem-password": 0o600,
        "tconnectsync.nightscout-api-secret": 0o600,
    }
    assert "hidden" not in where.config.read_text()
    config = load_config(where.config, {}, load_plugins())
    assert config.data_dir == where.data_dir
    assert {secret.reveal() if hasattr(secret, "reveal") else secret for secret in config.secrets()} >= {"hidden pass"}


def test_a_new_secret_replaces_an_old_token(where: SetupPaths, invocation: Invocation) -> None:
    """A credential wins over the file, so an old token would stay in use."""
    where.secrets_folder.mkdir(parents=True)
    where.secret("nightscout-token").write_text("old-0123456789abcdef")
    write_configuration(invocation, where, ANSWERS)
    write_configuration(invocation, where, attrs.evolve(ANSWERS, region="US"))
    assert not where.secret("nightscout-token").exists()
    old = where.config.with_name("config.toml.old")
    assert 'region = "EU"' in old.read_text()
    assert mode(old) == 0o600


def test_a_secret_in_the_services_configuration_is_refused(where: SetupPaths, invocation: Invocation) -> None:
    answers = attrs.evolve(ANSWERS, tables={"web": {"secret": quoted("hidden")}})
    with pytest.raises(click.UsageError, match="_file"):
        write_configuration(invocation, where, answers)
    assert not where.config.exists()
    assert not where.secrets_folder.exists()


def test_a_failure_while_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = file_writing._write

    def full(path: Path, text: str, mode: int) -> None:
        if "second" in path.name:
            raise OSError(28, "No space left on device")
        real(path, text, mode)

    monkeypatch.setattr(file_writing, "_write", full)
    files = [NewFile(path=tmp_path / "new" / name, text="x") for name in ("first", "second")]
    with pytest.raises(OSError, match="No space"):
        write_files(files)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ('[ "$1" != --version ] || echo "systemd 249 (249.11)"', "251"),
        ('[ "$1" != --version ] || echo "systemd 252 (252.39)"; [ "$1" != cat ]', "not installed"),
    ],
)
def test_a_service_that_cannot_be_used_is_explained(
    tmp_path: Path, script: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_systemctl(tmp_path, script)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(service, "_RUNS", tmp_path)
    found = find_service()
    assert isinstance(found, NoService)
    assert told in found.reason


def test_without_systemd_there_is_no_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_RUNS", tmp_path / "none")
    found = find_service()
    assert isinstance(found, NoService)
    assert "systemd" in found.reason


def test_the_service_is_enabled_and_started(tmp_path: Path) -> None:
    assert Service(fake_systemctl(tmp_path, "exit 0")).start() is None
    assert (tmp_path / "asked").read_text().splitlines() == [
        "daemon-reload",
        "enable --quiet tconnectsync.service",
        "restart tconnectsync.service",
    ]


def test_why_it_did_not_start_is_told(tmp_path: Path) -> None:
    trouble = Service(fake_systemctl(tmp_path, '[ "$1" != restart ] || { echo "Job failed" >&2; exit 1; }')).start()
    assert trouble == "Job failed"


def test_who_is_not_root_is_told_to_use_sudo(invocation: Invocation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(click.UsageError, match="sudo tconnectsync setup"):
        steps.choose_paths(invocation, Service("systemctl"), for_user=False)
    own = steps.choose_paths(invocation, Service("systemctl"), for_user=True)
    assert not own.service
    assert own.config.is_relative_to(invocation.environ["HOME"])


def part(state: str = "ok", **more: object) -> dict[str, object]:
    return {"state": state, "last_fetch": None, "behind": 0, "pending": 0, **more}


@pytest.mark.parametrize(
    ("source", "sink", "state"),
    [
        (part(), part(), SyncState.RUNNING),
        (part(last_fetch="2026-01-01T00:00:00Z"), part(), SyncState.DONE),
        (part(last_fetch="2026-01-01T00:00:00Z"), part(pending=3), SyncState.RUNNING),
        (part(last_fetch="2026-01-01T00:00:00Z"), part(behind=3), SyncState.RUNNING),
        (part(last_fetch="2026-01-01T00:00:00Z"), part("waiting"), SyncState.RUNNING),
        (part(last_fetch="2026-01-01T00:00:00Z"), part("halted", pending=3), SyncState.STOPPED),
        (part("refused"), part(), SyncState.STOPPED),
    ],
)
def test_when_the_first_sync_is_done(source: dict[str, object], sink: dict[str, object], state: SyncState) -> None:
    off = part("off")
    assert sync_state({"sources": {"a": source, "b": off}, "sinks": {"c": sink, "d": off}}) is state


class MovingClock:
    """A clock that moves at each reading."""

    def __init__(self) -> None:
        self.at = 0.0

    def monotonic(self) -> float:
        self.at += 0.1
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


def test_waiting_has_an_end() -> None:
    from datetime import timedelta

    status = {"log": {"positions": 0}, "sources": {"a": part()}, "sinks": {}}
    clock = MovingClock()
    state = wait_for_sync(lambda: status, clock, limit=timedelta(seconds=30), alive=lambda: True)  # type: ignore[arg-type]  # no now()
    assert state is SyncState.RUNNING
    assert 30 <= clock.at < 35
    assert wait_for_sync(lambda: status, clock, limit=timedelta(days=1), alive=lambda: False) is SyncState.ENDED  # type: ignore[arg-type]


def test_a_slow_computer_is_left_to_the_daemon() -> None:
    """Reading the status may take seconds on a small computer; then it is read more rarely."""
    from datetime import timedelta

    clock = MovingClock()
    reads = []

    def read() -> dict[str, object]:
        reads.append(clock.at)
        clock.at += 5
        return {"log": {"positions": 0}, "sources": {"a": part()}, "sinks": {}}

    wait_for_sync(read, clock, limit=timedelta(seconds=100), alive=lambda: True)  # type: ignore[arg-type]  # no now()
    assert len(reads) <= 5
