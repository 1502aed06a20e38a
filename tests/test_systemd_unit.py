"""The systemd units: systemd accepts them, and they have what the daemon needs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tconnectsync_fleet.group import fleet
from tests.alerts.receivers import http_receiver
from tests.support.real_servers import in_ci

FOLDER = Path(__file__).resolve().parent.parent / "systemd"
UNITS = ("tconnectsync.service", "tconnectsync@.service")
WEB = "tconnectsync-web.service"
FAILED = "tconnectsync-failed@.service"
WORKER = "../packaging/fleet/tconnectsync-worker@.service"


@pytest.fixture(params=(*UNITS, WEB, WORKER))
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy that starts an existing program; of a template, an instance."""
    text = (FOLDER / request.param).read_text()
    copy = tmp_path / Path(request.param).name.replace("@.", "@anna.")
    copy.write_text(re.sub(r"/opt/[\w-]+/bin/tconnectsync", shutil.which("true") or sys.executable, text))
    return copy


@pytest.fixture
def analyze() -> str:
    """The program systemd-analyze; in CI it must be there."""
    program = shutil.which("systemd-analyze")
    if program is None:
        if in_ci(os.environ):
            pytest.fail("systemd-analyze is not here", pytrace=False)
        pytest.skip("systemd-analyze is not here")
    return program


