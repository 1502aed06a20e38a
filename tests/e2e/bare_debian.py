"""A new user's computer: from a bare Debian with systemd to a running, syncing service, then update and removal.

    sudo .venv/bin/python -m tests.e2e.bare_debian [--deb FILE | --build-deb] [--interruptions 10] [--simulated] [--keep]

debootstrap makes the base once and keeps it (``--cache``); systemd-nspawn starts a copy of it. A typist answers the questions. The
cloud is simulated, the Nightscout is real where its programs are fetched. Settings of apt and pip are taken from this machine.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

from tconnectsync_simulator.cloud.accounts import SimulatedAccount
from tests.alerts.receivers import HttpReceiver, http_receiver
from tests.e2e.installation import ZONE, recent_pump
from tests.support.bare_computer import (
    CACHE,
    Computer,
    booted,
    copy_settings,
    eventually,
    make_base,
    show,
    what_is_missing,
)
from tests.support.clocks import ShiftedClock
from tests.support.debian_package import CHECKOUT, OLD_FILE, build_deb, copy_source, make_older
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.real_servers import ServersMissing, cache_folder, find_programs, running_nightscout
from tests.support.simulated_nightscout.app import SimulatedNightscout
from tests.support.terminal import TerminalProgram, at_terminal


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


def answer_setup(typist: TerminalProgram, url: str, secret: str, alerts: str) -> None:
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
    typist.answer("Address for notifications", alerts)
    typist.answer("Did it arrive", "y")
    typist.expect("Written: ")
    typist.expect("complete sync", within_s=120)
    typist.expect("Open your site", within_s=180)
    assert typist.wait() == 0, typist.shown
    assert secret not in typist.shown
    assert account.password not in typist.shown


@attrs.define
class InstallationTrial:
    """One new computer and everything that is tried on it."""

    computer: Computer
    cloud: FaultyTandemCloud
    url: str
    secret: str
    alerts: HttpReceiver
    deb: Path | None
    interruptions: int = 0

    def timed(self, what: str, begin: float) -> None:
        show(f"{what}: {time.monotonic() - begin:.1f} s")

    def run(self) -> None:
        if self.deb is None:
            self.offline()
            self.interrupt_installation(self.interruptions)
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
        self.fail()
        if self.deb is None:
            self.interrupt()
            self.full_disk()
        begin = time.monotonic()
        self.update()
        self.timed("update", begin)
        self.look()
        if self.deb is None:
            self.lose_the_disk()
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
            answer_setup(typist, self.url, self.secret, self.alerts.ntfy)
        show(typist.shown)
        self.timed("setup, with the answers and the first sync", begin)

    def install_package(self) -> None:
        """An older release of the package first; :meth:`update` installs the one that is tried."""
        assert self.deb is not None
        make_older(self.deb, self.computer.folder / "root/older.deb")
        shutil.copy(self.deb, self.computer.folder / "root/tconnectsync.deb")
        begin = time.monotonic()
        self.computer.shell("apt-get -q update && apt-get -q -y install --no-install-recommends /root/older.deb")
        self.computer.run("tconnectsync", "--version")
        self.timed("installed", begin)
        closed = self.computer.shell("find /opt/tconnectsync -type d ! -perm -755")
        assert not closed, f"the service's user cannot enter: {closed}"

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
            answer_setup(typist, self.url, self.secret, self.alerts.ntfy)
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
        assert modes.splitlines() == ["700 root", "600 root", "600 root", "600 root", "644 root"], modes
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

    def fail(self) -> None:
        """A configuration that is broken by hand is notified, because the service cannot start; then it is mended."""
        before = len(self.alerts.notifications)
        path = "/etc/tconnectsync/config.toml"
        self.computer.shell(f"cp -p {path} /root/kept && echo broken >> {path}")
        self.computer.shell("systemctl restart tconnectsync", expect=(1,))

        def stopped() -> list[str]:  # beside it, the one about the kill before may arrive
            return [each["message"] for each in self.alerts.notifications[before:] if "stopped" in each["title"]]

        eventually(lambda: bool(stopped()), "the notification")
        assert "systemctl restart" in stopped()[0], stopped()
        self.computer.shell(f"mv /root/kept {path} && systemctl restart tconnectsync")
        titles = [shown["title"] for shown in self.alerts.notifications]
        show(f"notified: {titles}")

    def interrupt_installation(self, times: int) -> None:
        """An installation that is killed at any moment leaves no command, or one that works; the next one starts over."""
        rng = random.Random(times)
        for moment_s in sorted(rng.uniform(0.5, 50) for _ in range(times)):  # the first ones meet apt
            process = subprocess.Popen(
                self.computer.enter("sh", "-c", f"cd {CHECKOUT} && exec ./install.sh --no-setup"),
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, text=True,
            )  # fmt: skip
            try:
                said, _ = process.communicate(timeout=moment_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                said, _ = process.communicate()
            assert process.returncode in (0, -9), said
            found = self.computer.shell("tconnectsync --version 2>&1", expect=(0, 127))
            show(f"killed after {moment_s:.0f} s: {said.splitlines()[-1:]}; {found.strip()}")
        self.computer.shell(f"cd {CHECKOUT} && ./install.sh --no-setup && tconnectsync --version")
        self.computer.shell(f"cd {CHECKOUT} && ./install.sh --uninstall --purge")

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

    def full_disk(self) -> None:
        """Without room, the installer says so and changes nothing."""
        small = "mkdir -p /mnt/small && mount -t tmpfs -o size=24m none /mnt/small"
        line = f"{small} && cd {CHECKOUT} && ./install.sh --no-setup --prefix /mnt/small/tconnectsync"
        command = self.computer.enter(
            "unshare", "--mount", "sh", "-c", f"{line}; status=$?; ls /mnt/small; exit $status"
        )
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1, done.stdout
        assert "df -h" in done.stderr, done.stderr
        assert "tconnectsync\n" not in done.stdout, done.stdout
        show(f"on a full disk: {done.stderr.strip()}")
        assert (
            self.computer.run("readlink", "/usr/local/bin/tconnectsync").strip() == "/opt/tconnectsync/bin/tconnectsync"
        )
        self.computer.run("tconnectsync", "--version")

    def settings(self) -> str:
        """The checksums of the configuration and the secrets."""
        return self.computer.shell("sha256sum /etc/tconnectsync/* /etc/credstore/*")

    def update(self) -> None:
        """The new release runs, the old one is gone, and what the user entered is as it was. A service that does not start is named."""
        before, settings = self.pid(), self.settings()
        folder = "/etc/systemd/system/tconnectsync-web.service.d"
        sleeps = "[Service]\\nExecStart=\\nExecStart=/bin/sleep infinity\\n"
        self.computer.shell(f"mkdir {folder} && printf '{sleeps}' > {folder}/trial.conf && systemctl daemon-reload")
        self.computer.shell("systemctl start tconnectsync-web")
        self.computer.shell(f"printf 'ExecStartPre=/bin/false\\n' >> {folder}/trial.conf")
        if self.deb is None:
            said = self.computer.shell(f"cd {CHECKOUT} && ./install.sh --update 2>&1", expect=(1,))
            assert "Installed" in said
            assert "did not restart: tconnectsync-web.service" in said, said
            releases = self.computer.shell("ls -d /opt/tconnectsync/release-*").split()
            assert len(releases) == 1, releases
        else:
            said = self.computer.shell("apt-get -q -y install --no-install-recommends /root/tconnectsync.deb 2>&1")
            assert "tconnectsync-web.service did not restart" in said, said
            self.computer.shell(f"test ! -e /{OLD_FILE}")
            assert "~older" not in self.computer.shell("dpkg-query --show tconnectsync")
        assert self.pid() != before
        assert self.settings() == settings
        self.computer.shell(f"rm -r {folder} && systemctl daemon-reload && systemctl reset-failed tconnectsync-web")

    def lose_the_disk(self) -> None:
        """On a new disk the backup is restored before `setup`; then the service continues the same log."""
        first = "zcat -f /var/lib/private/tconnectsync/log/000000000001.jsonl* | head -n 1"
        before = self.computer.shell(f"tconnectsync backup /root/ > /dev/null && {first}")
        self.computer.shell(f"cd {CHECKOUT} && ./install.sh --uninstall --purge && ./install.sh --no-setup")
        self.computer.shell("tconnectsync restore --data-dir /var/lib/tconnectsync /root/tconnectsync-*.tar.gz")
        self.setup()
        assert self.computer.shell(first) == before

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
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--deb", type=Path, help="install this package instead of running install.sh")
    parser.add_argument("--build-deb", action="store_true", help="build that package first, in a Debian of its own")
    parser.add_argument("--interruptions", type=int, default=0, help="kill so many installations first")
    parser.add_argument("--simulated", action="store_true", help="use a simulated Nightscout")
    parser.add_argument("--keep", action="store_true", help="keep the computer's folder")
    given = parser.parse_args()
    missing = what_is_missing()
    if missing:
        show(missing)
        return 77
    folder = Path(tempfile.mkdtemp(prefix="tconnectsync-bare-", dir="/var/tmp"))
    try:
        computer = folder / "computer"
        subprocess.run(["cp", "-a", "--reflink=auto", str(make_base(given.cache)), str(computer)], check=True)
        environment = copy_settings(computer)
        copy_source(computer)
        deb = build_deb(given.cache, folder) if given.build_deb else given.deb
        with (
            FaultyTandemCloud([recent_pump(31)], ShiftedClock()) as cloud,
            some_nightscout(simulated=given.simulated, folder=folder / "site") as (url, secret),
            http_receiver() as alerts,
            booted(computer, environment) as running,
        ):
            InstallationTrial(running, cloud, url, secret, alerts, deb, given.interruptions).run()
        show("All of it works.")
    finally:
        if given.keep:
            show(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
