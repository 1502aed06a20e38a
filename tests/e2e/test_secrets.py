"""Nothing secret leaves: every command and many failures with marked secrets, and then a search of all that was written."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import stat
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote, quote_plus

import attrs
import pytest
from living_daemon import daemon, eventually
from quiet_world import PUMP_EVENTS, TREATMENTS, ZONE, a_pump
from whole_world import Installation, MovedClock

from tconnectsync_simulator.accounts import Account
from tconnectsync_simulator.cloud import Cloud
from tconnectsync_simulator.faults import CloudFault, answered, html_page, null_answer
from tconnectsync_simulator.nightscout import Fault, SimulatedNightscout

PASSWORD = 'Marked pass/word+"q%ä'
SECRET = "marked secret/of the=site ü"
WRONG = "marked wrong secret"
PERSONAL = ("Simulated Wearer", "1990-01-01")
"""What the account's answers tell about the wearer."""


def forms(secret: str) -> Iterator[bytes]:
    """How a secret may look in a text or a file."""
    plain = secret.encode()
    yield plain
    yield hashlib.sha1(plain).hexdigest().encode()
    yield quote(secret).encode()
    yield quote(secret, safe="").encode()
    yield quote_plus(secret).encode()
    yield repr(secret)[1:-1].encode()
    yield secret.encode("unicode_escape")
    for lead in (b"", b"a", b"ab"):  # as a part of something longer
        encoded = base64.b64encode(lead + plain)
        yield encoded[4 if lead else 0 : -4]
        yield base64.urlsafe_b64encode(lead + plain)[4 if lead else 0 : -4]


@attrs.define
class Guarded:
    """An installation with marked secrets, and everything that it has said."""

    home: Installation
    said: list[tuple[str, bytes]] = attrs.field(factory=list)

    def run(self, *words: str, expect: tuple[int, ...] = (0,)) -> str:
        done = self.home.run(*words, expect=expect)
        self.said.append((" ".join(words), (done.stdout + done.stderr).encode()))
        return done.stdout + done.stderr

    def found(self, *secrets: str) -> list[str]:
        """Where one of them stands: in what was said, and in every file but the configuration."""
        texts = list(self.said)
        files = [path for path in self.home.folder.rglob("*") if path.is_file() and path.name != "config.toml"]
        texts += [(str(path.relative_to(self.home.folder)), path.read_bytes()) for path in files]
        assert files
        return [
            f"{form!r} in {where}"
            for secret in secrets
            for form in forms(secret)
            for where, text in texts
            if form in text
        ]


@contextlib.contextmanager
def guarded(folder: Path, **changes: str) -> Iterator[tuple[Guarded, Cloud, SimulatedNightscout]]:
    account = Account(password=PASSWORD)
    with (
        Cloud([a_pump(3)], MovedClock(), accounts=(account,)) as cloud,
        SimulatedNightscout(api_secret=SECRET) as site,
    ):
        home = Installation(folder / "home", cloud, site.url, SECRET, ZONE, history_days=2)
        path = home.folder / "config.toml"
        password = changes.get("password", PASSWORD).replace('"', '\\"')
        text = path.read_text().replace('password = "simulated password"', f'password = "{password}"')
        text = text.replace(f'api_secret = "{SECRET}"', f'api_secret = "{changes.get("secret", SECRET)}"')
        path.write_text(text)
        yield Guarded(home), cloud, site


def test_the_search_finds_what_there_is(tmp_path: Path) -> None:
    with guarded(tmp_path) as (world, _, _site):
        for form in forms(SECRET):
            world.said = [("a command", b"before " + form + b" after")]
            (world.home.folder / "a file").write_bytes(form)
            assert {where.partition(" in ")[2] for where in world.found(SECRET)} == {"a command", "a file"}


