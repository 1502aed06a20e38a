"""The daemon as a process: systemd's signals, and commands beside it."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tconnectsync_simulator.pump.pump import SimulatedPump
from tests.e2e.installation import (
    PUMP_EVENTS,
    TREATMENTS,
    ZONE,
    Installation,
    SyncSetup,
    daemon,
    eventually,
    recent_pump,
    undisturbed,
)
from tests.support.clocks import ShiftedClock
from tests.support.cloud_faults import CloudFault
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout
from tests.support.simulated_nightscout.faults import SiteFault


@pytest.fixture(scope="module")
def pump() -> SimulatedPump:
    """A pump with five days of records, until now."""
    return recent_pump(5)


@pytest.fixture
def setup(pump: SimulatedPump, tmp_path: Path) -> Iterator[SyncSetup]:
    """Cloud, site and configuration for a real daemon."""
    with FaultyTandemCloud([pump], ShiftedClock()) as cloud, SimulatedNightscout() as site:
        yield SyncSetup(
            cloud, site, Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=3)
        )


# --- systemd ----------------------------------------------------------------------------------------------------------


def test_daemon_life(setup: SyncSetup, pump: SimulatedPump) -> None:
    """The daemon is ready, feeds the watchdog, delivers and stops."""
    with daemon(setup.home, WATCHDOG_USEC="300000") as living:
        setup.settled(living)
        eventually(lambda: living.heard.count("WATCHDOG=1") >= 5, "the watchdog is fed while nothing is to do")
        assert "STATUS=all is well" in living.heard
        assert living.stop() < 5
        assert living.heard[-1] == "STOPPING=1"
    assert setup.differences(pump, 2) == []
    assert not (setup.home.folder / "data/control.sock").exists()


STUCK = """
import ctypes
from pathlib import Path
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
        Path(__file__).with_suffix(".at-work").touch()
        # C code that no signal gets out of, as a resolver whose name servers do not answer: a lock that is never opened
        lock = ctypes.create_string_buffer(256)
        for _ in range(2):
            ctypes.CDLL(None).pthread_mutex_lock(lock)
        yield
    def check(self):
        return iter(())

@hookimpl
def tconnectsync_sources():
    return [SourceSpec(name="stuck", options=Options, open=lambda options, context: Stuck(), enabled=lambda options: True)]
