"""Alerts and heartbeat of the real daemon and command, against real servers on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tconnectsync.alerts.outgoing import load_state
from tests.alerts.receivers import http_receiver, mail_receiver
from tests.e2e.installation import ZONE, Installation, SyncSetup, daemon, eventually, recent_pump
from tests.support.clocks import ShiftedClock
from tests.support.cloud_faults import login_refused
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[SyncSetup]:
    with FaultyTandemCloud([recent_pump(2)], ShiftedClock()) as cloud, SimulatedNightscout() as site:
        yield SyncSetup(
            cloud, site, Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=1)
        )


def test_a_refused_login_is_told_once_and_a_crash_once(setup: SyncSetup) -> None:
    """By ntfy and by mail; killed and started again, the daemon reports the crash and repeats nothing."""
    setup.cloud.faults.add(login_refused(times=1000))
    with http_receiver() as ntfy, mail_receiver() as mail:
        setup.home.configure(more=f'[alerts]\nurls = ["{ntfy.ntfy}", "{mail.address}"]\n')
        with daemon(setup.home, forked=True) as living:
            eventually(lambda: ntfy.notifications and mail.mails, "both notifications")
            eventually(lambda: not load_state(setup.home.folder / "data").waiting, "both are stored as sent")
            living.kill()
        with daemon(setup.home, forked=True) as living:
            eventually(lambda: len(ntfy.notifications) > 1 and len(mail.mails) > 1, "the crash")
            assert living.stop() < 8
        with daemon(setup.home, forked=True) as living:
            living.wait_for("started records=")
            living.stop()
        titles = [shown["title"] for shown in ntfy.notifications]
    assert len(titles) == 2
    assert "login to tandem was refused" in titles[0]
    assert "restarted" in titles[1]
    assert [mail["Subject"] for mail in mail.mails] == titles
    for shown in ntfy.notifications:
        assert setup.home.account.password not in json.dumps(shown)
        assert "@" not in shown["message"]


def test_notification_receiver_never_answers(setup: SyncSetup) -> None:
    """It delays neither data nor the stop."""
    setup.cloud.faults.add(login_refused(times=1))
    with http_receiver(silent=True) as ntfy:
        setup.home.configure(
            more=f'[alerts]\nurls = ["{ntfy.ntfy}"]\n[heartbeat]\nurl = "http://127.0.0.1:{ntfy.port}/ping/x"\n'
        )
        with daemon(setup.home, forked=True) as living:
            living.wait_for("source_trouble")
            setup.home.run("resume", "tandem")
            eventually(lambda: setup.site.count("treatments"), "a delivery")
            assert living.stop() < 9


def test_heartbeat_after_good_and_bad_cycle(setup: SyncSetup) -> None:
    """It is called after both, after the bad one with the reason."""
    with http_receiver() as monitor:
        setup.home.configure(more=f'[heartbeat]\nurl = "http://127.0.0.1:{monitor.port}/ping/my-uuid"\n')
        with daemon(setup.home, forked=True) as living:
            eventually(lambda: monitor.pings, "the first call")
            assert monitor.pings == [("/ping/my-uuid", "")]
            eventually(lambda: shown(setup)["heartbeat"]["last_called"], "status shows the call")
            assert shown(setup)["heartbeat"]["state"] == "ok"
            living.stop()
        log_in_again_refused(setup)
        with daemon(setup.home, forked=True) as living:
            eventually(lambda: len(monitor.pings) > 1, "the failure")
            living.stop()
    path, reason = monitor.pings[-1]
    assert path == "/ping/my-uuid/fail"
    assert "tandem: refused" in reason
    assert "@" not in reason


def test_the_command_sends_a_test_to_each(setup: SyncSetup) -> None:
    with http_receiver() as ntfy, http_receiver(status=403) as closed:
        setup.home.configure(
            more=f'[alerts]\nurls = ["{ntfy.ntfy}"]\n[heartbeat]\nurl = "http://127.0.0.1:{ntfy.port}/x"\n'
        )
        said = setup.home.run("alerts", "test").stdout
        assert "address 1 (ntfy): sent" in said
        assert "heartbeat: called" in said
        assert len(ntfy.notifications) == 1
        setup.home.configure(more=f'[alerts]\nurls = ["{ntfy.ntfy}", "{closed.ntfy}"]\n')
        said = setup.home.run("alerts", "test", expect=(5,)).stdout
        assert "address 2 (ntfy): not sent" in said
        assert "4711" not in said
        setup.home.configure(more=f'[alerts]\nurls = ["{closed.ntfy}", "nosuch://a-secret-part"]\n')
        done = setup.home.run("alerts", "test", expect=(2,))
        assert "address 2 (nosuch): cannot be used" in done.stdout
        assert "a-secret-part" not in done.stdout + done.stderr
        setup.home.configure(more=f'[heartbeat]\nurl = "http://127.0.0.1:{closed.port}/x"\n')
        assert "403" in setup.home.run("alerts", "test", expect=(5,)).stdout


def test_without_addresses_the_command_says_where_they_go(setup: SyncSetup) -> None:
    done = setup.home.run("alerts", "test", expect=(2,))
    assert "[alerts]" in done.stderr
    assert "docs/user/alerts.md" in done.stderr


def test_check_looks_at_the_addresses_and_sends_nothing(setup: SyncSetup) -> None:
    with http_receiver() as ntfy:
        setup.home.configure(more=f'[alerts]\nurls = ["{ntfy.ntfy}"]\n')
        assert "address 1 (ntfy) can be used" in setup.home.run("check").stdout
        assert ntfy.requests == []
    setup.home.configure(more='[alerts]\nurls = ["nosuch://a-secret-part"]\n')
    done = setup.home.run("check", expect=(9,))
    assert "address 1 (nosuch) cannot be used" in done.stdout
    assert "a-secret-part" not in done.stdout + done.stderr


def test_alerts_are_not_imported_by_a_daemon_that_has_none(setup: SyncSetup) -> None:
    import subprocess
    import sys

    script = (
        "import sys; from tconnectsync.cli.root import run; run(['run', '--help']); run(sys.argv[1:]);"
        "print(sorted(name for name in sys.modules if name.startswith(('apprise', 'tconnectsync.alerts'))), file=sys.stderr)"
    )
    words = [sys.executable, "-c", script, *setup.home.command("sync")[3:]]
    done = subprocess.run(words, env=setup.home.environment, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_a_cron_job_tells_as_the_daemon_does(setup: SyncSetup) -> None:
    """At the end of each cycle: once per change, over any number of processes."""
    with http_receiver() as ntfy:
        more = f'[alerts]\nurls = ["{ntfy.ntfy}"]\n[heartbeat]\nurl = "http://127.0.0.1:{ntfy.port}/ping/x"\n'
        setup.home.configure(more=more)
        setup.home.run("sync")
        assert ntfy.notifications == []
        assert [path for path, _ in ntfy.pings] == ["/ping/x"]
        log_in_again_refused(setup)
        setup.home.run("sync", expect=(4,))
        setup.home.run("sync", expect=(4,))
        [shown] = ntfy.notifications
        assert "login to tandem was refused" in shown["title"]
        assert [path for path, _ in ntfy.pings] == ["/ping/x", "/ping/x/fail", "/ping/x/fail"]
        with daemon(setup.home, forked=True) as living:
            living.wait_for("started records=")
            before = len(ntfy.pings)
            eventually(lambda: len(ntfy.pings) > before, "the daemon's own call")
            setup.home.run("sync", expect=(4,))
            living.stop()
        assert len(ntfy.notifications) == 1
        assert len(ntfy.pings) == before + 1, "a cycle of the daemon is reported by the daemon"


def shown(setup: SyncSetup) -> dict[str, Any]:
    """What ``status --json`` prints; it never has an address."""
    printed = setup.home.run("status", "--json").stdout
    assert "my-uuid" not in printed
    found: dict[str, Any] = json.loads(printed)
    return found


def log_in_again_refused(setup: SyncSetup) -> None:
    """From now on the cloud refuses the login, and the token that was still valid is gone."""
    setup.cloud.faults.add(login_refused(times=1000))
    for token in (setup.home.folder / "data").rglob("token.json"):
        token.unlink()
    for state in (setup.home.folder / "data" / "state").glob("*.json"):
        state.unlink()
