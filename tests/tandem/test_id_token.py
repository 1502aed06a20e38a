"""The check of a login's signature: its results, its own process, and its failures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tconnectsync_tandem.api.id_token as module
from tconnectsync import Retryable, SourceChanged
from tconnectsync_tandem.api.id_token import check_in_subprocess
from tests.tandem.fake_cloud import FakeCloudFault, TandemHarness


@pytest.fixture
def checked_in_subprocess(harness: TandemHarness) -> TandemHarness:
    """A harness whose source starts a subprocess for the check, as in production."""
    harness.start_check = check_in_subprocess
    return harness


def test_a_good_token_is_taken(checked_in_subprocess: TandemHarness) -> None:
    checked_in_subprocess.poll()
    assert checked_in_subprocess.log.of("window.fetched") != []


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("forged", r"signature is invalid \(InvalidSignatureError\)"),
        ("issuer", "not issued by"),
        ("unlisted", "a key that Tandem does not list"),
        ("late", "not valid at"),
    ],
)
def test_a_token_that_does_not_hold_is_not_taken(checked_in_subprocess: TandemHarness, how: str, words: str) -> None:
    cloud = checked_in_subprocess.cloud
    if how == "issuer":
        cloud.issuer = "https://elsewhere.example.org"
    elif how == "late":
        cloud.claims = {"exp": checked_in_subprocess.clock.now().timestamp() - 310}
    elif how == "forged":
        change = lambda granted: {**granted, "id_token": _without_its_claims(granted["id_token"])}  # noqa: E731
        cloud.faults.append(FakeCloudFault("/token", change=change))
    else:
        cloud.faults.append(FakeCloudFault("/jwks", body=b'{"keys": [{"kid": "k2"}]}'))
    with pytest.raises(SourceChanged, match=words):
        checked_in_subprocess.poll()


def _without_its_claims(token: str) -> str:
    header, _, signature = token.split(".")
    return f"{header}.e30.{signature}"


SCRIPTS = {
    "dies": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
    "fails": ("raise SystemExit(3)", "status 3"),
    "says nothing": ("", "no result"),
    "says something else": ("print('[1]')", "no result"),
    "says half of it": ("print('{\"claims\": {')", "no result"),
    "never ends": ("import time; time.sleep(600)", "longer than"),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_failed_check_is_no_trust(
    checked_in_subprocess: TandemHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A check that could not run is tried again; the token is not trusted meanwhile."""
    text, words = SCRIPTS[name]
    script = tmp_path / "script.py"
    script.write_text(text)
    monkeypatch.setattr(module, "SCRIPT", script)
    if name == "never ends":
        monkeypatch.setattr(module, "LONGEST_CHECK_S", 0.2)
    with pytest.raises(Retryable, match=f"could not be checked: .*{words}") as caught:
        checked_in_subprocess.poll()
    assert not isinstance(caught.value, SourceChanged)
    assert "tconnectsync check" in (caught.value.remedy or "")
    assert not (checked_in_subprocess.folder / "token.json").exists()
    monkeypatch.undo()
    checked_in_subprocess.poll()
    assert checked_in_subprocess.log.of("window.fetched") != []


def test_a_process_that_cannot_be_started_is_told(
    checked_in_subprocess: TandemHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(Retryable, match=r"could not be checked: .*No such file"):
        checked_in_subprocess.poll()


def test_check_process_shows_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing secret is in the arguments or the environment of the process."""
    script = tmp_path / "script.py"
    script.write_text(
        "import json, os, sys; read = sys.stdin.read()\n"
        "print(json.dumps({'claims': {'words': sys.orig_argv, 'environment': dict(os.environ), 'read': read}}))"
    )
    monkeypatch.setattr(module, "SCRIPT", script)
    with check_in_subprocess() as verify:
        found: Any = verify("a-secret-token", [{"kid": "k1"}], "https://issuer.example.org")["claims"]
    assert "a-secret-token" in found["read"]
    assert "a-secret-token" not in str(found["words"]) + str(found["environment"])


def test_modules_of_the_working_folder_are_not_used(
    checked_in_subprocess: TandemHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jwt.py").write_text("raise SystemExit(9)")
    (tmp_path / "json.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    checked_in_subprocess.poll()
    assert checked_in_subprocess.log.of("window.fetched") != []


def test_check_ignores_group_signals() -> None:
    """``systemctl stop`` and Ctrl-C reach both: the login ends well or is cut short, and leaves no back-off behind."""
    script = (
        "import os, signal, subprocess, sys\n"
        "import tconnectsync_tandem.api.id_token_check as check\n"
        "class Stdin:\n"
        "    def read(self):\n"
        "        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM): os.kill(os.getpid(), number)\n"
        '        return \'{"token": "a", "keys": [], "issuer": "b"}\'\n'
        "sys.stdin = Stdin(); check.verdict = lambda **question: {'claims': question}; check.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *sys.path], capture_output=True, text=True, check=True)
    assert done.stdout == '{"claims": {"token": "a", "keys": [], "issuer": "b"}}'