"""


def test_daemon_stops_in_time(setup: SyncSetup, pump: SimulatedPump, tmp_path: Path) -> None:
    """The daemon stops in time, whatever it waits for, and loses nothing.

    It waits for a call that no signal interrupts, a cloud that does not answer, and a site that does not answer.
    """
    hangs_s = 12.0
    stuck, unheard, undelivered = (
        Installation(tmp_path / name, setup.cloud, setup.site.url, setup.site.secret, ZONE, 3) for name in "abc"
    )
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "stuck.py").write_text(STUCK)
    path = stuck.folder / "config.toml"
    path.write_text(f'plugins_dir = "{plugins}"\n{path.read_text()}')
    with contextlib.ExitStack() as stack:
        living = [stack.enter_context(daemon(stuck))]
        eventually((plugins / "stuck.at-work").exists, "its loop is in the call")
        before = setup.cloud.count("pump-logs")
        setup.cloud.fail(CloudFault(path="pump-logs", wait_s=60.0))
        living.append(stack.enter_context(daemon(unheard)))
        eventually(lambda: setup.cloud.count("pump-logs") > before, "a request to the cloud")
        setup.site.fail(SiteFault(path="treatments", method="POST", wait_s=hangs_s))
        living.append(stack.enter_context(daemon(undelivered)))
        eventually(lambda: any(request.method == "POST" for request in setup.site.requests), "a delivery")
        asked = time.monotonic()
        for each in living:
            each.process.terminate()
        for each in living:
            assert each.process.wait(10) == 0, each.log
        assert time.monotonic() - asked < 10
        assert ["interrupted" in each.log for each in living] == [False, True, True]
        assert "forced_exit" in living[0].log
    with daemon(undelivered) as again:
        setup.settled(again)
        # what was left behind is served now, after its documents were sent again
        eventually(lambda: time.monotonic() > asked + hangs_s + 0.3, "the late answer")
        undelivered.run("sync")
        again.stop()
    unheard.run("sync")
    assert setup.differences(pump, 2) == []
    setup.treatments()


def test_daemon_reload(setup: SyncSetup) -> None:
    """A reload takes what changed and refuses what is wrong. The commands are processes too."""
    setup.home.starts_processes = True
    with daemon(setup.home) as living:
        setup.settled(living)
        assert "Site Change" in {doc["eventType"] for doc in setup.site.documents("treatments")}
        right = setup.home.folder / "config.toml"
        setup.home.configure(more='[sinks.nightscout-pump-events]\ncannula = "Note"\n')
        good = right.read_text()
        right.write_text(good.replace(f'timezone = "{ZONE}"', 'timezone = "Nowhere/Atlantis"'))
        living.hang_up()
        living.wait_for("reload_refused")
        assert "timezone" in living.log
        said = setup.home.run("status", expect=(2,))
        assert "BAD   daemon" in said.stdout
        assert "systemctl reload" in said.stdout
        eventually(lambda: living.heard.count("READY=1") == 2, "it goes on")
        assert "Site Change" in {doc["eventType"] for doc in setup.site.documents("treatments")}
        right.write_text(good)
        assert setup.home.run("status", "--exit-code", expect=(9,)).stdout.count("\nBAD ") == 1
        living.hang_up()
        living.wait_for("reloaded")
        assert json.loads(setup.home.run("status", "--json").stdout)["daemon"]["state"] == "ok"
        eventually(
            lambda: "Site Change" not in {doc["eventType"] for doc in setup.site.documents("treatments")},
            "the new option",
        )
        setup.settled(living)
        setup.treatments()
        data = setup.home.folder / "data"
        for refused, spoil, mend in (
            ("until it is restarted", lambda: right.write_text(good.replace("/data", "/other")), lambda: right.write_text(good)),
            ("is not the data folder", lambda: data.rename(data.with_name("away")), lambda: data.with_name("away").rename(data)),
        ):  # fmt: skip
            spoil()
            living.hang_up()
            living.wait_for(refused)
            mend()
            assert not data.with_name("other").exists()
            assert json.loads(setup.home.run("status", "--json").stdout)["log"]["positions"] > 0
        living.hang_up()
        living.stop()


# --- commands beside it -----------------------------------------------------------------------------------------------


def test_commands_beside_daemon(setup: SyncSetup, pump: SimulatedPump) -> None:
    """Commands work beside the daemon; those that change something are handed over to it."""
    home = setup.home
    today = datetime.now(timezone.utc).date()
    with daemon(home) as living:
        setup.settled(living)
        before = setup.treatments()

        setup.site.drop("treatments")
        said = home.run("replay", TREATMENTS)
        assert f"{TREATMENTS}: " in said.stdout
        home.run("replay", PUMP_EVENTS)
        assert setup.treatments() == before
        home.run("resume", TREATMENTS)
        home.run("resume", "tandem")
        home.run("dead-letters", "retry", TREATMENTS)
        home.run("dead-letters", "drop", TREATMENTS, "--all")
        home.run("adopt", TREATMENTS, "--skip")
        said = home.run("backfill", "--from", str(today - timedelta(days=5)), "--to", str(today - timedelta(days=4)))
        assert re.search(r"[1-9][\d,]+ new pump events, [\d,]+ were in the log already", said.stdout)
        again = home.run("backfill", "--from", str(today - timedelta(days=5)), "--to", str(today - timedelta(days=4)))
        assert re.search(r"^0 new pump events, [1-9][\d,]+ were in the log already", again.stdout, re.MULTILINE)
        assert "own configuration" not in said.stderr
        other = home.run("--features", "BASAL", "sync")
        assert f"own configuration ({home.folder}/config.toml)" in other.stderr
        assert "`systemctl reload tconnectsync`" in other.stderr
        after = setup.treatments()
        moved = [document for name, document in before.items() if after.get(name) != document]
        first = min(document["created_at"] for document in before.values())[: len("2026-01-31T00:00:00")]
        assert all(document["created_at"].startswith(first) for document in moved), (
            "at the edge of the days known before"
        )
        assert {document["eventType"] for document in moved} <= {"Temp Basal", "Sleep"}, "they began a day earlier"
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
        assert "There are no dead letters" in home.run("dead-letters", "list").stdout
        assert home.run("sync", "--dry-run").stderr.startswith("0 documents would be sent")
        shown = [json.loads(line) for line in home.run("replay", TREATMENTS, "--dry-run").stdout.splitlines()]
        held = {id_: document for id_, document in setup.treatments().items() if document["sink"] == TREATMENTS}
        assert {each["id"] for each in shown} == held.keys()
        for each in shown:  # a site leaves out what is 0
            assert all(held[each["id"]].get(name, 0) == value for name, value in each["document"].items())

        home.starts_processes = True
        for words in (("run",), ("log", "repair")):
            refused = home.run(*words, expect=(8,))
            assert f"Process {living.process.pid} is using" in refused.stderr
            assert "systemctl stop" in refused.stderr
        assert not living.ended
        living.stop()
    assert setup.differences(pump, 4) == []


def test_daemon_dead_letters(setup: SyncSetup) -> None:
    """Documents that the site refuses are set aside and can be tried again or dropped."""

    def is_site_change(document: Any) -> bool:
        return document.get("eventType") == "Site Change"

    home = setup.home
    setup.site.refuses, setup.site.refusal_status = is_site_change, 400
    with daemon(home) as living:
        eventually(lambda: setup.site.count("activity"), "a delivery")
        said = home.run("sync", expect=(6,))
        assert "dead-letters list" in said.stderr
        letters = [json.loads(line) for line in home.run("dead-letters", "list", "--json").stdout.splitlines()]
        assert letters
        assert {letter["sink"] for letter in letters} == {PUMP_EVENTS}
        home.run("dead-letters", "retry", PUMP_EVENTS, expect=(6,))
        setup.site.refuses = None
        home.run("dead-letters", "retry", PUMP_EVENTS, letters[0]["id"], expect=(0, 6))
        assert letters[0]["id"] in setup.treatments()
        home.run("dead-letters", "drop", PUMP_EVENTS, "--all")
        home.run("sync")
        assert sum(map(is_site_change, setup.site.documents("treatments"))) == 1
        living.stop()


def test_daemon_resume(setup: SyncSetup) -> None:
    """A sink that stopped itself resumes on command."""
    home = setup.home
    setup.site.refuses, setup.site.refusal_status = lambda document: "eventType" in document, 400
    with daemon(home) as living:
        said = ""

        def halted() -> bool:
            nonlocal said
            said = json.dumps(json.loads(home.run("status", "--json").stdout)["sinks"][TREATMENTS])
            return "halted" in said

        eventually(halted, "the sink stops")
        assert f"tconnectsync resume {TREATMENTS}" in said
        assert setup.site.count("treatments") == 0
        setup.site.refuses = None
        home.run("resume", TREATMENTS)
        home.run("dead-letters", "retry", TREATMENTS)
        home.run("resume", PUMP_EVENTS, expect=(0, 6))
        home.run("dead-letters", "retry", PUMP_EVENTS)
        home.run("sync")
        living.stop()
    undisturbed(setup)


def test_daemon_impossible_request(setup: SyncSetup) -> None:
    """A request that cannot be done does not end the daemon."""
    from tconnectsync.daemon.control_socket import ask
    from tconnectsync.daemon.state import SOCKET_NAME
    from tconnectsync.jobs.messages import Request, Result

    with daemon(setup.home) as living:
        setup.settled(living)
        asked = Request(command="backfill", args={"first": "yesterday"})
        *_, last = ask(setup.home.folder / "data" / SOCKET_NAME, asked)
        assert isinstance(last, Result)
        assert last.status == 1
        assert "ValueError" in last.lines[0]
        assert not living.ended
        setup.home.run("sync")
        living.stop()


def test_delivery_is_one_log_line(setup: SyncSetup) -> None:
    """Each delivery is one line in the log.

    It has the number of documents and the newest one's time, however many batches there were. If nothing was sent,
    there is none.
    """
    with daemon(setup.home) as living:
        setup.settled(living)
        lines = [line for line in living.log.splitlines() if f"delivered sink={TREATMENTS} " in line]
        living.stop()
    [line] = lines
    found = re.search(r'message="(\d+) documents delivered, newest \d\d:\d\d"', line)
    assert found is not None, line
    assert int(found[1]) > 20