def test_no_command_tells_a_secret(tmp_path: Path) -> None:
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
        with daemon(world.home) as living:
            world.run("-v", "replay", PUMP_EVENTS)
            world.run("-v", "backfill", "--from", str(today - timedelta(days=3)))
            world.run("resume", "tandem")
            world.run("dead-letters", "list")
            living.stop()
        assert site.count("treatments") > 100
        assert world.found(PASSWORD, SECRET, *PERSONAL) == []

        data = world.home.folder / "data"
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        [token] = data.rglob("token.json")
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
        access = json.loads(token.read_text())["access_token"]
        assert {where.partition(" in ")[2] for where in world.found(access)} == {
            str(token.relative_to(world.home.folder))
        }


def test_no_failure_tells_a_secret(tmp_path: Path) -> None:
    """Each kind of trouble at the cloud and at the site, through a command, the check, and the daemon's log."""
    with guarded(tmp_path) as (world, cloud, site):
        troubles = (
            html_page(path="pumper"),
            null_answer(path="pumper"),
            answered(403, path="pumper"),
            answered(500, path="login", body=PASSWORD),
            CloudFault(
                path="connect/token", status=400, body=f'{{"error": "{SECRET}"}}', content_type="application/json"
            ),
            CloudFault(path="pumper", reset="before", times=2),
            CloudFault(path="pumper", cut=True),
            CloudFault(path="pumper", drop=frozenset({"pumps"})),
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
            Fault(status=200, body="<html>wrong page</html>"),
            Fault(status=200, body="null", content_type="application/json"),
            Fault(status=500, body=f"failed with {SECRET}"),
            Fault(status=302, headers={"Location": f"https://elsewhere.example/?secret={quote(SECRET)}"}),
            Fault(reset="after"),
        ):
            site.fail(attrs.evolve(fault, times=100))
            world.run("-v", "check", expect=(9,))
            world.run("-v", "replay", TREATMENTS, expect=(5, 6))
            site.mend()
            world.run("resume", TREATMENTS, expect=(0, 6))
        with site.down():
            world.run("-v", "check", expect=(9,))
            world.run("-v", "replay", TREATMENTS, expect=(5,))
            with daemon(world.home) as living:
                eventually(lambda: "cannot be reached" in world.run("status"), "the daemon notices")
                living.stop()
            world.said.append(("daemon", living.log.encode()))
        assert world.found(PASSWORD, SECRET, *PERSONAL) == []


@pytest.mark.parametrize("what", ["password", "secret"])
def test_a_wrong_secret_is_not_told_either(tmp_path: Path, what: str) -> None:
    with guarded(tmp_path, **{what: WRONG}) as (world, _, _site):
        words = world.run("check", expect=(9,))
        assert "refuse" in words.lower() or "accept" in words.lower()
        said = world.run("-v", "sync", expect=(4,))
        assert "resume" in said or "correct" in said.lower() or "check" in said.lower(), said
        world.run("status")
        with daemon(world.home) as living:
            world.run("sync", expect=(4,))
            living.stop()
        assert world.found(PASSWORD, SECRET, WRONG) == []


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
def test_a_configuration_that_is_wrong_is_not_quoted_where_it_may_be_secret(tmp_path: Path, line: str) -> None:
    mark = "marked-value-9f1"
    path = tmp_path / "config.toml"
    path.write_text(
        f'timezone = "{ZONE}"\ndata_dir = "{tmp_path}/data"\n[sources.tandem]\nemail = "a@example.org"\n'
        f'password = "{mark}"\nregion = "US"\n[nightscout]\n{line.format(mark=mark, mark_file="x")}\n'
    )
    path.chmod(0o600)
    with Cloud([], MovedClock()) as cloud:
        home = Installation(tmp_path / "home", cloud, "http://127.0.0.1:1/", "unused", ZONE)
        done = home.run("--config", str(path), "check", expect=(2,))
    assert mark not in done.stdout + done.stderr
    assert not (tmp_path / "data").exists()
