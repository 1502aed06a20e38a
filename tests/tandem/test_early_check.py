"""The subprocess that checks a login's signature starts before its question is there, and always ends with the login."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import tconnectsync_tandem.api.id_token as module
from tconnectsync import CredentialsRefused, Retryable, TconnectsyncError
from tconnectsync.daemon.loop import ForcedStop
from tconnectsync_tandem.api.id_token import MOST_EARLY, SignatureCheck, check_in_subprocess
from tests.support.bare_computer import eventually
from tests.support.in_process_check import check_in_process
from tests.tandem.fake_cloud import FakeCloudFault, TandemHarness


@pytest.fixture
def started(harness: TandemHarness, monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The subprocesses that were started; the harness starts one for each login, as in production."""
    found: list[subprocess.Popen[bytes]] = []
    start = module._started

    def listed() -> subprocess.Popen[bytes] | OSError:
        process = start()
        assert not isinstance(process, OSError)
        found.append(process)
        return process

    monkeypatch.setattr(module, "_started", listed)
    harness.start_check = check_in_subprocess
    return found


def test_check_starts_after_the_password(harness: TandemHarness) -> None:
    asked: list[list[str]] = []

    @contextmanager
    def noted() -> Iterator[SignatureCheck]:
        asked.append([path for path, _ in harness.cloud.asked])
        with check_in_process() as verify:
            yield verify

    harness.start_check = noted
    harness.poll()
    assert asked == [["/page", "/accounts/api/login"]]


def test_modules_are_imported_before_the_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = tmp_path / "imported"
    (tmp_path / "jwt.py").write_text(f"open({str(imported)!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    with check_in_subprocess():
        eventually(imported.exists, "the import")


def test_process_has_ended_after_a_login(harness: TandemHarness, started: list[subprocess.Popen[bytes]]) -> None:
    harness.poll()
    assert [process.returncode for process in started] == [0]


def test_refused_password_starts_no_process(harness: TandemHarness, started: list[subprocess.Popen[bytes]]) -> None:
    harness.cloud.password = "another"
    with pytest.raises(CredentialsRefused):
        harness.poll()
    assert started == []


@pytest.mark.parametrize("path", ["/authorize", "/hop", "/token", "/jwks"])
@pytest.mark.parametrize("status", [None, 200, 403, 404, 503])
def test_process_ends_with_a_failed_login(
    harness: TandemHarness, started: list[subprocess.Popen[bytes]], path: str, status: int | None
) -> None:
    """Without an answer, after one that makes no sense, and after refusals."""
    harness.cloud.faults.append(FakeCloudFault(path, status=status, body=b"[]", reset=status is None, times=9))
    with pytest.raises(TconnectsyncError):
        harness.poll()
    assert [process.returncode for process in started] == [-signal.SIGKILL]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ForcedStop, MemoryError])
def test_process_ends_with_an_interrupted_login(
    started: list[subprocess.Popen[bytes]], error: type[BaseException]
) -> None:
    with pytest.raises(error), check_in_subprocess():
        raise error
    assert [process.returncode for process in started] == [-signal.SIGKILL]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ForcedStop])
def test_process_ends_with_an_interrupted_check(
    started: list[subprocess.Popen[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise error

    script = tmp_path / "script.py"
    script.write_text(
        f"import os, signal, sys, time; sys.stdin.read(); os.kill({os.getpid()}, signal.SIGUSR1); time.sleep(600)"
    )
    monkeypatch.setattr(module, "SCRIPT", script)
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(error), check_in_subprocess() as verify:
            verify("a", [], "b")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert [process.returncode for process in started] == [-signal.SIGKILL]


def test_process_ends_by_itself_without_a_question() -> None:
    command = [sys.executable, "-I", "-S", module.SCRIPT, *sys.path]
    done = subprocess.run(command, input=b"", capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_process_ends_if_the_daemon_is_killed(tmp_path: Path) -> None:
    ended, script = tmp_path / "ended", tmp_path / "script.py"
    script.write_text(
        f"import runpy; runpy.run_path({str(module.SCRIPT)!r})['main'](); open({str(ended)!r}, 'w').close()"
    )
    daemon = (
        "import os, pathlib, signal\n"
        "import tconnectsync_tandem.api.id_token as module\n"
        f"module.SCRIPT = pathlib.Path({str(script)!r})\n"
        "with module.check_in_subprocess(): os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", daemon], check=False)
    assert done.returncode == -signal.SIGKILL
    eventually(ended.exists, "the end of the subprocess")


def test_unstarted_process_matters_only_for_the_check(harness: TandemHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    harness.start_check = check_in_subprocess
    harness.cloud.faults.append(FakeCloudFault("/jwks", status=503))
    with pytest.raises(Retryable, match="status 503 for signing keys"):
        harness.poll()
    with pytest.raises(Retryable, match=r"could not be checked: .*No such file"):
        harness.poll()


def test_only_a_few_processes_wait_at_once(harness: TandemHarness, started: list[subprocess.Popen[bytes]]) -> None:
    """While Tandem does not answer, the logins of a fleet do not take memory for a process each. All are checked."""
    for _ in range(2):
        started.clear()
        with ExitStack() as stack:
            for _ in range(MOST_EARLY + 2):
                stack.enter_context(check_in_subprocess())
            assert len(started) == MOST_EARLY
            harness.folder.joinpath("token.json").unlink(missing_ok=True)
            harness.poll(harness.source())
            assert len(started) == MOST_EARLY + 1
            assert started[-1].returncode == 0
        assert all(process.returncode is not None for process in started)
