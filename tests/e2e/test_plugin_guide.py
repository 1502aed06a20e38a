"""The plugin guide is true: its examples work as they are typed, and it has every hook."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tconnectsync.plugin import spec as hookspecs
from tests.e2e.installation import ZONE, Installation, recent_pump
from tests.support.clocks import standing_clock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout
from tests.support.truths import known_at

GUIDE = Path(__file__).parents[2] / "docs" / "engineering" / "plugin-guide.md"


def blocks(language: str, *, source: bool = False) -> list[str]:
    """The code blocks of a language about the sink or about the source, in order."""
    about_sink, _, rest = GUIDE.read_text().partition("\n## A small source\n")
    text = rest.partition("\n## ")[0] if source else about_sink
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def example_with_options() -> str:
    """The first example with the end that the section about options gives it, and the fold with state."""
    first, options, exercise, _ = blocks("python")
    above, hook, below = options.partition("@hookimpl\n")
    return first.partition("@hookimpl\n")[0] + above + exercise + hook + below


def test_example_is_small() -> None:
    """A sink for one kind of event takes 25 lines, with its imports."""
    assert len([line for line in blocks("python")[0].splitlines() if line]) <= 25


def test_examples_pass_their_tests(tmp_path: Path) -> None:
    """The guide's test file passes against the guide's sink and fold."""
    files = {"site_changes": example_with_options(), "test_site_changes": blocks("python")[-1]}
    for name, code in files.items():
        (tmp_path / f"{name}.py").write_text(code)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "failed" not in done.stdout


def test_guide_example_on_demo(tmp_path: Path) -> None:
    """The first example, which has no options, can be tried on the demo's pump by the guide's commands."""
    code, commands = blocks("python")[0], blocks("sh")[0]
    plugins, sites = tmp_path / "plugins", tmp_path / "sites"
    assert "/tmp/site-changes" in code
    plugins.mkdir()
    (plugins / "site_changes.py").write_text(code.replace("/tmp/site-changes", str(sites)))
    lines = commands.replace("/tmp/site-changes", str(sites)).replace("demo --once", "demo --once --days 5")
    shell = f'tconnectsync() {{ "{sys.executable}" -m tconnectsync "$@"; }}; set -e\n{lines}'
    done = subprocess.run(["bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(sites.iterdir())


def test_guide_example_runs(tmp_path: Path) -> None:
    """The guide's example with options and both folds runs as it stands, with its tests beside it."""
    added = "folds=[site_changes, ExerciseFold()], "
    assert added in GUIDE.read_text()
    code, [switch_on] = example_with_options().replace("folds=[site_changes], ", added), blocks("toml")
    plugins, sites = tmp_path / "plugins", tmp_path / "sites"
    plugins.mkdir()
    (plugins / "site_changes.py").write_text(code)
    (plugins / "test_site_changes.py").write_text(blocks("python")[-1])
    top, _, table = switch_on.partition("\n\n")
    top = top.replace("/etc/tconnectsync/plugins", str(plugins))
    table = table.replace("/var/lib/tconnectsync/sites", str(sites))
    assert str(plugins) in top
    assert str(sites) in table

    pump = recent_pump(8)
    now = datetime.now(timezone.utc)
    with FaultyTandemCloud([pump], standing_clock()) as cloud, SimulatedNightscout() as site:
        home = Installation(
            tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=7, more=table, starts_processes=True
        )
        path = home.folder / "config.toml"
        path.write_text(f"{top}\n{path.read_text()}")

        listed = home.run("plugins").stdout
        assert "site_changes" in listed
        assert "sink site-changes" in listed
        assert f"good  {sites}" in home.run("check").stdout

        shown = [json.loads(line) for line in home.run("sync", "--dry-run").stdout.splitlines()]
        wanted = {each["id"] for each in shown if each["sink"] == "site-changes"}
        assert not sites.exists()

        home.run("sync")
        written = {path.stem: json.loads(path.read_text()) for path in sites.iterdir()}
        assert written.keys() == wanted
        true_times = [fill.at for fill in known_at(pump.truth, now).fills if fill.name == "cannula"]
        true_times = [at for at in true_times if at > now - timedelta(days=6)]
        assert len(true_times) >= 1
        changes = [each for each in written.values() if "prime_u" in each]
        told = [datetime.fromisoformat(each["at"]) for each in changes]
        for at in true_times:
            assert any(abs(at - each) < timedelta(seconds=5) for each in told)
        assert {each["pump"] for each in changes} == {pump.plan.serial}

        for file in sites.iterdir():
            file.unlink()
        assert f"{len(written)} documents" in home.run("replay", "site-changes").stdout
        assert {path.stem: json.loads(path.read_text()) for path in sites.iterdir()} == written


