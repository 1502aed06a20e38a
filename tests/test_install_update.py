"""An update, an interruption and a removal leave no daemon without its files: the scripts in a folder that plays the computer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).resolve().parents[1]
PLACES = ("/etc/", "/opt/", "/run/systemd/", "/srv/", "/usr/local/", "/usr/share/", "/var/lib/")
SERVICES = ["tconnectsync@anna.service", "tconnectsync@berta.service", "tconnectsync@carla.service"]

STUBS = {
    "id": "echo 0",
    "dpkg": "exit 1",
    "mv": '/bin/mv "$@" || exit; case $1 in -fT) sh "$STUBS/after-mv" $PPID ;; esac',
    "systemctl": """
        case $1 in
            list-units) cat "$STUBS/services" ;;
            try-restart) echo "$2" >> "$STUBS/restarted"; ls -d "$PREFIX"/release-* >> "$STUBS/releases"; sh "$STUBS/on-$2" $PPID ;;
        esac""",
    "python3": """
        case $* in "-m venv "*)
            mkdir "$3/bin" "$3/lib" && touch "$3/pyvenv.cfg" && cp "$0" "$3/bin/python"
            printf '#!/bin/sh\\ncase $1 in --version) echo tconnectsync 4 ;; esac\\n' > "$3/bin/tconnectsync"
            chmod 755 "$3/bin/tconnectsync"
        esac""",
}


@attrs.frozen
class PretendComputer:
    """A folder with the parts of a system that the scripts touch, and stubs for the programs that they run."""

    root: Path

    def __attrs_post_init__(self) -> None:
        for place in (*PLACES, "/stubs", "/source", "/etc/ssl/certs/", "/etc/systemd/system/", "/run/systemd/system"):
            (self.root / place.strip("/")).mkdir(parents=True, exist_ok=True)
        for name, body in STUBS.items():
            self.file(f"stubs/{name}", f"#!/bin/sh\n{body}\n").chmod(0o755)
        for name in ("services", "after-mv", *(f"on-{each}" for each in SERVICES)):
            self.file(f"stubs/{name}", "")
        self.file("etc/ssl/certs/ca-certificates.crt", "")
        for name in (
            "tconnectsync",
            "plugins",
            "pyproject.toml",
            "setup.py",
            "README.md",
            "LICENSE",
            "requirements.lock",
        ):
            self.file(f"source/{name}", "")
        shutil.copytree(ROOT / "systemd", self.root / "source/systemd")
        self.file("stubs/services", "\n".join(SERVICES) + "\n")

    def file(self, name: str, text: str = "x") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def run(self, script: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a script of ours with every place of the system below the root."""
        text = (ROOT / script).read_text()
        for place in PLACES:
            text = text.replace(place, f"{self.root}{place}")
        copy = self.file(f"source/{Path(script).name}", text)
        stubs = self.root / "stubs"
        environment = {
            "PATH": f"{stubs}:/usr/bin:/bin",
            "STUBS": str(stubs),
            "PREFIX": str(self.root / "opt/tconnectsync"),
        }
        return subprocess.run(
            ["sh", copy, *words], env=environment, capture_output=True, text=True, check=False, timeout=60
        )

    def install(self, *words: str) -> str:
        done = self.run("install.sh", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def said_by(self, name: str) -> list[str]:
        return (self.root / "stubs" / name).read_text().split()

    def releases(self) -> list[Path]:
        return sorted((self.root / "opt/tconnectsync").glob("release-*"))


@pytest.fixture
def computer(tmp_path: Path) -> PretendComputer:
    made = PretendComputer(tmp_path / "computer")
    made.install("--no-setup")
    made.file("etc/tconnectsync/config.toml")
    (made.root / "stubs/restarted").unlink()
    (made.root / "stubs/releases").unlink()
    return made


def test_update_names_what_did_not_restart(computer: PretendComputer) -> None:
    """One person's mistake stops nobody else's restart, and each daemon has its files until it was restarted."""
    old = computer.releases()
    computer.file("stubs/on-tconnectsync@anna.service", "exit 1")
    done = computer.run("install.sh", "--update")
    assert computer.said_by("restarted") == SERVICES
    assert computer.said_by("releases").count(str(old[0])) == len(SERVICES)
    assert done.returncode == 1
    assert "did not restart: tconnectsync@anna.service\n" in done.stderr
    assert "sudo systemctl restart tconnectsync@anna.service\n" in done.stderr
    assert len(computer.releases()) == 1
    assert computer.releases() != old


def test_package_names_what_did_not_restart(computer: PretendComputer) -> None:
    computer.file("stubs/on-tconnectsync@anna.service", "exit 1")
    done = computer.run("packaging/deb/postinst", "configure")
    assert computer.said_by("restarted") == SERVICES
    assert done.returncode == 0
    assert "sudo systemctl restart tconnectsync@anna.service" in done.stderr


def test_interrupted_restart(computer: PretendComputer) -> None:
    """It ends the wait for one service. The others are restarted."""
    computer.file("stubs/on-tconnectsync@anna.service", 'kill -TERM "$1" $PPID; sleep 5')
    done = computer.run("install.sh", "--update")
    assert computer.said_by("restarted") == SERVICES
    assert done.returncode == 1
    assert "did not restart: tconnectsync@anna.service\n" in done.stderr


@pytest.mark.parametrize("which", ["bin", "lib", "pyvenv.cfg"])
def test_interrupted_switch(computer: PretendComputer, which: str) -> None:
    """Nothing is interrupted half-way between two releases."""
    prefix = computer.root / "opt/tconnectsync"
    old = computer.releases()
    computer.file("stubs/after-mv", f'[ "$(readlink {prefix}/{which})" = {old[0].name}/{which} ] || kill -TERM "$1"')
    computer.install("--update")
    assert computer.said_by("restarted") == SERVICES
    assert {(prefix / each).resolve().parent for each in ("bin", "lib", "pyvenv.cfg")} == set(computer.releases())
    assert computer.releases() != old


def test_used_release_stays(computer: PretendComputer) -> None:
    """A daemon that systemd does not know keeps its files; the update names its process."""
    old = computer.releases()[0]
    mapped = "import mmap, sys; file = open(sys.argv[1], 'rb'); kept = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ); print(); sys.stdin.read()"
    words = [sys.executable, "-c", mapped, old / "bin/tconnectsync"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout
        daemon.stdout.readline()
        for _ in range(2):
            assert f"processes: {daemon.pid} \nRestart them.\n" in computer.install("--update")
            assert old in computer.releases()
        daemon.communicate(b"")
    computer.install("--update")
    assert len(computer.releases()) == 1


@pytest.mark.parametrize("script", ["install.sh --uninstall --purge", "packaging/deb/postrm purge"])
def test_purge_leaves_a_fleet_alone(computer: PretendComputer, script: str) -> None:
    fleet = [
        computer.file(name)
        for name in (
            "etc/tconnectsync/fleet.env",
            "etc/tconnectsync/fleet-1.env",
            "etc/credstore/tconnectsync-fleet.key",
            "var/lib/tconnectsync-fleet-1/people/berta/log/1",
            "var/lib/private/tconnectsync-fleet-2/people/carla/log/1",
        )
    ]
    own = [
        computer.file(name)
        for name in (
            "etc/tconnectsync/anna.toml",
            "etc/tconnectsync/.env",
            "etc/credstore/tconnectsync@anna.tandem-password",
            "etc/systemd/system/tconnectsync-web.service.d/override.conf",
            "var/lib/tconnectsync/log/1",
            "var/lib/tconnectsync-anna/log/1",
            "var/lib/private/tconnectsync-anna/log/1",
        )
    ]
    done = computer.run(*script.split())
    assert done.returncode == 0, done.stderr
    assert [path for path in fleet if not path.exists()] == []
    assert [path for path in own if path.exists()] == []


def test_purge_without_a_fleet(computer: PretendComputer) -> None:
    said = computer.install("--uninstall", "--purge")
    assert not os.path.lexists(computer.root / "etc/tconnectsync")
    assert "fleet" not in said


def test_prefix_of_the_installation_is_found(tmp_path: Path) -> None:
    """Without --prefix, an update and a removal mean the installation that is there."""
    computer = PretendComputer(tmp_path / "computer")
    place, command = computer.root / "srv/tc", computer.root / "usr/local/bin/tconnectsync"
    computer.install("--no-setup", "--prefix", str(place))
    (old,) = place.glob("release-*")
    computer.install("--update")
    assert not (computer.root / "opt/tconnectsync").exists()
    assert not old.exists()
    for option in ("--update", "--uninstall"):
        done = computer.run("install.sh", option, "--prefix", str(computer.root / "srv/other"))
        assert done.returncode == 1
        assert f"but in {place}." in done.stderr
    computer.install("--uninstall")
    assert not place.exists()
    assert not os.path.lexists(command)
    computer.install("--uninstall", "--purge")
