"""docs/user/migrating.md, typed in order by somebody who has an older bridge's `.env` and a site that it filled."""

from __future__ import annotations

import re
import shlex
import stat
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import attrs
import pytest

from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.root import run
from tconnectsync.cli.setup import steps
from tconnectsync.cli.setup.paths import service_paths
from tconnectsync.config.load import load_config
from tconnectsync.plugin.manager import load_plugins
from tconnectsync_simulator.cloud.accounts import SimulatedAccount
from tconnectsync_simulator.pump.pump import simulate
from tests.e2e.engine_in_process import ZONE
from tests.e2e.installation import by_identity
from tests.e2e.simulated_home import BEGIN, COLLECTIONS, DAY, SimulatedHome, plan_of, simulated_home
from tests.e2e.test_adopt import FOREIGN, PUMP_EVENTS, TREATMENTS, as_older, older_left
from tests.support.clocks import FakeClock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout

TEXT = (Path(__file__).parents[2] / "docs" / "user" / "migrating.md").read_text(encoding="utf-8")
WAITS = 6


OF_SYSTEMD = {"cp", "systemctl"}


def commands(there: Mapping[str, Path]) -> list[list[str]]:
    """What is typed, without sudo and systemd's own, with its paths moved ``there``."""
    blocks = "".join(re.findall(r"^ *```sh\n(.*?)```", TEXT, flags=re.DOTALL | re.MULTILINE)).replace("\\\n", "")
    for path, moved in there.items():
        blocks = blocks.replace(path, str(moved))
    lines = [shlex.split(line, comments=True) for line in blocks.splitlines()]
    found = [line[line[0] == "sudo" :] for line in lines if line]
    return [line for line in found if line[0] not in OF_SYSTEMD]


def for_the_service(path: Path, credentials: Path, secrets: Iterable[str]) -> None:
    """Everybody may read the file, it has no secrets, and with systemd's credentials alone it is complete."""
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert not any(secret in path.read_text() for secret in secrets)
    for file in credentials.glob("tconnectsync.*"):
        file.unlink()  # the service cannot read these
    config = load_config(path, {"CREDENTIALS_DIRECTORY": str(credentials)}, load_plugins())
    assert {*config.secrets()} == {*secrets}
    assert config.notes == ()


def test_migrating_document_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command of the document works, in its order."""
    clock = FakeClock(BEGIN + 3 * DAY)
    with FaultyTandemCloud([simulate(plan_of(71, days=4))], clock) as cloud, SimulatedNightscout(now=clock.now) as site:
        old = tmp_path / "old.env"
        account = SimulatedAccount()
        old.write_text(
            f"TCONNECT_EMAIL={account.email}\nTCONNECT_PASSWORD='{account.password}'\nTIMEZONE_NAME='{ZONE}'\n"
            f"NS_URL={site.url}\nNS_SECRET='{site.secret}'\nTCONNECT_REGION={account.region}\nPUMP_SERIAL_NUMBER=11111111\n"
        )
        places = [f"--set=sources.tandem.endpoints.{name}={value}" for name, value in cloud.endpoints.items()]

        credentials = tmp_path / "credstore"
        credentials.mkdir()
        secrets = {"tandem-password": account.password, "nightscout-api-secret": site.secret}
        for name, secret in secrets.items():
            for path in (credentials / f"tconnectsync.{name}", credentials / name):
                path.write_text(secret)
        system_file = tmp_path / "etc" / "config.toml"
        here = attrs.evolve(service_paths(system_file), secrets_folder=credentials, data_dir=tmp_path / "data")
        monkeypatch.setattr(steps, "service_paths", lambda _: here)
        there = {
            "/path/of/the/old/.env": old, "/etc/tconnectsync/config.toml": system_file,
            "/var/lib/tconnectsync": tmp_path / "data", "/etc/credstore": credentials,
        }  # fmt: skip

        def typed(home: str, *words: str) -> tuple[int, str]:
            environ = {"HOME": str(tmp_path / home), "no_proxy": "127.0.0.1"}
            glucose = ["--set=sinks.nightscout-cgm.enabled=true"] if home == "home" else []
            added = [*places, *glucose] if words[0] in ("init", "setup") else []
            file = system_file if home == "home" else tmp_path / "none"
            invocation = Invocation(environ=environ, clock=clock, system_file=file, plugins=load_plugins())
            status = run([*words, *added], invocation)
            return status, "".join(capsys.readouterr())

        assert typed("first", "init", "--from-env", str(old))[0] == 0
        assert typed("first", "sync")[0] == 0
        before = by_identity(site.documents("treatments"))
        older = [as_older(document) for document in before.values()]
        for collection in COLLECTIONS:
            site.drop(collection)
        site.put("treatments", *older, *FOREIGN)

        typed_before: set[str] = set()
        for program, *words in commands(there):
            if program == "chmod":
                mode, path = words
                Path(path).chmod(int(mode, 8))
                continue
            status, said = typed("home", *words)
            waits = words[0] == "sync" and "sync" not in typed_before
            assert (program, status) == ("tconnectsync", WAITS if waits else 0), (words, said)
            if waits:
                assert site.count("activity") == ("--dry-run" not in words)
                assert all("identifier" not in doc for doc in site.documents("treatments"))
            typed_before.add(" ".join(words))
        for_the_service(system_file, credentials, secrets.values())
        assert any(line.startswith("setup ") for line in typed_before)
        assert typed_before >= {"sync", f"adopt {TREATMENTS}", f"verify {TREATMENTS}"}
        assert by_identity([doc for doc in site.documents("treatments") if "identifier" in doc]) == before
        assert [doc for doc in site.documents("treatments") if doc.get("enteredBy") == "Pump (tconnectsync)"] == []


def older_writes(home: SimulatedHome, folder: Path, begin: datetime) -> int:
    """What the older bridge writes about everything since ``begin``: it does not know this one's documents."""
    with SimulatedNightscout(now=home.clock.now) as site:
        there = home.running.__class__(folder, home.cloud, site, home.clock, history_days=4)
        assert there.ask("sync").status == 0
        older = [
            as_older(doc)
            for doc in site.documents("treatments")
            if datetime.fromisoformat(doc["created_at"].replace("Z", "+00:00")) >= begin
        ]
        there.engine.close()
    home.site.put("treatments", *older)
    return len(older)


def test_back_to_older_bridge_and_return(tmp_path: Path) -> None:
    """A user goes back to the older bridge and returns.

    The older one runs for two days: after such a silence the site is examined as before the first delivery.
    """
    with simulated_home(tmp_path, simulate(plan_of(72, days=5)), now=BEGIN + 2 * DAY, history_days=2) as home:
        assert home.ask("sync").status == 0
        home.running.engine.close()
        left = home.clock.now()
        home.clock.sleep(2 * 86400)
        assert older_writes(home, tmp_path / "other", left + timedelta(hours=1)) > 100
        home.running.open()
        ours = home.treatments()
        assert home.ask("sync").status == WAITS
        assert home.treatments() == ours
        for sink in (TREATMENTS, PUMP_EVENTS):
            result = home.ask("adopt", sink=sink)
            assert result.status == 0, result.lines
        assert home.ask("sync").status == 0
        assert older_left(home) == []
        with SimulatedNightscout(now=home.clock.now) as site:
            there = home.running.__class__(tmp_path / "straight", home.cloud, site, home.clock, history_days=4)
            assert there.ask("sync").status == 0
            there.engine.close()
            expected = by_identity(site.documents("treatments"))
        assert home.treatments().keys() >= {name for name, doc in expected.items() if "insulin" in doc}
