"""The daemon as a process: systemd's signals, commands beside it, and SIGKILL at any moment."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from random import Random
from typing import Any

import attrs
import pytest
from living_daemon import LivingDaemon, daemon, eventually
from whole_world import Installation, MovedClock, by_identity

from tconnectsync_simulator.cloud import Cloud
from tconnectsync_simulator.comparison import compare
from tconnectsync_simulator.faults import CloudFault
from tconnectsync_simulator.nightscout import Fault, SimulatedNightscout
from tconnectsync_simulator.plan import SimulationPlan
from tconnectsync_simulator.pump import SimulatedPump, simulate

ZONE = "America/New_York"
TREATMENTS = "nightscout-treatments"
PUMP_EVENTS = "nightscout-pump-events"


def a_pump(days: int, **changes: Any) -> SimulatedPump:
    """A pump that lived until now; its phone has uploaded until eight minutes ago and will not for hours."""
    now = datetime.now(timezone.utc)
    quiet = (now - timedelta(minutes=8), now + timedelta(hours=3))
    plan = SimulationPlan(
        seed=31, zone=ZONE, start=now.date() - timedelta(days=days), days=days + 2, upload_every_min=10, outages=(quiet,)
    )
    return simulate(attrs.evolve(plan, **changes))


@pytest.fixture(scope="module")
def pump() -> SimulatedPump:
    return a_pump(5)


@attrs.define
class World:
    """A cloud, a site, and an installation between them."""

    cloud: Cloud
    site: SimulatedNightscout
    home: Installation

    @property
    def requests(self) -> int:
        return len(self.cloud.requests) + len(self.site.requests)

    def treatments(self) -> dict[str, dict[str, Any]]:
        return by_identity(self.site.documents("treatments"))

    def settled(self, living: LivingDaemon) -> None:
        """Wait until the daemon has delivered everything."""
        eventually(lambda: self.site.count("activity"), "a delivery")
        self.home.run("sync")
        assert not living.ended

    def differences(self, pump: SimulatedPump, days: int) -> list[str]:
        """What the site shows otherwise than it was, but for the day that has begun and the edge of history."""
        now = datetime.now(timezone.utc)
        window = (now - timedelta(days=days), now - timedelta(hours=12))
        return compare(pump.truth, self.site.documents("treatments"), window=window).lines()


@pytest.fixture
def world(pump: SimulatedPump, tmp_path: Path) -> Iterator[World]:
    with Cloud([pump], MovedClock()) as cloud, SimulatedNightscout() as site:
        yield World(cloud, site, Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=3))


# --- systemd ----------------------------------------------------------------------------------------------------------


def test_it_is_ready_feeds_the_watchdog_delivers_and_stops(world: World, pump: SimulatedPump) -> None:
    with daemon(world.home, WATCHDOG_USEC="300000") as living:
        world.settled(living)
        eventually(lambda: living.heard.count("WATCHDOG=1") >= 5, "the watchdog is fed while nothing is to do")
        assert "STATUS=all is well" in living.heard
        assert living.stop() < 5
        assert living.heard[-1] == "STOPPING=1"
    assert world.differences(pump, 2) == []
    assert not (world.home.folder / "data/control.sock").exists()


@pytest.mark.parametrize("where", ["cloud", "site"])
def test_it_stops_in_time_although_nobody_answers_and_loses_nothing(
    world: World, pump: SimulatedPump, where: str
) -> None:
    hangs_s = 7.0
    if where == "cloud":
        world.cloud.fail(CloudFault(path="pump-logs", wait_s=hangs_s))
        waiting: Callable[[], object] = lambda: world.cloud.count("pump-logs")
    else:
        world.site.fail(Fault(path="treatments", method="POST", wait_s=hangs_s))
        waiting = lambda: any(request.method == "POST" for request in world.site.requests)
    with daemon(world.home) as living:
        eventually(waiting, "the request that is not answered")
        asked = time.monotonic()
        assert living.stop() < 10
        assert "cut_short" in living.log
    with daemon(world.home) as living:
        world.settled(living)
        # what was left behind is served now, after its documents were sent again
        eventually(lambda: time.monotonic() > asked + hangs_s + 0.3, "the late answer")
        world.settled(living)
        living.stop()
    assert world.differences(pump, 2) == []
    world.treatments()


STUCK = """
import sqlite3
import attrs
from tconnectsync import SourceSpec, hookimpl

