"""No secret leaves: every command and many failures with marked secrets, then a search in all output and requests.

What the status says during faults of the network is searched in ``test_lying_network.py``.
"""

from __future__ import annotations

import contextlib
import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote

import attrs
import pytest

from tconnectsync.cli.root import COMMANDS
from tests.e2e.installation import PUMP_EVENTS, TREATMENTS, ZONE, Installation, daemon, eventually, recent_pump
from tests.e2e.marked_secrets import (
    ACCOUNT,
    MAY_BE,
    PASSWORD,
    PERSONAL,
    SECRET,
    all_leaks,
    files,
    forms,
    learned,
    secrets_in_texts,
)
from tests.support.clocks import ShiftedClock
from tests.support.cloud_faults import CloudFault, answered, html_page
from tests.support.fault_proxy import FaultProxy
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.proxy_responses import ProxiedRequest
from tests.support.simulated_nightscout.app import SimulatedNightscout
from tests.support.simulated_nightscout.faults import SiteFault

WRONG = "marked wrong secret"


@attrs.define
class MarkedInstallation:
    """An installation with marked secrets between two proxies, and everything that it has said."""

    home: Installation
    to_cloud: FaultProxy
    to_site: FaultProxy
    secret: str
    said: list[tuple[str, bytes]] = attrs.field(factory=list)

    def run(self, *words: str, expect: tuple[int, ...] = (0,)) -> str:
        done = self.home.run(*words, expect=expect)
        self.said.append((" ".join(words), (done.stdout + done.stderr).encode()))
        return done.stdout + done.stderr

    def show_help(self, *names: str) -> None:
        """Each command's help, all in one process."""
        script = "import sys; from tconnectsync.cli.root import run; sys.exit(max(run([*sys.argv[1:3], name, '--help']) for name in sys.argv[3:]))"
        config = self.home.command()[-2:]
        done = subprocess.run(
            [sys.executable, "-c", script, *config, *names],
            env=self.home.environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        shown = done.stdout.count("Usage: tconnectsync")
        assert shown == len(names), done.stdout
        self.said += [(f"{name} --help", (done.stdout + done.stderr).encode()) for name in names]

    def found(self, *more: str) -> list[str]:
        """Which secret is in the output, in a file (except the configuration and the token), or in a wrong part of a request."""
        secrets = {"password": {PASSWORD}, "site secret": {self.secret}, **learned(self.to_cloud), "more": set(more)}
        secrets |= {name: {text} for name, text in PERSONAL.items()}
        texts = [*self.said, *(file for file in files(self.home.folder) if not file[0].endswith("token.json"))]
        assert texts
        return secrets_in_texts(texts, secrets) + all_leaks(self.to_cloud, self.to_site, self.secret)


@contextlib.contextmanager
def guarded(
    folder: Path, **changes: str
) -> Iterator[tuple[MarkedInstallation, FaultyTandemCloud, SimulatedNightscout]]:
    """``password``, ``secret``: configured instead of the right ones; ``token``: a token instead of the secret."""
    token = changes.get("token", "")
    with (
        FaultyTandemCloud([recent_pump(3)], ShiftedClock(), accounts=(ACCOUNT,)) as cloud,
        SimulatedNightscout(api_secret=SECRET, tokens={token: ("*:*:*",)} if token else {}) as site,
        FaultProxy(cloud.url, keep_answers=True) as to_cloud,
        FaultProxy(site.url) as to_site,
    ):
        home = Installation(
            folder / "home", cloud, to_site.url, changes.get("secret", SECRET), ZONE, history_days=2,
            endpoints=to_cloud.endpoints(cloud.endpoints),
            account=attrs.evolve(ACCOUNT, password=changes.get("password", PASSWORD)),
        )  # fmt: skip
        if token:
            path = home.folder / "config.toml"
            path.write_text(path.read_text().replace(f'api_secret = "{SECRET}"', f'token = "{token}"'))
        yield MarkedInstallation(home, to_cloud, to_site, token or SECRET), cloud, site


def test_secret_search_finds(tmp_path: Path) -> None:
    """The search finds secrets in every form."""
    for form in forms(SECRET):
        (tmp_path / "a file").write_bytes(form)
        texts = [("a command", b"before " + form + b" after"), *files(tmp_path)]
        assert secrets_in_texts(texts, {"mark": {SECRET}}) == ["mark in a command", "mark in a file"]


@pytest.mark.parametrize(
    ("name", "place"),
    [("password", "target"), ("password", "referer"), ("email", "target"), ("code", "target"), ("access token", "body"),
     ("access token", "cookie"), ("cookie", "authorization"), ("id token", "body"), ("site secret, hashed", "target"),
     ("full name", "body")],
)  # fmt: skip
def test_secret_search_finds_wrong_place(name: str, place: str) -> None:
    """The search finds a secret that was sent in the wrong place."""
    from tests.e2e.marked_secrets import secrets_in_requests

    with FaultProxy("http://127.0.0.1:9") as proxy:
        mark = quote("a mark") if place == "target" else "a mark"
        sent = {"target": f"/x?y={mark}"} if place == "target" else {"target": "/x"}
        headers = {} if place in {"target", "body"} else {place: mark}
        body = mark.encode() if place == "body" else b""
        proxy.recorded.append(ProxiedRequest(method="GET", headers=headers, body=body, **sent))
        assert secrets_in_requests(proxy, {name: {"a mark"}}) == [f"{name} in the {place} of GET /x"]
    assert not {"id token", "full name", "site secret"} & MAY_BE.keys()


def test_no_secret_in_commands(tmp_path: Path) -> None:
    """No command reveals a secret."""
    today = datetime.now(timezone.utc).date()
    with guarded(tmp_path) as (world, _, site):
        world.run("sync", "--dry-run")
        world.run("check")
        world.run("-v", "sync")
        world.run("status")
        world.run("status", "--json")
        world.run("events", "--json")
        world.run("plugins", "--json")
        world.run("log", "check")
        world.run("log", "repair")
        world.run("replay", TREATMENTS, "--dry-run")
        world.run("-v", "verify", TREATMENTS, "--json")
        world.run("-v", "verify", TREATMENTS, "--repair")
        world.run("alerts", "test", expect=(2,))  # with addresses: tests/alerts
        world.run("adopt", TREATMENTS, "--skip")
        world.run("dead-letters", "retry", TREATMENTS)
        world.run("dead-letters", "drop", TREATMENTS, "--all")
        world.run("backup", str(world.home.folder / "backup.tar.gz"))
        world.run("restore", str(world.home.folder / "backup.tar.gz"), expect=(2,))
        old = world.home.folder / "old.env"
        old.write_text(
            f"TCONNECT_EMAIL={ACCOUNT.email}\nTCONNECT_PASSWORD='{PASSWORD}'\nTCONNECT_REGION=US\nNS_SECRET='{world.secret}'\n"
            f"NS_URL={world.to_site.url}\nTIMEZONE_NAME={ZONE}\n"
        )
        written = world.home.folder / "written.toml"
        world.run("init", "--from-env", str(old), "--output", str(written), "--no-check")
        assert stat.S_IMODE(written.stat().st_mode) == 0o600
        old.unlink()
        written.unlink()
        saved = world.home.folder / "saved.json"
        saved.write_text('{"events": [}')
        world.run("-v", "import", str(saved), "--pump", "7654321", expect=(2,))
        world.show_help(*COMMANDS, "demo", "web")
        world.run("web", "--behind-router", expect=(2,))  # with a secret: tests/web
        with daemon(world.home) as living:
            world.run("-v", "replay", PUMP_EVENTS)
            world.run("-v", "backfill", "--from", str(today - timedelta(days=3)))
            world.run("resume", "tandem")
            world.run("dead-letters", "list")
            world.run("-v", "import", str(saved), "--pump", "7654321", expect=(2,))
            living.stop()
        world.said.append(("daemon", living.log.encode()))
        assert site.count("treatments") > 100
        words = {word for said, _ in world.said for word in said.split()[:2]}
        assert words | {"run"} >= COMMANDS.keys()
        on_the_way = learned(world.to_cloud)
        assert all(on_the_way.values())
        assert world.found() == []

        data = world.home.folder / "data"
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        [token] = data.rglob("token.json")
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
        kept = json.loads(token.read_text())
        assert kept["access_token"] in on_the_way["access token"]
        assert secrets_in_texts([("it", token.read_bytes())], on_the_way) == ["access token in it"]


def test_token_in_header_only(tmp_path: Path) -> None:
    """A site's token is sent in its header only."""
    with guarded(tmp_path, token="marked-3f6a1c0d9e8b7a65") as (world, _, site):
        world.run("-v", "check")
        world.run("-v", "sync")
        world.run("-v", "verify", TREATMENTS)
        assert site.count("treatments") > 100
        assert {asked.headers["api-secret"] for asked in world.to_site.recorded} == {world.secret}
        site.fail(SiteFault(status=401, times=100))
        world.run("-v", "replay", TREATMENTS, expect=(4,))
        assert [each for each in world.found() if "api-secret" not in each] == []


def test_no_secret_in_failures(tmp_path: Path) -> None:
    """No failure reveals a secret.

    Each kind of trouble at the cloud and at the site, through a command, the check, and the daemon's log.
    """
    with guarded(tmp_path) as (world, cloud, site):
        troubles = (
            html_page(path="pumper"),
            answered(500, path="login", body=PASSWORD),
            CloudFault(
                path="connect/token", status=400, body=f'{{"error": "{SECRET}"}}', content_type="application/json"
            ),
        )
        for trouble in troubles:
            for token in world.home.folder.rglob("token.json"):
                token.unlink()
            cloud.fail(trouble)
            world.run("-v", "check", expect=(0, 9))
            cloud.faults.clear()
            cloud.fail(trouble)
            world.run("-v", "resume", "tandem", expect=(3, 4))
            cloud.faults.clear()
        world.run("resume", "tandem")
        for fault in (
            SiteFault(status=200, body="<html>wrong page</html>"),
            SiteFault(status=500, body=f"failed with {SECRET}"),
            SiteFault(status=302, headers={"Location": f"https://elsewhere.example/?secret={quote(SECRET)}"}),
        ):
            site.fail(attrs.evolve(fault, times=100))
            world.run("-v", "check", expect=(9,))
            world.run("-v", "replay", TREATMENTS, expect=(5, 6))
            site.mend()
            world.run("resume", TREATMENTS, expect=(0, 6))
        with world.to_site.down():
            world.run("-v", "check", expect=(9,))
            world.run("-v", "replay", TREATMENTS, expect=(5,))
            with daemon(world.home) as living:
                eventually(lambda: "cannot be reached" in world.run("status"), "the daemon notices")
                living.stop()
            world.said.append(("daemon", living.log.encode()))
        assert world.found() == []


@pytest.mark.parametrize("what", ["password", "secret"])
def test_no_wrong_secret_in_messages(tmp_path: Path, what: str) -> None:
    """A wrong secret is not revealed either."""
    with guarded(tmp_path, **{what: WRONG}) as (world, _, _site):
        words = world.run("check", expect=(9,))
        assert "refuse" in words.lower() or "accept" in words.lower()
        said = world.run("-v", "sync", expect=(4,))
        assert "resume" in said or "correct" in said.lower() or "check" in said.lower(), said
        world.run("status")
        with daemon(world.home) as living:
            world.run("sync", expect=(4,))
            living.stop()
        assert world.found(WRONG) == []


@pytest.mark.parametrize(
    "line",
    [
        'api_secret = ["{mark}"]',
        'api_secrett = "{mark}"',
        'token = {{value = "{mark}"}}',
        'url = "https://user:{mark}@site.example/"',
        'url = "https://site.example/?token={mark}"',
        'api_secret_file = "/nowhere/{mark_file}"\napi_secret = 5',
        'api_secret = "{mark}',
    ],
)
def test_no_secret_in_configuration_errors(tmp_path: Path, line: str) -> None:
    """A wrong configuration is not quoted where it may be secret."""
    mark = "marked-value-9f1"
    path = tmp_path / "config.toml"
    path.write_text(
        f'timezone = "{ZONE}"\ndata_dir = "{tmp_path}/data"\n[sources.tandem]\nemail = "a@example.org"\n'
        f'password = "{mark}"\nregion = "US"\n[nightscout]\n{line.format(mark=mark, mark_file="x")}\n'
    )
    path.chmod(0o600)
    with FaultyTandemCloud([], ShiftedClock()) as cloud:
        home = Installation(tmp_path / "home", cloud, "http://127.0.0.1:1/", "unused", ZONE)
        done = home.run("--config", str(path), "check", expect=(2,))
    assert mark not in done.stdout + done.stderr
    assert not (tmp_path / "data").exists()
