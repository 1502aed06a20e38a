"""Notifications through Apprise against real servers: ntfy's HTTP interface and SMTP."""

from __future__ import annotations

import importlib.util
import threading
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tconnectsync import Secret
from tconnectsync.alerts import apprise_process
from tconnectsync.alerts.notification_text import Notification
from tconnectsync.alerts.outgoing import (
    AlertState,
    Deliverer,
    Waiting,
    address_id,
    load_state,
    queued,
    save_state,
)
from tconnectsync.alerts.sending import AppriseSender, Attempt, SendResult, without_address
from tests.alerts.receivers import http_receiver, mail_receiver

NOW = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
SILENT = Notification(title="No new pump data since 02:10", body="What to do: open the app.")


def test_ntfy_takes_one() -> None:
    with http_receiver() as server:
        assert AppriseSender().send(Secret(server.ntfy), SILENT).result is SendResult.SENT
        [shown] = server.notifications
    assert shown["topic"] == "secret-topic-4711"
    assert shown["title"] == SILENT.title
    assert shown["message"] == SILENT.body


def test_mail_takes_one() -> None:
    with mail_receiver() as server:
        attempt = AppriseSender().send(Secret(server.address), SILENT)
        assert attempt == Attempt(result=SendResult.SENT)
        [mail] = server.mails
    assert mail["Subject"] == SILENT.title
    assert mail["To"] == "parent@example.org"
    assert "open the app" in str(mail.get_payload(decode=True))


def test_a_refusal_says_why_without_the_address() -> None:
    with http_receiver(status=403) as server:
        attempt = AppriseSender().send(Secret(server.ntfy), SILENT)
    assert attempt.result is SendResult.FAILED
    assert "403" in attempt.why
    assert "4711" not in attempt.why


def test_no_server_is_a_failure() -> None:
    with http_receiver() as server:
        address = server.ntfy
    attempt = AppriseSender().send(Secret(address), SILENT)
    assert attempt.result is SendResult.FAILED
    assert "127.0.0.1" not in attempt.why


@pytest.mark.parametrize("url", ["nosuch://token-12345678", "tgram://token-12345678", "mailto://"])
def test_an_unknown_address_is_told_from_a_failure(url: str) -> None:
    attempt = AppriseSender().look_at(Secret(url))
    assert attempt.result is SendResult.UNKNOWN
    assert "12345678" not in attempt.words
    assert "docs/user/alerts.md" in attempt.words


def test_looking_sends_nothing() -> None:
    with http_receiver() as server:
        assert AppriseSender().look_at(Secret(server.ntfy)).result is SendResult.USABLE
        assert server.requests == []


def test_a_server_that_never_answers_is_cut_off() -> None:
    begin = time.monotonic()
    with http_receiver(silent=True) as server:
        attempt = AppriseSender(deadline_s=1.5).send(Secret(server.ntfy), SILENT)
    assert attempt.result is SendResult.FAILED
    assert time.monotonic() - begin < 10


def test_stopping_ends_an_attempt() -> None:
    sender = AppriseSender()
    with http_receiver(silent=True) as server:
        timer = threading.Timer(1.0, sender.stop)
        timer.start()
        begin = time.monotonic()
        assert sender.send(Secret(server.ntfy), SILENT).result is SendResult.FAILED
        assert time.monotonic() - begin < 10
        timer.join()
    assert sender.send(Secret("ntfy://x/y"), SILENT).result is SendResult.FAILED


def test_the_missing_package_is_told_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(apprise_process.importlib, "import_module", missing)
    assert apprise_process.answer("ntfy://x/y", "title") == {"result": "missing"}
    assert "-m pip install '.[alerts]'" in Attempt(result=SendResult.MISSING).words


def test_parts_of_an_address_are_hidden() -> None:
    url = Secret("mailto://me:pass%20word@example.org?to=parent@example.net&smtp=mail.example.org")
    text = without_address("failed for parent@example.net at mail.example.org with pass word and pass%20word", url)
    for part in ("parent", "example", "pass word", "pass%20word"):
        assert part not in text


def test_apprise_is_not_in_this_process() -> None:
    assert importlib.util.find_spec("apprise") is not None
    with http_receiver() as server:
        AppriseSender().send(Secret(server.ntfy), SILENT)
    import sys

    assert "apprise" not in sys.modules


class Address:
    """An address that fails or not."""

    def __init__(self) -> None:
        self.now = 0.0
        self.down: set[str] = set()
        self.sent: list[tuple[str, Notification]] = []

    def send(self, url: Secret, message: Notification) -> Attempt:
        if url.reveal() in self.down:
            return Attempt(result=SendResult.FAILED, why="down")
        self.sent.append((url.reveal(), message))
        return Attempt(result=SendResult.SENT)

    def monotonic(self) -> float:
        return self.now


ONE, TWO = Secret("ntfy://one/a"), Secret("ntfy://two/b")


def test_address_that_was_down() -> None:
    """It gets everything later, in one notification."""
    world = Address()
    deliverer = Deliverer(send=world.send, monotonic=world.monotonic)
    world.down = {ONE.reveal()}
    waiting = deliverer.deliver(queued((), SILENT, (ONE, TWO), NOW), (ONE, TWO), NOW)
    assert [url for url, _ in world.sent] == [TWO.reveal()]
    assert waiting == (Waiting(at=NOW, message=SILENT, addresses=(address_id(ONE),), taken=True),)
    back = Notification(title="Pump data is coming again", body="well")
    waiting = deliverer.deliver(queued(waiting, back, (ONE, TWO), NOW), (ONE, TWO), NOW)
    world.down = set()
    assert deliverer.deliver(waiting, (ONE, TWO), NOW) == waiting  # its back-off is not over
    world.now = 120.0
    assert deliverer.deliver(waiting, (ONE, TWO), NOW) == ()
    url, last = world.sent[-1]
    assert url == ONE.reveal()
    assert last.title.startswith(back.title)
    assert SILENT.body in last.body
    assert len(world.sent) == 3


def test_what_is_old_or_for_a_removed_address_is_dropped() -> None:
    world = Address()
    deliverer = Deliverer(send=world.send, monotonic=world.monotonic)
    waiting = queued((), SILENT, (ONE, TWO), NOW)
    assert deliverer.deliver(waiting, (TWO,), NOW + timedelta(hours=1)) == ()
    assert [url for url, _ in world.sent] == [TWO.reveal()]
    assert deliverer.deliver(waiting, (ONE,), NOW + timedelta(days=2)) == ()
    assert len(world.sent) == 1


def test_the_file_survives_and_names_no_address(tmp_path: Path) -> None:
    state = AlertState(waiting=queued((), SILENT, (ONE,), NOW))
    save_state(tmp_path, state)
    assert load_state(tmp_path) == state
    assert "one/a" not in (tmp_path / "alerts.json").read_text()
    (tmp_path / "alerts.json").write_text("{")
    assert load_state(tmp_path) == AlertState()


def test_an_address_that_apprise_shortens_is_hidden_too() -> None:
    """It shows the first and the last letter of a topic."""
    found = without_address("Unparseable URL ntyf://t...1", Secret("ntyf://topic-secret-1"))
    assert found == "Unparseable URL …"