def settings(name: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (FOLDER / name).read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


def test_systemd_finds_nothing_wrong(unit: Path, analyze: str) -> None:
    done = subprocess.run([analyze, "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_its_exposure_is_at_most_1_5(unit: Path, analyze: str) -> None:
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", "--threshold=15", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    level = re.search(r"Overall exposure level for .*: ([\d.]+)", done.stdout)
    assert level is not None, done.stderr
    assert float(level[1]) <= 1.5
    assert done.returncode == 0


@pytest.mark.parametrize("name", [*UNITS, WEB, WORKER])
def test_exit_codes_without_restart(name: str) -> None:
    """After a bad configuration or refused credentials."""
    unit = settings(name)
    assert unit["Restart"] == ["on-failure"]
    assert unit["RestartPreventExitStatus"] == ["2 4"]


@pytest.mark.parametrize("name", UNITS)
def test_it_is_watched_and_given_time_to_stop(name: str) -> None:
    unit = settings(name)
    assert unit["Type"] == ["notify"]
    assert unit["WatchdogSec"] == ["10min"]
    assert int(unit["TimeoutStopSec"][0]) > 10


@pytest.mark.parametrize("name", [*UNITS, WEB])
def test_missing_credential(name: str) -> None:
    """The service starts without it."""
    # Only a credential that is looked up by name may be missing; a path must be there.
    loaded = dict(value.split(":") for value in settings(name)["LoadCredential"])
    assert set(loaded) == {
        "tandem-password",
        "nightscout-api-secret",
        "nightscout-token",
        "alert-urls",
        "heartbeat-url",
        "web-secret",
    }
    assert not any(place.startswith("/") for place in loaded.values())


@pytest.mark.parametrize("name", UNITS)
def test_the_data_folder_belongs_to_it_alone(name: str) -> None:
    unit = settings(name)
    assert unit["StateDirectory"] == ["tconnectsync" if name == UNITS[0] else "tconnectsync-%i"]
    assert unit["StateDirectoryMode"] == ["0700"]
    assert unit["UMask"] == ["0077"]
    assert "ReadWritePaths" not in unit


def test_unit_of_the_page() -> None:
    """It reads the daemon's log, and asks the daemon to sync, which refuses another configuration."""
    daemon, page = settings(UNITS[0]), settings(WEB)
    different = {key for key in daemon | page if daemon.get(key) != page.get(key)}
    assert different == {
        "Description", "ExecReload", "ExecStart", "ExecStartPre", "NotifyAccess", "OnFailure", "TimeoutStartSec", "Type",
        "WatchdogSec",
    }  # fmt: skip
    assert page["ExecStart"] == ["/opt/tconnectsync/bin/tconnectsync web"]


def test_the_template_differs_only_where_an_instance_must() -> None:
    single, template = (settings(name) for name in UNITS)
    different = {key for key in single | template if single.get(key) != template.get(key)}
    assert different == {"Description", "Environment", "ExecStartPre", "LoadCredential", "StateDirectory", "User"}


def test_unit_of_a_worker() -> None:
    """A worker of a fleet is as confined as a daemon. It learns in /proc/sys whether its disk was copied with its computer."""
    daemon, worker = settings(UNITS[1]), settings(WORKER)
    different = {key for key in daemon | worker if daemon.get(key) != worker.get(key)}
    assert different == {
        "AssertPathExists", "Description", "Environment", "EnvironmentFile", "ExecReload", "ExecStart", "ExecStartPre",
        "LoadCredential", "NotifyAccess", "OnFailure", "ProcSubset", "RestartSec", "StartLimitIntervalSec", "StateDirectory",
        "TimeoutStartSec", "TimeoutStopSec", "Type", "User", "WatchdogSec",
    }  # fmt: skip
    assert "ProcSubset" not in worker


def test_worker_of_the_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its words are known, and so are the variables in the examples. It is back before its lease ends, however often it fails."""
    unit = settings(WORKER)
    examples = re.findall(r"^# +(?:Environment=)?(\w+)=(.*)$", (FOLDER / WORKER).read_text(), re.MULTILINE)
    variables = dict(each.split("=", 1) for each in unit["Environment"]) | dict(examples)
    assert {"TCONNECTSYNC_FLEET_KEY", "TCONNECTSYNC_FLEET_SERVERS", "TCONNECTSYNC_FLEET_CERT_KEY"} <= variables.keys()
    for variable in variables.keys() - {"OPTIONS", "LoadCredential"}:
        monkeypatch.setenv(variable, variables[variable].replace("%d/cert-key", __file__))
    words = unit["ExecStart"][0].replace("$OPTIONS", variables["OPTIONS"]).split()[3:]
    parent = click.Context(fleet)
    command = fleet.get_command(parent, "worker")
    assert command is not None
    found = command.make_context("worker", words, parent=parent).params
    assert found["folder"] == Path(f"%S/{unit['StateDirectory'][0]}")
    assert found["metrics"] == "127.0.0.1:9111"
    assert found["key"] == Path("%d/fleet-key")
    assert found["servers"] == (variables["TCONNECTSYNC_FLEET_SERVERS"],)
    assert found["cert_key"] == Path(__file__)
    assert (unit["StartLimitIntervalSec"], unit["RestartSec"]) == (["0"], ["1"])


def test_the_unit_that_notifies_of_a_failure_is_whole(tmp_path: Path, analyze: str) -> None:
    """It has no sandbox like the service's: it runs once, with the addresses of the notifications."""
    text = (FOLDER / FAILED).read_text()
    copy = tmp_path / FAILED.replace("@", "@tconnectsync")
    copy.write_text(text.replace("/opt/tconnectsync/bin/apprise", shutil.which("true") or sys.executable))
    done = subprocess.run([analyze, "verify", "--man=no", copy], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", UNITS)
def test_unit_for_a_failed_service(name: str) -> None:
    """%N is the service's name without its ending: the addresses are in the same file as the service's."""
    [started] = settings(name)["OnFailure"]
    assert started == FAILED.replace("@", "@%N")
    service = name.removesuffix(".service").replace("@", "@%i")
    credential = dict(value.split(":") for value in settings(name)["LoadCredential"])["alert-urls"]
    assert credential == f"{service}.alert-urls"
    notifier = settings(FAILED)
    assert notifier["ConditionPathExists"] == ["/etc/credstore/%i.alert-urls"]
    assert " /etc/credstore/%i.alert-urls " in notifier["ExecStart"][0]


def test_failed_service_and_a_wrong_address(tmp_path: Path) -> None:
    """What is no address, or one that Apprise does not know, does not keep the others from being notified."""
    urls = tmp_path / "tconnectsync.alert-urls"
    with http_receiver() as first, http_receiver() as second, http_receiver() as third:
        lines = (
            "\ufeff# old: ntfy://no.invalid/x",
            "ntfy.sh/topic",
            f"{first.ntfy}, {second.ntfy},{third.ntfy}",
            "phone: nosuch://x",
        )
        urls.write_text("\n".join(lines), encoding="utf-8")
        text = settings(FAILED)["ExecStart"][0].replace(
            "/opt/tconnectsync/bin/apprise", str(Path(sys.executable).with_name("apprise"))
        )
        shell = text.replace("/etc/credstore", str(tmp_path)).replace("%i", "tconnectsync").replace("%H", "pi")
        assert "$" not in shell, "systemd would replace it"
        subprocess.run(shlex.split(shell), check=False, capture_output=True, timeout=60)
        for receiver in (first, second, third):
            assert [each["title"] for each in receiver.notifications] == ["tconnectsync has stopped on pi"]
            assert "sudo systemctl restart tconnectsync" in receiver.notifications[0]["message"]


def test_a_service_that_is_started_again_is_no_failure() -> None:
    [condition] = settings(FAILED)["ExecCondition"]
    assert "is-failed --quiet %i.service" in condition
