"""Root in another user's folder: it works as the owner, follows no link, and keeps its rights for files that are named."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from tconnectsync.clock import SystemClock
from tconnectsync.errors import RequestRefused
from tconnectsync.eventlog import EventLog, FolderLock, OsFiles
from tconnectsync.folder_owner import become_owner_of, open_own, readable_by_everyone, who_else_may_write
from tconnectsync.outbox import Outbox
from tconnectsync_tandem.options import TandemEndpointOptions

NOBODY = 65534
PLACES = "\n".join(
    f'{each.name} = "http://127.0.0.1:9/"' for each in attrs.fields(TandemEndpointOptions) if each.name != "client_id"
)
ROOT = pytest.mark.skipif(
    os.geteuid() != 0 or not hasattr(os, "setresuid"), reason="only root can become somebody else"
)


def in_a_process(code: str, *words: object) -> str:
    """The output of the code in its own process: a process that became another user cannot go back."""
    lines = f"import os, sys\nfrom pathlib import Path\nfrom tconnectsync.folder_owner import *\nfolder = Path(sys.argv[1])\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", lines, *map(str, words)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A service's folder inside one that only root may enter, as systemd keeps it."""
    inner = tmp_path / "private" / "service"
    inner.mkdir(parents=True)
    os.chown(inner, NOBODY, NOBODY)
    inner.chmod(0o700)
    (tmp_path / "private").chmod(0o700)
    return inner


@ROOT
def test_root_becomes_owner(private: Path) -> None:
    """Root becomes the folder's owner: it reaches that folder, not its neighbours."""
    root_only = private.parent / "root-only"
    root_only.write_text("secret")
    code = """
become_owner_of(folder)
(folder / "made").write_text("x")
print(os.geteuid(), os.getegid(), os.getgroups(), (folder / "made").stat().st_uid)
for what in (lambda: (folder.parent / "new").write_text("x"), lambda: os.open(folder.parent / "root-only", os.O_RDWR)):
    try:
        what()
    except PermissionError:
        print("refused")
with as_caller():
    print(os.geteuid(), (folder.parent / "root-only").read_text())
print(os.geteuid(), sorted(os.listdir(folder)))
"""
    said = in_a_process(code, private).splitlines()
    assert said == [f"{NOBODY} {NOBODY} [{NOBODY}] {NOBODY}", "refused", "refused", "0 secret", f"{NOBODY} ['made']"]


@ROOT
def test_child_stays_owner(private: Path) -> None:
    """A child process cannot become root again."""
    code = """
import subprocess
become_owner_of(folder)
print(subprocess.check_output(["id", "-u"], text=True).strip())
print(subprocess.check_output(["cat", "/proc/self/status"], text=True).split("Uid:")[1].split("\\n")[0].split())
"""
    assert in_a_process(code, private).splitlines() == [str(NOBODY), str([str(NOBODY)] * 4)]


@ROOT
def test_child_reads_and_writes_as_parent(private: Path) -> None:
    """A child process reads what its parent reads and writes no more than that.

    Python itself may be in root's home: the login's signature is checked in a separate process.
    """
    code = """
import subprocess
become_owner_of(folder)
child = "import os, sys; print(os.listdir(sys.argv[1])); open(os.path.join(sys.argv[1], '..', 'x'), 'w')"
done = subprocess.run([sys.executable, "-c", child, str(folder)], capture_output=True, text=True)
print(done.stdout.strip(), "PermissionError" in done.stderr)
"""
    assert in_a_process(code, private) == "[] True"


@ROOT
def test_block_as_owner_ends_as_root(private: Path) -> None:
    """After a block as the owner, the process is root again."""
    code = """
with as_owner_of(folder):
    print(os.geteuid())
print(os.getresuid(), os.getresgid())
"""
    assert in_a_process(code, private).splitlines() == [str(NOBODY), "(0, 0, 0) (0, 0, 0)"]


@ROOT
def test_owner_of_missing_folder(private: Path) -> None:
    """A folder that does not exist yet counts as its parent's."""
    code = "become_owner_of(folder / 'a' / 'b')\nprint(os.geteuid())"
    assert in_a_process(code, private) == str(NOBODY)
    assert in_a_process("become_owner_of(folder)\nprint(os.geteuid())", private.parent) == "0"


@ROOT
def test_roots_files_handed_over(private: Path, tmp_path: Path) -> None:
    """Files that root left behind are handed over, and nothing else."""
    (private / "log").mkdir()
    left = private / "log" / "1"
    left.write_text("x")
    outside = tmp_path / "outside"
    outside.write_text("root's")
    (private / "link").symlink_to(outside)
    os.link(outside, private / "second-name")
    os.mkfifo(private / "pipe")
    in_a_process("become_owner_of(folder)", private)
    assert [each.stat().st_uid for each in (left.parent, left)] == [NOBODY, NOBODY]
    assert (outside.stat().st_uid, outside.read_text()) == (0, "root's")


@ROOT
def test_systemd_link_to_folder(private: Path, tmp_path: Path) -> None:
    """The link that systemd makes to a service's folder counts as that folder.

    /var/lib/tconnectsync leads into /var/lib/private, which is root's alone.
    """
    (private / "left").write_text("root's, from an earlier command")
    (tmp_path / "service").symlink_to("private/service")
    said = in_a_process("become_owner_of(folder)\nprint(os.geteuid(), os.listdir(folder))", tmp_path / "service")
    assert said == f"{NOBODY} ['left']"
    assert (private / "left").stat().st_uid == NOBODY


