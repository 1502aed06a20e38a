"""What ``fleet status`` says: totals first, then who needs attention, also with thousands of people."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import attrs
import pytest

from tconnectsync_fleet.people import CheckedConfig, Member, People
from tconnectsync_fleet.person_runner import PersonRunner
from tconnectsync_fleet.schedule import ScheduledPerson
from tconnectsync_fleet.servers import STATUS, Servers
from tconnectsync_fleet.status import LATE, read_fleet, status_lines
from tconnectsync_fleet.worker_report import Rates, people_report

NOW = datetime.now(timezone.utc)
"""When this module was read. In a long run of all tests people are added minutes later, as the servers note."""
MAY = datetime(2026, 5, 14, 12, 0, tzinfo=timezone.utc)


@pytest.fixture
def added(servers: Servers, new_name: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], str]:
    """Adds somebody about whom a worker has published this."""
    monkeypatch.setattr("tconnectsync_fleet.status.live_workers", lambda _: {"w1": {"people": 1}})

    def add(published: bytes) -> str:
        name = new_name()
        People(servers).add(name, CheckedConfig(sealed=b"sealed"), replace=False)
        servers.call(servers.bucket(STATUS).put(name, published))
        return name

    return add


def test_state_of_each_person(servers: Servers, added: Callable[[bytes], str]) -> None:
    """By exit status, and "behind" if nothing was read for hours. A strange entry does not hide the others."""
    recent, old = ((NOW - age).isoformat() for age in (timedelta(minutes=1), LATE + timedelta(minutes=1)))
    people = {
        "ok": added(json.dumps({"status": 0, "lines": [], "last_fetch": recent}).encode()),
        "behind": added(json.dumps({"status": 0, "lines": [], "last_fetch": old}).encode()),
        "login refused": added(json.dumps({"status": 4, "lines": ["wrong password"], "last_fetch": recent}).encode()),
        "new": added(b"no JSON"),
    }
    odd = [
        added(json.dumps({"status": 0, "lines": [], "last_fetch": last}).encode())
        for last in ("yesterday", 1234, "2026-05-14T12:00:00", [])
    ]
    odd.append(added(b'{"status": 4, "lines": [7]}'))
    found = read_fleet(servers, NOW)
    assert {name: found["people"][name] for name in people.values()} == {name: state for state, name in people.items()}
    assert {people["behind"], people["login refused"]} <= found["troubles"].keys()
    assert not {people["ok"], people["new"]} & found["troubles"].keys()
    assert found["oldest_read"] == old
    assert found["oldest_read_of"] == people["behind"]
    assert found["people_never_read"] >= 5
    assert any(line.startswith("Never read: ") for line in status_lines(found))
    later = read_fleet(servers, datetime.now(timezone.utc) + LATE + timedelta(minutes=5))
    assert later["people"][people["new"]] == "not begun"
    assert "no worker has begun" in later["troubles"][people["new"]][0]
    for name in (*people.values(), *odd):
        People(servers).remove(name)


def test_who_waits_longest(servers: Servers, added: Callable[[bytes], str]) -> None:
    """Nobody who is paused, and after those who were never read."""
    ages = (timedelta(days=9), timedelta(days=8), timedelta(minutes=1))
    reports = [json.dumps({"status": 0, "lines": [], "last_fetch": (NOW - age).isoformat()}).encode() for age in ages]
    people = paused, oldest, _ = [added(report) for report in reports]
    store = People(servers)
    store.store(attrs.evolve(store.get(paused), paused=True))
    found = read_fleet(servers, NOW)
    assert found["people"][paused] == "paused"
    assert found["oldest_read_of"] == oldest
    lines = list(status_lines({**found, "people_never_read": 2}))
    waits = f"{oldest} waits longest: read at {found['oldest_read']}."
    assert lines[lines.index("Never read: 2 people.") + 1] == f"Of the others, {waits}"
    assert waits in list(status_lines({**found, "people_never_read": 0}))
    for name in people:
        store.remove(name)


def test_thousands_can_be_read() -> None:
    """If thousands have the same problem, people with another one are still listed."""
    people = {f"p{number}": "ok" for number in range(5000)}
    people |= {f"p{number}": "documents waiting" for number in range(1000)} | {
        "p4999": "login refused",
        "p7": "paused",
    }
    troubles = {name: [f"why {name}"] for name, state in people.items() if state not in ("ok", "paused")}
    states = {"ok": 3999, "documents waiting": 999, "login refused": 1, "paused": 1}
    lines = list(
        status_lines(
            {
                "workers": {"w1": {"people": 2400, "turns_a_minute": 300.4}, "w2": {"people": 2499, "turns_a_minute": 200.0}},
                "shares": {"w1": 2400, "w2": 2599}, "people": people, "states": states, "troubles": troubles,
                "requests_per_second": 20.0, "oldest_read": "2026-05-14T12:00:00+00:00", "oldest_read_of": "p9", "people_never_read": 0,
            }
        )
    )  # fmt: skip
    assert len(lines) < 25
    assert lines[0] == "2 workers, 5,000 people, 1,000 with a problem"
    assert lines[1] == "  ok: 3,999"
    assert any("500 turns" in line and "20 a second" in line for line in lines)
    assert any(line.startswith("  w2: 2,499 people (should have 2,599)") for line in lines)
    assert "p4999: login refused: why p4999" in lines
    assert sum("documents waiting: why" in line for line in lines) == 5
    assert lines[-1].startswith("… and 994 more")


def test_rates() -> None:
    """Over the last minute, whatever came before."""
    now = [1000.0]
    rates = Rates(lambda: now[0])
    assert rates.per_minute(500, 900) == (0.0, 0.0)
    for step in range(1, 41):
        now[0] += 4.0
        found = rates.per_minute(500 + 10 * step, 900 + 2 * step)
    assert found == (150.0, 30.0)
    now[0] += 64.0
    assert rates.per_minute(900, 980) == pytest.approx((0.0, 0.0), abs=10.0)


def test_report_of_people(tmp_path: Path) -> None:
    """Only those whom the worker has: by state, and when the oldest data was read."""

    def person(
        *,
        owned: bool = True,
        wanted: bool = False,
        status: int | None = 0,
        minutes: int | None = None,
        failures: int = 0,
        paused: bool = False,
        removed: bool = False,
    ) -> ScheduledPerson:
        entry = Member(name="p", sealed=b"", paused=paused)
        runner = cast(PersonRunner, SimpleNamespace(is_owned=owned, person=entry))
        fetched = None if minutes is None else MAY - timedelta(minutes=minutes)
        return ScheduledPerson(
            runner, status=status, last_fetch=fetched, is_wanted=wanted, failures=failures, removed=removed
        )

    people = [
        person(minutes=5),
        person(minutes=9),
        person(status=4, failures=2),
        person(status=None),
        person(owned=False, minutes=99, failures=3),
        person(owned=False, wanted=True, failures=1),
        person(owned=False, paused=True),
        person(owned=False, removed=True),
    ]
    found = people_report(people)
    assert found["people"] == 4
    assert found["people_in_fleet"] == 6  # whether somebody has them or not: a metric for those whom nobody has
    assert found["states"] == {"ok": 2, "login refused": 1, "new": 1}
    assert found["oldest_read"] == "2026-05-14T11:51:00+00:00"
    assert found["people_never_read"] == 2
    assert found["failing"] == 2  # whoever has left is another worker's, who should come and does not is this one's
