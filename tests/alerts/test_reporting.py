"""What ``status`` shows of notifications and the heartbeat: kinds, what waits and the last call; never an address."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tconnectsync import Secret
from tconnectsync.alerts import sending
from tconnectsync.alerts.heartbeat import Heartbeat, LastCall, cycle_of
from tconnectsync.alerts.notification_text import Notification
from tconnectsync.alerts.outgoing import AlertState, queued, save_state
from tconnectsync.alerts.sending import AppriseSender, Attempt, SendResult
from tconnectsync.alerts.watch import open_watch
from tconnectsync.cli.status_lines import StatusLine, status_lines
from tconnectsync.clock import SystemClock
from tconnectsync.config.load import load_config
from tconnectsync.config.model import Config
from tconnectsync.plugin.manager import load_plugins
from tconnectsync.queries.alert_status import alert_status
from tests.alerts.receivers import http_receiver
from tests.alerts.statuses import status, trouble
from tests.alerts.test_heartbeat import heartbeat_to

NOW = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
ALERTS = '[alerts]\nurls = ["ntfy://secret-topic-4711", "mailto://me:pass-4712@example.org"]\n'
HEARTBEAT = '[heartbeat]\nurl = "https://hc-ping.com/uuid-4713"\n'
SETTINGS = {"TCONNECT_EMAIL": "a@example.org", "TCONNECT_PASSWORD": "x", "TCONNECT_REGION": "EU", "NS_URL": "https://site.example", "NS_SECRET": "twelve-letters"}  # fmt: skip


def configured(folder: Path, more: str) -> Config:
    path = folder / "config.toml"
    path.write_text(f'timezone = "Europe/Berlin"\ndata_dir = "{folder}"\n{more}')
    return load_config(path, SETTINGS, load_plugins())


def shown(found: dict[str, Any]) -> dict[str, StatusLine]:
    assert "471" not in json.dumps(found)
    return {line.name: line for line in status_lines(found, NOW, timezone.utc)}


def test_without_any_both_are_off(tmp_path: Path) -> None:
    lines = shown(alert_status(configured(tmp_path, ""), NOW))
    assert {name: line.level for name, line in lines.items()} == {"notifications": "off", "heartbeat": "off"}


def test_addresses_are_shown_as_kinds(tmp_path: Path) -> None:
    lines = shown(alert_status(configured(tmp_path, ALERTS + HEARTBEAT), NOW))
    assert lines["notifications"] == StatusLine(name="notifications", level="ok", lines=("2 addresses: ntfy, mailto",))
    assert (lines["heartbeat"].level, lines["heartbeat"].lines) == ("wait", ("waiting: not called yet",))


def test_unsent_notifications_are_counted(tmp_path: Path) -> None:
    """Until they are dropped."""
    config = configured(tmp_path, ALERTS)
    waiting = queued((), Notification(title="pump 4714", body="x"), config.alerts.urls, NOW - 2 * HOUR)
    save_state(tmp_path, AlertState(waiting=queued(waiting, waiting[0].message, config.alerts.urls, NOW)))
    found = alert_status(config, NOW)
    line = shown(found)["notifications"]
    assert (line.level, found["alerts"]["waiting"]) == ("wait", 2)
    assert "since 10:00 (2 h ago)" in line.lines[0]
    assert "tconnectsync alerts test" in line.lines[1]
    assert alert_status(config, NOW + 30 * HOUR)["alerts"]["waiting"] == 0


def test_without_apprise_nobody_is_told_and_that_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "is_installed", lambda: False)
    line = shown(alert_status(configured(tmp_path, ALERTS), NOW))["notifications"]
    assert line.level == "bad"
    assert "[alerts]" in line.lines[1]


@pytest.mark.parametrize(
    ("urls", "level", "words"),
    [
        (
            ["mailto://me:pass-4712@127.0.0.1:9", "tgram://x-4713"],
            "bad",
            "nobody can be notified: addresses 1 (mailto), 2",
        ),
        (
            ["json://127.0.0.1:9/4711", "tgram://BOT_TOKEN/CHAT_ID"],
            "wait",
            "address 2 (tgram) cannot be used; the others",
        ),
    ],
)
def test_addresses_that_apprise_cannot_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, urls: list[str], level: str, words: str
) -> None:
    """The watch looks at them when it starts; a cron job does so once for each address."""
    config = configured(tmp_path, f"[alerts]\nurls = {json.dumps(urls)}\n")
    opened = open_watch(config, lambda: status(NOW), clock=SystemClock())
    opened.look_at_addresses()
    line = shown(alert_status(config, NOW))["notifications"]
    assert (line.level, words in line.lines[0]) == (level, True)
    assert "tconnectsync alerts test" in line.lines[1]
    asked = []

    def look_at(_sender: AppriseSender, url: Secret) -> Attempt:
        asked.append(url.reveal())
        return Attempt(result=SendResult.USABLE)

    monkeypatch.setattr(AppriseSender, "look_at", look_at)
    opened.look_at_addresses(seen=opened.watch.state.usable)
    assert asked == [url for url in urls if not url.startswith("json")]
    assert shown(alert_status(config, NOW))["notifications"].level == "ok"


def test_a_wrong_line_beside_a_good_address(tmp_path: Path) -> None:
    (tmp_path / "addresses").write_text("ntfy://secret-topic-4711\nntfy.sh/topic-4712\n")
    found = shown(alert_status(configured(tmp_path, '[alerts]\nurls_file = "addresses"\n'), NOW))
    assert found["notifications"].level == "wait"
    assert "line 2" in found["notifications"].lines[0]
    assert "1 address: ntfy" in found["notifications"].lines


@pytest.mark.parametrize(
    ("last", "level", "words"),
    [
        (LastCall(answered_at=NOW - HOUR), "ok", ["healthchecks; last called 11:00 (1 h ago)"]),
        (LastCall(answered_at=NOW - HOUR, reason="tandem: refused"), "ok", ["to report: tandem: refused"]),
        (LastCall(trouble="no answer", failing_since=NOW - HOUR), "wait", ["since 11:00", "no answer", "alerts test"]),
    ],
)
def test_the_last_call_of_the_heartbeat(tmp_path: Path, last: LastCall, level: str, words: list[str]) -> None:
    save_state(tmp_path, AlertState(last_call=last))
    line = shown(alert_status(configured(tmp_path, HEARTBEAT), NOW))["heartbeat"]
    assert line.level == level
    assert all(word in " ".join(line.lines) for word in words)


def test_the_heartbeat_remembers_its_calls() -> None:
    """While one trouble lasts, what is remembered does not change: it is written to the disk for each change."""
    good, refused = cycle_of(status(NOW), NOW), cycle_of(status(NOW, source=trouble("refused", NOW)), NOW)
    with http_receiver() as monitor:
        heartbeat = heartbeat_to(monitor.port)
        heartbeat.beat(good)
        called = remembered(heartbeat)
        assert called.answered_at is not None
        assert (called.reason, called.trouble) == ("", "")
        heartbeat.beat(refused)
        assert "refused" in remembered(heartbeat).reason
        monitor.status = 500
        heartbeat.call("")
        failing = remembered(heartbeat)
        assert failing.answered_at is not None
        assert "500" in failing.trouble
        heartbeat.call("")
        assert remembered(heartbeat) == failing
        monitor.status = 200
        heartbeat.call("")
        assert remembered(heartbeat).failing_since is None


def remembered(heartbeat: Heartbeat) -> LastCall:
    assert heartbeat.last_call is not None
    return heartbeat.last_call
