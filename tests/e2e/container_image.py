"""The container image at work: not root, a read-only root file system, killed and started again, and its health check.

    sudo .venv/bin/python -m tests.e2e.container_image [--build] [--runtime runc] [--image tconnectsync]

It needs podman and an image that was built with ``--format docker`` (packaging/container/Containerfile). ``--build`` builds one on a base
that debootstrap makes, where no registry can be reached. Cloud and site are simulated.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

from tconnectsync_simulator.cloud.accounts import SimulatedAccount
from tests.e2e.installation import ZONE, by_identity, recent_pump
from tests.support.bare_computer import CACHE, copy_settings, eventually, make_base
from tests.support.clocks import ShiftedClock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout

ROOT = Path(__file__).resolve().parents[2]
USER = 10001
LIMITS = ("--ulimit=nofile=1000:1000", "--ulimit=nproc=1000:1000")
"""Some machines do not let podman raise the limits."""


@attrs.define
class Container:
    """One container over a data folder. ``podman`` are the words that every call begins with."""

    podman: list[str]
    image: str
    name: str
    folder: Path

    def call(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([*self.podman, *words], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0 or not check, f"{words}: {done.stdout}{done.stderr}"
        return done

    def create(self, cloud: FaultyTandemCloud, url: str, secrets: dict[str, str]) -> None:
        for name in ("data", "secrets"):
            (self.folder / name).mkdir(parents=True, mode=0o700)
        for name, secret in secrets.items():
            (self.folder / "secrets" / name).write_text(secret)
        places = "\n".join(f'{name} = "{value}"' for name, value in cloud.endpoints.items())
        config = self.folder / "config.toml"
        config.write_text(f"[sources.tandem]\nhistory_days = 3\n[sources.tandem.endpoints]\n{places}\n")
        config.chmod(0o644)
        for path in (self.folder / "data", self.folder / "secrets", *(self.folder / "secrets").iterdir()):
            os.chown(path, USER, USER)
        account = SimulatedAccount()
        settings = {
            "TCONNECT_EMAIL": account.email,
            "TCONNECT_REGION": account.region,
            "TIMEZONE_NAME": ZONE,
            "NS_URL": url,
        }
        self.call(
            "create", f"--name={self.name}", "--network=host", "--read-only", "--cap-drop=ALL", "--tmpfs=/tmp", *LIMITS,
            "--security-opt=no-new-privileges", f"--volume={self.folder}/data:/data", f"--volume={self.folder}/secrets:/run/secrets:ro",
            f"--volume={config}:/etc/tconnectsync/config.toml:ro", *(f"--env={key}={value}" for key, value in settings.items()),
            self.image,
        )  # fmt: skip

    def is_healthy(self) -> bool:
        """Run the image's own health check now."""
        return self.call("healthcheck", "run", self.name, check=False).returncode == 0


@contextlib.contextmanager
def running(container: Container) -> Iterator[Container]:
    try:
        container.call("start", container.name)
        yield container
    finally:
        logs = container.call("logs", container.name, check=False)
        container.call("rm", "--force", container.name, check=False)
        assert "Traceback" not in logs.stdout + logs.stderr, logs.stderr


def build(podman: list[str], image: str, folder: Path) -> None:
    """Build the image on a base of debootstrap, with this machine's certificates and settings of apt and pip."""
    base, name = folder / "base", f"{image}-base"
    subprocess.run(["cp", "-a", "--reflink=auto", str(make_base(CACHE)), str(base)], check=True)
    settings = copy_settings(base)
    pip = {key: value for key, value in settings.items() if key.startswith("PIP_")}
    lines = [f"{key.removeprefix('PIP_').lower().replace('_', '-')} = {value}" for key, value in pip.items()]
    (base / "etc/pip.conf").write_text("\n".join(["[global]", *lines, ""]))
    begin = time.monotonic()
    archive = subprocess.Popen(["tar", "-C", str(base), "-c", "."], stdout=subprocess.PIPE)
    subprocess.run([*podman, "import", "-", name], stdin=archive.stdout, check=True, stdout=subprocess.DEVNULL)
    assert archive.wait() == 0
    shutil.rmtree(base)
    file = ROOT / "packaging/container/Containerfile"
    words = ["build", "--format=docker", "--network=host", *LIMITS, f"--build-arg=BASE={name}", f"--file={file}", f"--tag={image}", str(ROOT)]  # fmt: skip
    done = subprocess.run([*podman, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    print(f"built in {time.monotonic() - begin:.0f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description="Try the container image.")
    parser.add_argument("--image", default="tconnectsync")
    parser.add_argument("--build", action="store_true", help="build the image first, on a base of debootstrap")
    parser.add_argument("--runtime", help="another OCI runtime than podman's default")
    given = parser.parse_args()
    if shutil.which("podman") is None or os.geteuid() != 0:
        print("This needs root and podman (apt install podman).")
        return 77
    podman = ["podman", *([f"--runtime={given.runtime}", "--cgroup-manager=cgroupfs"] if given.runtime else [])]
    folder = Path(tempfile.mkdtemp(prefix="tconnectsync-container-", dir="/var/tmp"))
    folder.chmod(0o755)
    account = SimulatedAccount()
    try:
        if given.build:
            build(podman, given.image, folder)
        with FaultyTandemCloud([recent_pump(4)], ShiftedClock()) as cloud, SimulatedNightscout() as site:
            good = {"tandem-password": account.password, "nightscout-api-secret": site.secret}
            container = Container(podman, given.image, "tconnectsync-try", folder / "good")
            container.create(cloud, site.url, good)
            with running(container):
                begin = time.monotonic()
                eventually(lambda: site.count("treatments") > 5, "the first treatments")
                container.call("kill", "--signal=KILL", container.name)
                container.call("start", container.name)
                eventually(container.is_healthy, "healthy")
                print(f"killed while it delivered, started again, healthy after {time.monotonic() - begin:.0f} s")
                found = by_identity(site.documents("treatments"))  # fails if one is there twice
                shown = container.call("exec", container.name, "tconnectsync", "verify", "nightscout-treatments")
                print(f"{len(found)} treatments, each once; verify: {shown.stdout.strip()}")
                user = container.call("exec", container.name, "/usr/bin/id", "--user").stdout.strip()
                root = container.call("exec", container.name, "/usr/bin/touch", "/opt/x", check=False)
                assert (user, root.returncode) == (str(USER), 1), (user, root.stderr)
                begin = time.monotonic()
                container.call("stop", container.name)
                state = container.call("inspect", "--format={{.State.ExitCode}}", container.name).stdout.strip()
                assert state == "0", state
                print(f"stopped in {time.monotonic() - begin:.1f} s with status 0")
            refused = Container(podman, given.image, "tconnectsync-try", folder / "refused")
            refused.create(cloud, site.url, {**good, "tandem-password": "not the password"})
            with running(refused):
                begin = time.monotonic()
                eventually(lambda: not refused.is_healthy(), "the health check turns bad")
                print(f"refused login: unhealthy after {time.monotonic() - begin:.0f} s")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("All of it works.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
