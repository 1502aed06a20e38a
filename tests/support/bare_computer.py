"""A bare Debian with systemd, made with debootstrap and started with systemd-nspawn, to try installations on."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs

PROGRAMS = ("debootstrap", "systemd-nspawn", "nsenter")
PACKAGES = "systemd,systemd-sysv,dbus,ca-certificates"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
PASSED_ON = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "http_proxy", "https_proxy", "no_proxy")
CACHE = Path("/var/cache/tconnectsync-bare-debian")


def what_is_missing() -> str | None:
    """Return why no such computer can be started here; None if it can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        return (
            f"This needs root, and: {', '.join(missing) or 'nothing else'} (apt install debootstrap systemd-container)"
        )
    return None


def show(words: str) -> None:
    print(words, flush=True)


def eventually(condition: Callable[[], object], what: str, *, within_s: float = 180.0) -> None:
    """Wait until the condition holds. Each check starts a process, so there are few."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {within_s} s"
        time.sleep(0.5)


def make_base(cache: Path) -> Path:
    """Make the base with debootstrap, unless it is there; return its folder."""
    base = cache / "bookworm"
    if (base / "complete").exists():
        return base
    shutil.rmtree(base, ignore_errors=True)
    cache.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    mirror = [os.environ["DEBIAN_MIRROR"]] if os.environ.get("DEBIAN_MIRROR") else []
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(base), *mirror]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (base / "complete").touch()
    show(f"base made in {time.monotonic() - begin:.0f} s")
    return base


def copy_settings(folder: Path) -> dict[str, str]:
    """Give the new computer this machine's name servers, certificates, and settings of apt and pip; return its environment."""
    shutil.copy("/etc/resolv.conf", folder / "etc/resolv.conf")
    shutil.copy(CERTIFICATES, folder / CERTIFICATES[1:])
    for path in Path("/etc/apt/apt.conf.d").iterdir():
        if "Acquire::" in path.read_text("utf-8", "replace"):
            shutil.copy(path, folder / "etc/apt/apt.conf.d")
    kept = {name: os.environ[name] for name in PASSED_ON if os.environ.get(name)}
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "TERM": "dumb", "PIP_CERT": CERTIFICATES, **kept}  # fmt: skip


@attrs.define
class Computer:
    """A running Debian. ``enter`` is the command that runs another one in it."""

    folder: Path
    leader: int
    environment: dict[str, str]

    def enter(self, *words: str) -> list[str]:
        settings = [f"{name}={value}" for name, value in self.environment.items()]
        inside = [
            "nsenter",
            f"--target={self.leader}",
            "--mount",
            "--uts",
            "--ipc",
            "--pid",
            "--cgroup",
            "--root",
            "--wd",
        ]
        return [*inside, "env", "-i", *settings, *words]

    def run(self, *words: str, expect: Sequence[int] = (0,)) -> str:
        done = subprocess.run(self.enter(*words), capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode in expect, f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def shell(self, line: str, expect: Sequence[int] = (0,)) -> str:
        return self.run("sh", "-c", line, expect=expect)

    def files(self) -> set[str]:
        """What is on the disk, without what apt and systemd keep for themselves."""
        skipped = "-path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /var/log -o -path /var/cache -o -path /var/lib/apt -o -path /var/lib/systemd -o -path /root"
        return set(self.shell(f"find / -xdev \\( {skipped} \\) -prune -o -print").splitlines())


@contextlib.contextmanager
def booted(folder: Path, environment: dict[str, str]) -> Iterator[Computer]:
    """Start the computer; switch it off at the end."""
    command = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", f"--directory={folder}"]
    log = folder.parent / "boot.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        eventually(lambda: process.poll() is not None or children.read_text().split(), "the new computer starts")
        assert process.poll() is None, log.read_text(errors="replace")
        computer = Computer(folder, int(children.read_text().split()[0]), environment)

        def state() -> str:
            up = computer.enter("systemctl", "is-system-running")
            return subprocess.run(up, capture_output=True, text=True, check=False).stdout.strip()

        eventually(lambda: state() in ("running", "degraded"), "systemd has started")
        yield computer
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