@attrs.frozen(kw_only=True)
class Options:
    pass

class Stuck:
    decoder = 1
    def decode(self, raw):
        raise ValueError
    def poll(self, history):
        # C code that no signal gets out of, as a resolver whose name servers do not answer
        sqlite3.connect(":memory:").execute("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c")
        yield
    def check(self):
        return iter(())

@hookimpl
def tconnectsync_sources():
    return [SourceSpec(name="stuck", options=Options, open=lambda options, context: Stuck(), enabled=lambda options: True)]
"""


def test_a_call_that_ignores_signals_does_not_keep_it(world: World, tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "stuck.py").write_text(STUCK)
    path = world.home.folder / "config.toml"
    path.write_text(f'plugins_dir = "{plugins}"\n{path.read_text()}')
    with daemon(world.home) as living:
        eventually(lambda: world.cloud.count("pumper"), "the loop is at work")
        assert living.stop() < 10
        assert "left_behind" in living.log


def test_a_reload_takes_what_changed_and_refuses_what_is_wrong(world: World) -> None:
    with daemon(world.home) as living:
        world.settled(living)
        assert Counter(doc["eventType"] for doc in world.site.documents("treatments"))["Site Change"]
        right = world.home.folder / "config.toml"
        world.home.configure(more='[sinks.nightscout-pump-events]\ncannula = "Note"\n')
        good = right.read_text()
        right.write_text(good.replace('timezone = "America/New_York"', 'timezone = "Nowhere/Atlantis"'))
        living.hang_up()
        living.wait_for("reload_refused")
        assert "timezone" in living.log
        eventually(lambda: living.heard.count("READY=1") == 2, "it goes on")
        assert "Site Change" in {doc["eventType"] for doc in world.site.documents("treatments")}
        right.write_text(good)
        living.hang_up()
        living.wait_for("reloaded")
        eventually(
            lambda: "Site Change" not in {doc["eventType"] for doc in world.site.documents("treatments")}, "the new option"
        )
        world.settled(living)
        world.treatments()
        living.stop()


# --- commands beside it -----------------------------------------------------------------------------------------------


def test_commands_work_beside_it_and_what_changes_something_is_handed_to_it(world: World, pump: SimulatedPump) -> None:
    home = world.home
    today = datetime.now(timezone.utc).date()
    with daemon(home) as living:
        world.settled(living)
        before = world.treatments()

        world.site.drop("treatments")
        said = home.run("replay", TREATMENTS)
        assert f"{TREATMENTS}: " in said.stdout
        home.run("replay", PUMP_EVENTS)
        assert world.treatments() == before
        home.run("resume", TREATMENTS)
        home.run("resume", "tandem")
        home.run("dead-letters", "retry", TREATMENTS)
        home.run("dead-letters", "drop", TREATMENTS, "--all")
        home.run("adopt", TREATMENTS, "--skip")
        said = home.run("backfill", "--from", str(today - timedelta(days=5)), "--to", str(today - timedelta(days=4)))
        assert "new records" in said.stdout
        after = world.treatments()
        assert after.items() >= before.items()
        assert len(after) > len(before)
        for command in ("sync", "replay", "resume", "dead_letters_retry", "dead_letters_drop", "adopt", "backfill"):
            assert f"request command={command}" in living.log

        status = json.loads(home.run("status", "--json").stdout)
        assert {sink["state"] for name, sink in status["sinks"].items() if sink["state"] != "off"} == {"ok"}
        assert "all is well" in living.heard[-1]
        assert "ok " in home.run("status").stdout
        assert len(home.run("events", "--json", "--kind", "bolus").stdout.splitlines()) > 10
        assert "BAD" not in home.run("check").stdout
        assert "good" in home.run("log", "check").stdout
        assert "sink nightscout-iob" in home.run("plugins").stdout
        assert "Nothing is set aside." in home.run("dead-letters", "list").stdout
        assert home.run("sync", "--dry-run").stderr.startswith("0 documents would be sent")
        assert len(home.run("replay", TREATMENTS, "--dry-run").stdout.splitlines()) > 100

        for words in (("run",), ("log", "repair")):
            refused = home.run(*words, expect=(8,))
            assert f"Process {living.process.pid} is working in" in refused.stderr
            assert "systemctl stop" in refused.stderr
        assert not living.ended
        living.stop()
    assert world.differences(pump, 4) == []


def test_what_the_site_refuses_is_set_aside_and_can_be_tried_again_or_dropped(world: World) -> None:
    def is_site_change(document: Any) -> bool:
        return document.get("eventType") == "Site Change"

    home = world.home
    world.site.refuses = is_site_change
    with daemon(home) as living:
        eventually(lambda: world.site.count("activity"), "a delivery")
        said = home.run("sync", expect=(6,))
        assert "dead-letters list" in said.stderr
        letters = [json.loads(line) for line in home.run("dead-letters", "list", "--json").stdout.splitlines()]
        assert letters
        assert {letter["sink"] for letter in letters} == {PUMP_EVENTS}
        home.run("dead-letters", "retry", PUMP_EVENTS, expect=(6,))
        world.site.refuses = None
        home.run("dead-letters", "retry", PUMP_EVENTS, letters[0]["id"], expect=(0, 6))
        assert letters[0]["id"] in world.treatments()
        home.run("dead-letters", "drop", PUMP_EVENTS, "--all")
        home.run("sync")
        assert sum(map(is_site_change, world.site.documents("treatments"))) == 1
        living.stop()


def test_a_sink_that_stopped_itself_goes_on_when_it_is_told_to(world: World) -> None:
    home = world.home
    world.site.refuses = lambda document: "eventType" in document
    with daemon(home) as living:
        said = ""

        def halted() -> bool:
            nonlocal said
            said = json.dumps(json.loads(home.run("status", "--json").stdout)["sinks"][TREATMENTS])
            return "halted" in said

        eventually(halted, "the sink stops")
        assert f"tconnectsync resume {TREATMENTS}" in said
        assert world.site.count("treatments") == 0
        world.site.refuses = None
        home.run("resume", TREATMENTS, expect=(6,))
        home.run("dead-letters", "retry", TREATMENTS)
        home.run("resume", PUMP_EVENTS, expect=(0, 6))
        home.run("dead-letters", "retry", PUMP_EVENTS)
        home.run("sync")
        living.stop()
    undisturbed(world)


def test_a_request_that_cannot_be_done_does_not_end_it(world: World) -> None:
    from tconnectsync.control import SOCKET_NAME, ask
    from tconnectsync.jobs import Request, Result

    with daemon(world.home) as living:
        world.settled(living)
        asked = Request(command="backfill", args={"first": "yesterday"})
        *_, last = ask(world.home.folder / "data" / SOCKET_NAME, asked)
        assert isinstance(last, Result)
        assert last.status == 1
        assert "ValueError" in last.lines[0]
        assert not living.ended
        world.home.run("sync")
        living.stop()


def undisturbed(world: World, *more: tuple[str, ...]) -> None:
    """Another installation that nothing happens to leaves the same treatments on another site."""
    home = world.home
    with SimulatedNightscout() as site:
        calm = Installation(home.folder.parent / "calm", world.cloud, site.url, site.secret, ZONE, home.history_days)
        calm.run("sync")
        for words in more:
            calm.run(*words)
        expected = by_identity(site.documents("treatments"))
        found = world.treatments()
        assert found.keys() == expected.keys()
        assert found == expected
        assert len(by_identity(world.site.documents("devicestatus"))) == site.count("devicestatus")
    [_] = [doc for doc in world.site.documents("activity") if doc["activityType"] == "tconnect_iob"]


# --- SIGKILL ----------------------------------------------------------------------------------------------------------


def killed(world: World, dice: Random, times: int, *words: str) -> None:
    """The daemon so many times, killed at some moment of its work, after it was handed the command."""
    for _ in range(times):
        with daemon(world.home) as living:
            asker = None
            if words:
                asker = subprocess.Popen(
                    world.home.command(*words), env=world.home.environment, stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT, text=True,
                )  # fmt: skip
                eventually(lambda: "request command" in living.log, "the command arrives")
            moment, target = time.monotonic() + dice.uniform(0.0, 0.9), world.requests + dice.randint(1, 9)
            while time.monotonic() < moment and world.requests < target:
                time.sleep(0.001)
            living.kill()
            if asker is not None:
                said, _ = asker.communicate(timeout=30)
                assert asker.returncode in {0, 8}, said
                assert "Traceback" not in said


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_any_moment_it_ends_as_if_nothing_had_happened(seed: int, tmp_path: Path) -> None:
    """First sync, late uploads, backfill and replay, each through several deaths."""
    dice = Random(seed)
    pump = a_pump(13, seed=40 + seed, late_share=0.2)
    phone = MovedClock(timedelta(days=-3))
    backfill = ("backfill", "--from", str(datetime.now(timezone.utc).date() - timedelta(days=11)))
    with Cloud([pump], MovedClock()) as cloud, SimulatedNightscout(version=["15.0.7", "14.2.6"][seed % 2]) as site:
        cloud._clock = phone  # what is uploaded when; the answers' Date stays right
        home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=8)
        world = World(cloud, site, home)
        killed(world, dice, 5)
        phone.ahead = timedelta(days=-1)
        killed(world, dice, 3, "sync")
        phone.ahead = timedelta(0)
        killed(world, dice, 3, *backfill)
        killed(world, dice, 2, "replay", TREATMENTS)
        with daemon(home) as living:
            home.run(*backfill)
            home.run("replay", TREATMENTS)
            home.run("sync")
            living.stop()
        home.run("log", "check")
        assert world.differences(pump, 10) == []
        undisturbed(world, backfill)


def test_a_catch_up_goes_on_behind_the_last_finished_window(tmp_path: Path) -> None:
    pump = a_pump(40)
    with Cloud([pump], MovedClock()) as cloud, SimulatedNightscout() as site:
        home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=35)
        world = World(cloud, site, home)

        def windows() -> list[tuple[date, date]]:
            asked = [request for request in cloud.requests if request.kind == "pump-logs"]
            return [
                tuple(date.fromisoformat((request.value(key) or "")[:10]) for key in ("startDate", "endDate"))  # type: ignore[misc]
                for request in asked
            ]

        with daemon(home) as living:
            eventually(lambda: len(windows()) == 1, "the first window")
            cloud.fail(CloudFault(path="pump-logs", wait_s=2))
            eventually(lambda: len(windows()) == 2, "the second window")
            living.kill()
        first, second = windows()
        with daemon(home) as living:
            world.settled(living)
            living.stop()
        assert windows()[2] == second
        assert all(begin > first[1] for begin, _ in windows()[2:])
        assert world.differences(pump, 34) == []
        undisturbed(world)


def test_a_recent_device_status_is_not_doubled_by_a_kill(tmp_path: Path) -> None:
    """That collection keeps whatever it is sent: the answer that was lost must not make it two."""

    def has_recent_iob(pump: SimulatedPump) -> bool:
        newest = pump.truth.until(datetime.now(timezone.utc)).newest_iob
        return newest is not None and datetime.now(timezone.utc) - newest.at < timedelta(minutes=25)

    pump = next(pump for seed in range(60, 120) if has_recent_iob(pump := a_pump(3, seed=seed)))
    with Cloud([pump], MovedClock()) as cloud, SimulatedNightscout() as site:
        home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=2)
        world = World(cloud, site, home)
        site.fail(Fault(path="devicestatus", method="POST", reset="after"))
        for _ in range(3):
            with daemon(home) as living:
                eventually(lambda: site.count("devicestatus"), "the device status is stored")
                living.kill()
        with daemon(home) as living:
            eventually(lambda: "all is well" in living.heard[-1], "it is well again", within_s=45)
            home.run("resume", "nightscout-iob")
            home.run("sync")
            living.stop()
        assert site.count("devicestatus") == 1
        undisturbed(world)