@ROOT
@pytest.mark.parametrize("command", ["status", "sync", "check", "backup", "import"])
def test_root_command_in_service_folder(private: Path, tmp_path: Path, command: str) -> None:
    """A command run by root works in a service's folder as its owner.

    Through the command line; secrets, the file to import and the backup's place are root's alone.
    """
    settings = tmp_path / "etc"
    settings.mkdir(mode=0o700)
    (settings / "secret").write_text("a long secret")
    (settings / "secret").chmod(0o600)
    (settings / "config.toml").write_text(
        f'timezone = "Europe/Berlin"\ndata_dir = "{private}"\n[sources.tandem]\nemail = "a@example.org"\nregion = "EU"\n'
        f'password_file = "{settings}/secret"\n[sources.tandem.endpoints]\n{PLACES}\n'
        f'[nightscout]\nurl = "http://127.0.0.1:9/"\napi_secret_file = "{settings}/secret"\n'
    )
    with EventLog.open(private, clock=SystemClock(), writable=True, decoders={}):
        pass
    target = {"backup": [str(settings / "b.tar.gz")], "import": [str(settings / "secret")]}.get(command, [])
    done = subprocess.run(
        [sys.executable, "-m", "tconnectsync", "--config", str(settings / "config.toml"), command, *target],
        capture_output=True, text=True, timeout=120, check=False, env={"PATH": os.environ["PATH"], "HOME": "/root"},
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert "permission denied" not in said.lower()
    assert "unexpectedly" not in said
    assert "may not use" not in said
    if command == "import":
        assert "has an unknown format" in said
    if command == "backup":
        assert done.returncode == 0, said
        assert (settings / "b.tar.gz").stat().st_uid == 0
    for folder, _, names in os.walk(private):
        assert {os.lstat(Path(folder, name)).st_uid for name in (*names, "")} == {NOBODY}


# --- which files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lock", "log/00000000000000000001.jsonl", "index.sqlite", "outbox/x.sqlite"])
def test_link_in_folder_refused(tmp_path: Path, name: str) -> None:
    """No link in the folder is followed."""
    victim = tmp_path / "victim"
    victim.write_text("precious\n")
    data = tmp_path / "data"
    path = data / name
    path.parent.mkdir(parents=True)
    path.symlink_to(victim)
    opens: dict[str, Callable[[], object]] = {
        "lock": lambda: FolderLock(data),
        "log": lambda: OsFiles().open_append(path),
        "index.sqlite": lambda: EventLog.open(data, clock=SystemClock(), writable=True, decoders={}),
        "outbox": lambda: Outbox(path),
    }
    with pytest.raises(RequestRefused, match="is a link") as raised:
        opens[name.split("/", maxsplit=1)[0]]()
    assert str(path) in raised.value.message
    assert victim.read_text() == "precious\n"


def test_pipe_refused(tmp_path: Path) -> None:
    """A pipe is refused and blocks nothing."""
    os.mkfifo(tmp_path / "lock")
    with pytest.raises(RequestRefused, match="not a regular file"):
        FolderLock(tmp_path)
    with pytest.raises(RequestRefused, match="not a regular file"):
        OsFiles().read(tmp_path / "lock")


def test_folder_instead_of_file(tmp_path: Path) -> None:
    """A folder in the place of a file is reported with the system's words."""
    with pytest.raises(IsADirectoryError):
        open_own(tmp_path, os.O_RDONLY)
    with pytest.raises(IsADirectoryError):
        open_own(tmp_path, os.O_WRONLY)


def test_files_are_private(tmp_path: Path) -> None:
    """Files are created for their owner only."""
    os.close(open_own(tmp_path / "new", os.O_WRONLY | os.O_CREAT))
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


@ROOT
def test_other_users_file_refused(tmp_path: Path) -> None:
    """A file of another user is refused, with the command that hands it over."""
    path = tmp_path / "index.sqlite"
    path.write_text("")
    os.chown(path, NOBODY, NOBODY)
    with pytest.raises(RequestRefused, match=f"another user.*{NOBODY}") as raised:
        open_own(path, os.O_RDONLY)
    assert "sudo chown" in str(raised.value.remedy)


def test_not_root_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who is not root stays who they are."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    before = os.getresuid()
    become_owner_of(tmp_path)
    assert os.getresuid() == before


# --- what others may change ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "refused"), [(0o755, False), (0o777, True), (0o757, True), (0o700, False)])
def test_code_writable_by_others(tmp_path: Path, mode: int, refused: bool) -> None:
    """Code that other users may write is reported."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    file = folder / "mine.py"
    file.write_text("")
    for each in (folder, file):
        each.chmod(mode)
        assert (who_else_may_write(file) is not None) is refused
        assert f"chmod go-w {each}" in (who_else_may_write(file) or f"chmod go-w {each}")
        each.chmod(0o755)


@ROOT
def test_code_of_other_user(tmp_path: Path) -> None:
    """Code of another user or group is reported."""
    file = tmp_path / "mine.py"
    file.write_text("")
    os.chown(file, 0, NOBODY)
    file.chmod(0o664)
    assert "chmod go-w" in (who_else_may_write(file) or "")
    os.chown(file, NOBODY, 0)
    file.chmod(0o644)
    assert "belongs to another user" in (who_else_may_write(file) or "")


def test_secret_in_private_folder(tmp_path: Path) -> None:
    """A secret in a private folder counts as private."""
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o644)
    tmp_path.chmod(0o700)
    assert not readable_by_everyone(secret)
    assert readable_by_everyone(Path("/etc/passwd"))
    assert not readable_by_everyone(tmp_path / "missing")