def source_package(folder: Path) -> None:
    """Save the guide's source, its test and its package as the guide says."""
    [code, test], [package, _] = blocks("python", source=True), blocks("toml", source=True)
    folder.mkdir()
    for name, text in {"day_files.py": code, "test_day_files.py": test, "pyproject.toml": package}.items():
        (folder / name).write_text(text)


def test_source_passes_its_contract(tmp_path: Path) -> None:
    """The guide's source passes the guide's test, which has the contract."""
    source_package(tmp_path / "day-files")
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-W", "error", "day-files"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b1\d passed", done.stdout), done.stdout


def test_source_package_runs(tmp_path: Path) -> None:
    """The guide's package is installed by the guide's command, and its source fills the file sink."""
    source_package(tmp_path / "day-files")
    [install, attempt], [_, tables] = blocks("sh", source=True), blocks("toml", source=True)
    place = "/tmp/day-files-try"
    (tmp_path / "try.toml").write_text(tables.replace(place, str(tmp_path / "try")))
    (command,) = [line for line in install.splitlines() if "./day-files" in line]
    lines = [
        f'tconnectsync() {{ "{sys.executable}" -m tconnectsync "$@"; }}',
        f'pip() {{ "{sys.executable}" -m pip "$@"; }}',
    ]
    shell = "\n".join([*lines, "set -e", command, attempt.replace(place, str(tmp_path / "try"))])
    installed = str(tmp_path / "site")
    # no network, and nothing is installed beside the tests' own packages; pip reads PIP_NO_BUILD_ISOLATION=0 as "no isolation"
    settings = {"PIP_TARGET": installed, "PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0"}
    plain = {name: value for name, value in os.environ.items() if not name.startswith("TCONNECTSYNC_")}
    environment = {**plain, **settings, "PYTHONPATH": installed}
    done = subprocess.run(
        ["bash", "-c", shell], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "day_files  (day_files)\n    source day-files" in done.stdout
    assert "good  day-files: the newest day is 2026-01-14" in done.stdout
    (file,) = (tmp_path / "try" / "files").iterdir()
    written = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(each["time"][:16], each["rate_u_per_h"]) for each in written] == [
        ("2026-01-14T07:00", 0.5),
        ("2026-01-14T08:00", 0.75),
    ]


def hooks() -> list[str]:
    return sorted(name for name in vars(hookspecs) if name.startswith("tconnectsync_"))


def test_guide_hooks_exist() -> None:
    """There are hooks."""
    assert len(hooks()) >= 4


@pytest.mark.parametrize("name", hooks())
def test_guide_hook_signatures(name: str) -> None:
    """Every hook is in the guide with its exact signature."""
    signature = inspect.signature(getattr(hookspecs, name))
    parameters = ", ".join(f"{each.name}: {each.annotation}" for each in signature.parameters.values())
    assert f"| `{name}({parameters}) -> {signature.return_annotation}` |" in GUIDE.read_text()


def test_guide_names_no_missing_hook() -> None:
    """The guide names no hook that does not exist."""
    assert set(re.findall(r"`(tconnectsync_\w+)\(", GUIDE.read_text())) == set(hooks())
