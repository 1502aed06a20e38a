"""The command line, in a process of its own, between the older services and a Nightscout site."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from tests.support.simulated_nightscout.app import SimulatedNightscout
from tests.tconnect.fake_services import EMAIL, GUID, PASSWORD, PUMP, Services, bolus, segment, site, timeline
from tests.tconnect.sample_exports import export, iob

ZONE = "Asia/Tokyo"
"""No daylight saving, and far from the Pacific."""


def ago(hours: float) -> str:
    """The wearer's wall clock this many hours ago."""
    at = datetime.now(ZoneInfo(ZONE)) - timedelta(hours=hours)
    return at.replace(tzinfo=None, microsecond=0).isoformat()


def utc(wall: str) -> str:
    return (
        datetime.fromisoformat(wall)
        .replace(tzinfo=ZoneInfo(ZONE))
        .astimezone(ZoneInfo("UTC"))
        .strftime("%Y-%m-%dT%H:%M")
    )


def run(folder: Path, *words: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [sys.executable, "-m", "tconnectsync", "--config", str(folder / "config.toml"), *words],
        env={"HOME": str(folder), "no_proxy": "127.0.0.1", **kept},
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def configure(folder: Path, services: Services, site: SimulatedNightscout) -> None:
    places = "\n".join(f'{name} = "{services.url}"' for name in ("login", "android", "controliq", "ws2"))
    path = folder / "config.toml"
    path.touch(mode=0o600)
    path.write_text(
        f'timezone = "{ZONE}"\ndata_dir = "{folder}/data"\n'
        f'[sources.tconnect]\nenabled = true\nemail = "{EMAIL}"\npassword = {json.dumps(PASSWORD)}\npumps = ["{PUMP}"]\n'
        f'history_days = 1\nclient_id = "app"\nclient_secret = "app-secret"\n[sources.tconnect.endpoints]\n{places}\n'
        f'[nightscout]\nurl = "{site.url}"\napi_secret = "{site.secret}"\n'
    )


def test_what_the_older_services_tell_is_on_the_site_once(services: Services, tmp_path: Path) -> None:
    services.clock.time = datetime.now(ZoneInfo("UTC"))
    start, stop, goes_on, dose = ago(8), ago(6), ago(5), ago(3)
    services.timeline = timeline(
        segment(start, 1.0, 3 * 3600, 1), segment(goes_on, 0.8, 3600, 3), suspensions=[(stop, "manual")]
    )
    services.therapy = [bolus(7007, dose, 13.53), bolus(7008, ago(2), 0.4)]
    services.csv = export(iob(("00:00:19", "13.24"))).decode()
    services.sites = [site(ago(4), "site-cart")]
    with SimulatedNightscout() as nightscout:
        configure(tmp_path, services, nightscout)
        checked = run(tmp_path, "check")
        assert "uploaded up to its event 1000" in checked
        run(tmp_path, "sync")
        first = sorted(nightscout.documents("treatments"), key=lambda one: str(one["created_at"]))
        run(tmp_path, "sync")
        again = sorted(nightscout.documents("treatments"), key=lambda one: str(one["created_at"]))
        said = run(tmp_path, "status")
    assert again == first
    assert sorted(one["insulin"] for one in first if one.get("insulin")) == [0.4, 13.53]
    assert [str(one["created_at"])[:16] for one in first if one.get("insulin") == 13.53] == [utc(dose)]
    basal = [(str(one["created_at"])[:16], one["rate"]) for one in first if one["eventType"] == "Temp Basal"]
    assert basal == [(utc(start), 1.0), (utc(stop), 0), (utc(goes_on), 0.8)]
    assert [one["eventType"] for one in first if "Change" in str(one["eventType"])] == ["Site Change"]
    for secret in (PASSWORD, "app-secret", GUID, "token-"):
        assert secret not in checked + said
        for path in (tmp_path / "data").rglob("*"):
            assert not path.is_file() or secret.encode() not in path.read_bytes()
