"""A new user's computer: from a bare Debian with systemd to a running, syncing service, then update and removal.

    sudo .venv/bin/python -m tests.e2e.bare_debian [--deb FILE] [--simulated] [--keep]

debootstrap makes the base once and keeps it (``--cache``); systemd-nspawn starts a copy of it. A typist answers the questions. The
cloud is simulated, the Nightscout is real where its programs are fetched. Settings of apt and pip are taken from this machine.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs

from tconnectsync_simulator.cloud.accounts import SimulatedAccount
from tconnectsync_simulator.cloud.tandem import TandemCloud
from tests.e2e.installation import ZONE, recent_pump
from tests.support.clocks import ShiftedClock
from tests.support.real_servers import ServersMissing, cache_folder, find_programs, running_nightscout
from tests.support.simulated_nightscout.app import SimulatedNightscout
from tests.support.terminal import Typist, at_terminal

ROOT = Path(__file__).resolve().parents[2]
CHECKOUT = "/root/tconnectsync"
PACKAGES = "systemd,systemd-sysv,dbus,ca-certificates"
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv*", ".cache", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info", ".work"
)
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
PASSED_ON = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "http_proxy", "https_proxy", "no_proxy")


def show(words: str) -> None:
    print(words, flush=True)


def eventually(condition: Callable[[], object], what: str, *, within_s: float = 180.0) -> None:
    """Wait until it holds; each look starts a process, so not too often."""
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


@contextlib.contextmanager
def some_nightscout(*, simulated: bool, folder: Path) -> Iterator[tuple[str, str]]:
    """Start a real Nightscout where its programs are here, else a simulated one; yield its address and secret."""
    if not simulated:
        try:
            programs = find_programs(cache_folder(os.environ))
        except ServersMissing as error:
            show(f"no real Nightscout: {error}")
        else:
            folder.mkdir()
            with running_nightscout(programs, folder) as site:
                yield site.url, site.secret
            return
    with SimulatedNightscout() as made_up:
        yield made_up.url, made_up.secret


def answer_setup(typist: Typist, url: str, secret: str) -> None:
    """Type what a user types, with one wrong password."""
    account = SimulatedAccount()
    for password in ("a wrong password", account.password):
        typist.answer("account's email", account.email)
        typist.answer("account's password: ", password)
        typist.answer("US or EU", account.region)
        if password != account.password:
            typist.expect("BAD")
            typist.answer("answers again", "y")
    typist.answer("time zone where", ZONE)
    typist.answer("Nightscout's address", url)
    typist.answer("API secret", secret)
    typist.answer("Address for notifications", "")
    typist.expect("Written: ")
    typist.expect("first sync", within_s=120)
    typist.expect("Open your site", within_s=180)
    assert typist.wait() == 0, typist.shown
    assert secret not in typist.shown
    assert account.password not in typist.shown


@attrs.define
class Trial:
    """One new computer and everything that is tried on it."""

    computer: Computer
    cloud: TandemCloud
    url: str
    secret: str
    deb: Path | None

    def timed(self, what: str, begin: float) -> None:
        show(f"{what}: {time.monotonic() - begin:.1f} s")

    def run(self) -> None:
        if self.deb is None:
            self.offline()
        before = self.computer.files()
        begin = time.monotonic()
        if self.deb is None:
            self.install_and_answer()
        else:
            self.install_package()
            self.setup()
        self.timed("FROM NOTHING TO A SYNCING SERVICE", begin)
        self.look()
        self.survive()
        if self.deb is None:
            self.interrupt()
        begin = time.monotonic()
        self.update()
        self.timed("update", begin)
        self.look()
        begin = time.monotonic()
        self.remove(before)
        self.timed("removal", begin)

    def install_and_answer(self) -> None:
        """One command: the installer starts `setup`, which asks."""
        begin = time.monotonic()
        line = f"cd {CHECKOUT} && ./install.sh -- {shlex.join(self.places())}"
        with at_terminal(self.computer.enter("sh", "-c", line)) as typist:
            typist.expect("Installed: ", within_s=900)
            self.timed("installed", begin)
            begin = time.monotonic()
            answer_setup(typist, self.url, self.secret)
        show(typist.shown)
        self.timed("setup, with the answers and the first sync", begin)

    def install_package(self) -> None:
        assert self.deb is not None
        begin = time.monotonic()
        shutil.copy(self.deb, self.computer.folder / "root/tconnectsync.deb")
        self.computer.shell("apt-get -q update && apt-get -q -y install --no-install-recommends /root/tconnectsync.deb")
        self.computer.run("tconnectsync", "--version")
        self.timed("installed", begin)

    def offline(self) -> None:
        """Without internet, the installer says so and leaves nothing."""
        done = subprocess.run(
            self.computer.enter("unshare", "--net", "sh", "-c", f"cd {CHECKOUT} && ./install.sh --no-setup"),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1, done.stdout
        assert "internet" in done.stderr, done.stderr
        self.computer.shell("test ! -e /opt/tconnectsync && test ! -e /usr/local/bin/tconnectsync")

    def places(self) -> list[str]:
        """The options of `setup` that name the simulated cloud."""
        return [f"--set=sources.tandem.endpoints.{name}={value}" for name, value in self.cloud.endpoints.items()]

    def setup(self) -> None:
        begin = time.monotonic()
        with at_terminal(self.computer.enter("tconnectsync", "setup", *self.places())) as typist:
            answer_setup(typist, self.url, self.secret)
        show(typist.shown)
        self.timed("setup, with the answers and the first sync", begin)

    def look(self) -> None:
        """The service runs as its own user, everything is well, and the secrets are root's alone."""
        assert self.computer.run("systemctl", "is-active", "tconnectsync").strip() == "active"
        assert self.computer.run("systemctl", "is-enabled", "tconnectsync").strip() == "enabled"
        pid = self.pid()
        assert self.computer.run("stat", "-c", "%u", f"/proc/{pid}").strip() != "0"
        modes = self.computer.shell(
            "stat -c '%a %U' /etc/credstore /etc/credstore/tconnectsync.* /etc/tconnectsync/config.toml"
        )
        assert modes.split("\n")[:4] == ["700 root", "600 root", "600 root", "644 root"], modes
        eventually(
            lambda: subprocess.run(self.computer.enter("tconnectsync", "status", "--exit-code"), capture_output=True, check=False).returncode == 0,
            "status is good",
        )  # fmt: skip

    def pid(self) -> str:
        return self.computer.run("systemctl", "show", "--property=MainPID", "--value", "tconnectsync").strip()

    def survive(self) -> None:
        """systemd starts a killed daemon again; a second `setup` keeps everything."""
        killed = self.pid()
        self.computer.shell(f"kill -KILL {killed}")
        eventually(lambda: self.pid() not in ("0", killed), "started again")
        done = self.computer.run("tconnectsync", "setup", "--non-interactive")
        assert "configuration already" in done, done

    def interrupt(self) -> None:
        """An update that is killed half-way leaves the old release at work, and the next one cleans up."""
        process = subprocess.Popen(
            self.computer.enter("sh", "-c", f"cd {CHECKOUT} && exec ./install.sh --update"),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        time.sleep(4)
        os.killpg(process.pid, 9)
        process.wait()
        self.computer.run("tconnectsync", "--version")
        assert self.computer.run("systemctl", "is-active", "tconnectsync").strip() == "active"

    def update(self) -> None:
        before = self.pid()
        if self.deb is None:
            said = self.computer.shell(f"cd {CHECKOUT} && ./install.sh --update")
            assert "Installed" in said
            releases = self.computer.shell("ls -d /opt/tconnectsync/release-*").split()
            assert len(releases) == 1, releases
        else:
            self.computer.shell("apt-get -q -y install --reinstall /root/tconnectsync.deb")
        assert self.pid() != before

    def remove(self, before: set[str]) -> None:
        """First with the data kept, then without."""
        if self.deb is None:
            self.computer.shell(f"cd {CHECKOUT} && ./install.sh --uninstall")
        else:
            self.computer.shell("apt-get -q -y remove tconnectsync")
        self.computer.shell("command -v tconnectsync", expect=(1, 127))
        assert self.computer.shell("ls /var/lib/private/tconnectsync/log /etc/tconnectsync/config.toml /etc/credstore")
        if self.deb is None:
            self.computer.shell(f"cd {CHECKOUT} && ./install.sh --uninstall --purge")
        else:
            self.computer.shell("apt-get -q -y purge tconnectsync")
        left = sorted(path for path in self.computer.files() - before if "tconnectsync" in path)
        assert not left, left
        assert not self.computer.run(
            "systemctl", "list-unit-files", "tconnectsync*", "--no-legend", expect=(0, 1)
        ).strip()


def main() -> int:
    parser = argparse.ArgumentParser(description="Try the installation on a bare Debian.")
    parser.add_argument("--cache", type=Path, default=Path("/var/cache/tconnectsync-bare-debian"))
    parser.add_argument("--deb", type=Path, help="install this package instead of running install.sh")
    parser.add_argument("--simulated", action="store_true", help="use a simulated Nightscout")
    parser.add_argument("--keep", action="store_true", help="keep the computer's folder")
    given = parser.parse_args()
    missing = [name for name in ("debootstrap", "systemd-nspawn", "nsenter") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        show(
            f"This needs root, and: {', '.join(missing) or 'nothing else'} (apt install debootstrap systemd-container)"
        )
        return 77
    folder = Path(tempfile.mkdtemp(prefix="tconnectsync-bare-", dir="/var/tmp"))
    try:
        computer = folder / "computer"
        subprocess.run(["cp", "-a", "--reflink=auto", str(make_base(given.cache)), str(computer)], check=True)
        environment = copy_settings(computer)
        shutil.copytree(ROOT, computer / CHECKOUT[1:], ignore=NOT_COPIED, symlinks=True)
        with (
            TandemCloud([recent_pump(31)], ShiftedClock()) as cloud,
            some_nightscout(simulated=given.simulated, folder=folder / "site") as (url, secret),
            booted(computer, environment) as running,
        ):
            Trial(running, cloud, url, secret, given.deb).run()
        show("All of it works.")
    finally:
        if given.keep:
            show(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
