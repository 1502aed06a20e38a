"""From the pump to a real InfluxDB."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.e2e.installation import ZONE, Installation, recent_pump
from tests.influxdb.simulated_v2 import BUCKET, ORG, TOKEN, influxdb_2
from tests.support.clocks import standing_clock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.influx_server import ADMIN, Influx
from tests.support.simulated_nightscout.app import SimulatedNightscout
from tests.support.truths import known_at

DATABASE = "whole"


def test_influxdb_holds_every_dose_once(tmp_path: Path, influx: Influx) -> None:
    """Every dose, carb and reading of the pump is in the database once, `verify` agrees, and a replay changes nothing."""
    pump = recent_pump(2)
    user, password = ADMIN
    table = (
        f'[sinks.influxdb]\nenabled = true\nurl = "{influx.url}"\ndatabase = "{DATABASE}"\n'
        f'username = "{user}"\npassword = "{password}"\n'
    )
    influx.ask(f'CREATE DATABASE "{DATABASE}"')
    with FaultyTandemCloud([pump], standing_clock()) as cloud, SimulatedNightscout() as site:
        home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=1, more=table)
        home.run("sync")
        now = datetime.now(timezone.utc)
        since, until = now - timedelta(hours=20), now - timedelta(hours=4)
        before = points(influx, until)
        for bolus in known_at(pump.truth, now).boluses:
            if since < bolus.requested_at < until - timedelta(minutes=5) and (bolus.delivered_u or bolus.carbs_g):
                near = [row for row in before["bolus"] if abs(at_of(row) - bolus.requested_at) < timedelta(minutes=2)]
                amounts = [(float(str(row["insulin_u"] or 0)), float(str(row["carbs_g"] or 0))) for row in near]
                assert amounts == [pytest.approx((bolus.delivered_u, bolus.carbs_g or 0), abs=0.01)], bolus
        assert len([row for row in before["glucose"] if since < at_of(row)]) == pytest.approx(192, abs=30)
        missing = {"basal", "iob", "reservoir", "battery", "mode"} - {name for name, rows in before.items() if rows}
        assert not missing
        home.run("verify", "influxdb")
        home.run("replay", "influxdb")
        assert points(influx, until) == before


def points(influx: Influx, until: datetime) -> dict[str, list[dict[str, object]]]:
    names = ("bolus", "basal", "glucose", "iob", "reservoir", "battery", "alarm", "site_change", "mode", "suspension")
    return {
        name: [row for row in influx.rows(f"SELECT * FROM {name}", DATABASE) if at_of(row) < until] for name in names
    }


def at_of(row: dict[str, object]) -> datetime:
    return datetime.fromtimestamp(int(str(row["time"])) / 1e9, timezone.utc)


def test_a_server_that_is_away_refuses_or_fails(tmp_path: Path) -> None:
    """Each has clear words and its exit status; Nightscout is served meanwhile, and in the end every dose is there once."""
    pump = recent_pump(1)
    with influxdb_2() as bucket, FaultyTandemCloud([pump], standing_clock()) as cloud, SimulatedNightscout() as site:
        table = (
            '[sinks.influxdb]\nenabled = true\nurl = "{url}"\norg = "{org}"\nbucket = "{bucket}"\ntoken = "{token}"\n'
        )
        given = {"url": "http://127.0.0.1:1", "org": ORG, "bucket": BUCKET, "token": TOKEN}
        home = Installation(
            tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=1, more=table.format(**given)
        )

        def said_by(command: str, *expected: int) -> str:
            done = home.run(*command.split(), expect=expected)
            print(done.stdout, done.stderr)
            return done.stdout + done.stderr

        said = said_by("sync", 5)
        assert "influxdb" in said
        assert "127.0.0.1" in said
        assert site.count("treatments") > 20
        home.configure(more=table.format(**{**given, "url": bucket.url}))
        for status, expected, words in ((503, 5, "overloaded"), (401, 4, "refuses the login")):
            bucket.answers["/api/v2/write"] = (status, {"message": "overloaded"})
            said_by("resume influxdb", 0, 4, 5)
            said = said_by("sync", expected)
            assert words in said
            sinks = json.loads(home.run("status", "--json").stdout)["sinks"]
            assert words in sinks["influxdb"]["message"]
            assert {sinks[name]["state"] for name in ("nightscout-treatments", "nightscout-iob")} == {"ok"}
            assert sinks["influxdb"]["pending"] > 100
            assert not bucket.points
        bucket.answers.clear()
        home.run("resume", "influxdb")
        home.run("sync")
        told = sum(
            float(fields.get("insulin_u") or 0) for (name, *_), fields in bucket.points.items() if name == "bolus"
        )
        now = datetime.now(timezone.utc)
        first = min(at_ns for name, _, at_ns in bucket.points if name == "bolus") / 1e9
        doses = [
            each.delivered_u
            for each in known_at(pump.truth, now).boluses
            if each.delivered_u
            and each.reason != "running"
            and each.uploaded_at <= now
            and each.requested_at.timestamp() > first - 60
        ]
        assert told == pytest.approx(sum(doses), abs=0.05 * len(doses))
        home.run("verify", "influxdb")
