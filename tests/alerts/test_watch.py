"""The watch over a month: what a parent gets to read, and what is never in it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import pytest

from tconnectsync import Secret
from tconnectsync.alerts.notification_text import Notification
from tconnectsync.alerts.outgoing import Deliverer, load_state
from tconnectsync.alerts.sending import Attempt, SendResult
from tconnectsync.alerts.watch import Watch, label_of
from tconnectsync.config.alert_options import AlertOptions
from tests.alerts.statuses import OK, SERIAL, SINKS, status, trouble

START = datetime(2026, 11, 1, 23, tzinfo=timezone.utc)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
URL = Secret("ntfy://ntfy.invalid/secret-topic-4711")


@attrs.define
class WatchBench:
    """A watch with a clock that is set, a status that is given, and an address that keeps what it gets."""

    folder: Path
    time: datetime = START
    read: Callable[[datetime], Mapping[str, Any]] = status
    got: list[tuple[datetime, Notification]] = attrs.field(factory=list)
    down: bool = False
    watch: Watch = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.begin()

    def now(self) -> datetime:
        self.time += timedelta(milliseconds=1)  # a clock moves
        return self.time

    def monotonic(self) -> float:
        return (self.time - datetime(2020, 1, 1, tzinfo=timezone.utc)).total_seconds()

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    def send(self, url: Secret, message: Notification) -> Attempt:
        if self.down:
            return Attempt(result=SendResult.FAILED, why="no internet")
        self.got.append((self.time, message))
        return Attempt(result=SendResult.SENT)

    def begin(self, *, after_crash: bool = False) -> None:
        """Start the process again."""
        self.watch = Watch(
            folder=self.folder,
            read_status=lambda: self.read(self.time),
            options=AlertOptions(urls=(URL,)),
            zone_at=lambda _day: ZoneInfo("Europe/Berlin"),
            clock=self,
            redact=lambda text: text.replace("pump-password", "…"),
            after_crash=after_crash,
            deliverer=Deliverer(send=self.send, monotonic=self.monotonic, rng=random.Random(1)),
        )

    def run(
        self, span: timedelta, read: Callable[[datetime], Mapping[str, Any]] | None = None, *, every: timedelta = MINUTE
    ) -> list[str]:
        """Watch for this long; return the titles of what was sent."""
        before, end, self.read = len(self.got), self.time + span, read or self.read
        while self.time < end:
            self.watch.look()
            self.time += every
        return [message.title for _, message in self.got[before:]]


@pytest.fixture
def bench(tmp_path: Path) -> WatchBench:
    return WatchBench(tmp_path)


def refused(now: datetime) -> dict[str, Any]:
    message = f"login of me@example.org refused, pump {SERIAL}, password pump-password"
    return status(now, source=trouble("refused", START + 2 * HOUR, message, "Enter the new password."))


def test_a_refused_login_from_beginning_to_end(bench: WatchBench) -> None:
    assert bench.run(3 * HOUR) == []
    began, lasts = bench.run(20 * HOUR, refused)
    assert began == "The login to tandem was refused since 02:00"
    assert lasts.startswith("Still: ")
    assert bench.run(HOUR, status) == ["Tandem is read again"]
    first, last = bench.got[0][1].body, bench.got[-1][1].body
    assert "What to do: Enter the new password." in first
    assert "lasted" in last


def test_nothing_to_do_is_not_something_to_do(bench: WatchBench) -> None:
    remedy = "Nothing to do: the daemon retries."
    bench.run(HOUR, lambda now: status(now, source=trouble("refused", START, "closed", remedy)))
    assert f"\n{remedy}" in bench.got[0][1].body
    assert "What to do" not in bench.got[0][1].body


@attrs.define
class ShowingReceiver:
    """A receiver that shows problems; a broken one raises."""

    shown: list[list[str]] = attrs.field(factory=list)
    broken: bool = False
    left: int = 0

    def show(self, problems: Sequence[str]) -> None:
        self.shown.append(list(problems))
        if self.broken:
            raise ValueError("a plugin's own")

    def leave(self) -> None:
        self.left += 1
        if self.broken:
            raise ValueError("a plugin's own")


def test_receivers_show_the_problems(bench: WatchBench) -> None:
    """Each look shows the present problems; a receiver that fails disturbs neither others nor notifications."""
    broken, whole = ShowingReceiver(broken=True), ShowingReceiver()
    bench.watch.presences = (broken, whole)
    bench.run(HOUR, status)
    assert len(bench.run(5 * HOUR, refused)) == 1
    bench.run(HOUR, status)
    assert whole.shown[0] == []
    assert ["The login to tandem was refused"] in whole.shown
    assert whole.shown[-1] == []
    assert len(broken.shown) == len(whole.shown)
    bench.watch.leave()
    assert (broken.left, whole.left) == (1, 1)


def test_nothing_private_is_sent(bench: WatchBench) -> None:
    bench.run(HOUR, refused)
    [(_, message)] = bench.got
    for private in (SERIAL, "me@example.org", "pump-password", "4711"):
        assert private not in message.title + message.body
    kept = (bench.folder / "alerts.json").read_text()
    assert "4711" not in kept


def test_a_restart_repeats_nothing(bench: WatchBench) -> None:
    assert len(bench.run(HOUR, refused)) == 1
    bench.begin()
    assert bench.run(HOUR) == []
    bench.begin(after_crash=True)
    [title] = bench.run(HOUR)
    assert "restarted" in title


def test_restart_while_data_are_missing(bench: WatchBench) -> None:
    """The problem neither ends nor is sent again."""
    silent = START - 4 * HOUR
    assert len(bench.run(HOUR, lambda now: status(now, newest=silent))) == 1
    bench.begin()
    assert bench.run(HOUR) == []


def test_without_internet_it_is_told_later_and_once(bench: WatchBench) -> None:
    bench.down = True
    bench.run(6 * HOUR, refused)
    assert bench.got == []
    bench.begin()
    bench.down = False
    assert len(bench.run(HOUR)) == 1
    assert load_state(bench.folder).waiting == ()


def test_a_failing_look_stops_nothing(bench: WatchBench, caplog: pytest.LogCaptureFixture) -> None:
    def fail(now: datetime) -> Mapping[str, Any]:
        raise RuntimeError("harm")

    bench.run(10 * MINUTE, fail)
    assert caplog.text.count("watch_failed") == 1
    bench.run(10 * MINUTE, refused)
    assert sum("login" in message.title for _, message in bench.got) == 1


def test_a_full_disk_does_not_silence_it(bench: WatchBench) -> None:
    (bench.folder / "alerts.json.tmp").mkdir()  # it cannot be written
    assert len(bench.run(HOUR, refused)) == 1


def test_several_at_once_are_one_notification(bench: WatchBench) -> None:
    sinks = {name: trouble("refused", START) for name in SINKS}
    [title] = bench.run(HOUR, lambda now: status(now, sinks=sinks, disk="32 MB free"))
    assert "1 more" in title
    assert bench.got[0][1].body.count("What to do") == 2


def test_the_file_of_one_person_labels_it() -> None:
    assert label_of(Path("/etc/tconnectsync/anna.toml")) == "anna"
    assert label_of(Path("/etc/tconnectsync/config.toml")) == label_of(None) == ""


def a_month(seed: int) -> Callable[[datetime], Mapping[str, Any]]:
    """A month with faults: a dozen nights of a phone that is off for two to seven hours, eight short outages and one long one of
    the cloud, a site that flaps for a day, a refused login, a full disk, a changed answer, and refused documents."""
    rng = random.Random(seed)
    silences = [
        (START + n * DAY + rng.random() * 12 * HOUR, rng.uniform(2, 7) * HOUR) for n in rng.sample(range(30), 12)
    ]
    outages = [(START + rng.random() * 29 * DAY, rng.uniform(0.1, 2) * HOUR) for _ in range(8)]
    outages.append((START + 9 * DAY, 9 * HOUR))

    def within(now: datetime, spans: list[tuple[datetime, timedelta]]) -> datetime | None:
        return next((at for at, span in spans if at <= now < at + span), None)

    def read(now: datetime) -> Mapping[str, Any]:
        day = (now - START) / DAY
        off, down = within(now, silences), within(now, outages)
        source: Mapping[str, Any] = OK
        if down:
            source = trouble("backing_off", down, "Tandem does not answer")
        if 12 <= day < 12.8:
            source = trouble("refused", START + 12 * DAY, "login refused")
        if 20 <= day < 21.5:
            source = trouble("changed", START + 20 * DAY, "an unknown answer")
        stopped = min([at for at in (off, down) if at], default=None)
        if source["state"] in ("refused", "changed"):
            stopped = datetime.fromisoformat(source["since"].replace("Z", "+00:00"))
        sinks: dict[str, Any] = {}
        if 15 <= day < 16 and int(day * 24 * 3) % 2:
            sinks = {name: trouble("refused", now - 5 * MINUTE) for name in SINKS}
        if 25 <= day < 25.4:
            sinks["nightscout-treatments"] = {"dead": 2}
        return status(
            now,
            newest=stopped,
            fetched=stopped if down or source is not OK else None,
            source=source,
            sinks=sinks,
            disk="12 MB free" if 27 <= day < 27.2 else "",
        )

    return read


@pytest.mark.parametrize("seed", range(2))
def test_a_month_with_faults_is_bearable(bench: WatchBench, seed: int) -> None:
    """About one notification a day in a bad month, never more than ten in a day, and nothing is open at its end."""
    titles = bench.run(32 * DAY, a_month(seed), every=3 * MINUTE)
    print("\n".join(f"{at:%d %H:%M} {message.title}" for at, message in bench.got))
    assert 20 <= len(titles) <= 50
    per_day = [sum(at <= other < at + DAY for other, _ in bench.got) for at, _ in bench.got]
    assert max(per_day) <= 10
    assert all(known.told == "" for known in bench.watch.state.known.values())
    for words in ("login", "disk", "No new pump data", "refused 2 documents"):
        assert any(words.lower() in title.lower() for title in titles), words


def test_a_month_without_faults_is_silent(bench: WatchBench) -> None:
    assert bench.run(30 * DAY, status, every=10 * MINUTE) == []
