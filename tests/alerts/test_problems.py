"""What counts as a problem, and what is only a temporary moment."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tconnectsync.alerts.problems import Problem, problems_of
from tests.alerts.statuses import status, trouble

NOW = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def found(**parts: Any) -> dict[str, Problem]:
    return {problem.key: problem for problem in problems_of(status(NOW, **parts), NOW, 3 * HOUR)}


def test_all_is_well() -> None:
    assert found() == {}


@pytest.mark.parametrize(
    ("state", "for_", "bad"),
    [
        ("refused", timedelta(0), True),
        ("damaged", timedelta(0), True),
        ("changed", HOUR, False),
        ("changed", 66 * MINUTE, True),
        ("backing_off", 5 * HOUR, False),
        ("waiting", 5 * HOUR, False),
    ],
)
def test_a_source_in_trouble(state: str, for_: timedelta, bad: bool) -> None:
    """What passes by itself counts only when data is missing."""
    assert ("source tandem" in found(source=trouble(state, NOW - for_))) is bad


@pytest.mark.parametrize(
    ("state", "for_", "bad"),
    [
        ("refused", timedelta(0), True),
        ("halted", timedelta(0), True),
        ("braked", timedelta(0), True),
        ("backing_off", 2 * HOUR, False),
        ("backing_off", 3 * HOUR, True),
        ("waiting", 4 * HOUR, True),
    ],
)
def test_a_sink_in_trouble(state: str, for_: timedelta, bad: bool) -> None:
    sinks = {"nightscout-iob": trouble(state, NOW - for_)}
    assert ("sink nightscout" in found(sinks=sinks)) is bad


def test_sinks_of_one_site() -> None:
    """They are one problem, and the worst counts."""
    sinks = {
        "nightscout-iob": trouble("backing_off", NOW - 4 * HOUR),
        "nightscout-treatments": trouble("refused", NOW, remedy="Give the new secret."),
    }
    [problem] = found(sinks=sinks).values()
    assert problem.state == "refused"
    assert problem.remedy == "Give the new secret."


def test_waiting_and_backing_off_are_the_same_trouble() -> None:
    waits, fails = (
        found(sinks={"nightscout-iob": trouble(state, NOW - 4 * HOUR)})["sink nightscout"]
        for state in ("waiting", "backing_off")
    )
    assert (waits.state, waits.title) == (fails.state, fails.title)


def test_refused_documents_are_a_problem_of_their_own() -> None:
    problem = found(sinks={"nightscout-treatments": {"dead": 3}})["refused documents nightscout"]
    assert "3 documents" in problem.title
    assert "dead-letters list" in problem.remedy


def test_no_new_data_names_the_phone_if_the_cloud_was_read() -> None:
    problem = found(newest=NOW - 4 * HOUR)["data"]
    assert problem.since == NOW - 4 * HOUR
    assert "phone" in problem.remedy
    assert not problem.consequence
    assert found(newest=NOW - 2 * HOUR) == {}


def test_no_new_data_names_the_cloud_if_it_was_not_read() -> None:
    source = trouble("backing_off", NOW - 4 * HOUR, "Tandem does not answer", "Wait.")
    problem = found(newest=NOW - 4 * HOUR, fetched=NOW - 4 * HOUR, source=source)["data"]
    assert problem.message == "Tandem does not answer"
    assert problem.remedy == "Wait."


def test_a_computer_that_slept_asks_first() -> None:
    """Data that were not asked for are not missing, unless nobody asks at all."""
    assert found(newest=NOW - 3.5 * HOUR, fetched=NOW - 3.4 * HOUR) == {}
    assert "data" in found(newest=NOW - 4.1 * HOUR, fetched=NOW - 4 * HOUR)


def test_a_refused_login_explains_missing_data() -> None:
    problems = found(newest=NOW - 8 * HOUR, source=trouble("refused", NOW - 8 * HOUR))
    assert not problems["source tandem"].consequence
    assert problems["data"].consequence


def test_the_machine() -> None:
    problems = found(disk="32 MB free", damaged="log/1.jsonl line 5: broken")
    assert problems.keys() == {"disk", "log"}
    assert problems["disk"].remedy == "Make room."


def test_nothing_is_known_yet() -> None:
    empty = {"sources": {"tandem": {"state": "waiting", "since": None, "pumps": {}, "newest_event": None}}, "sinks": {}}
    assert problems_of(empty, NOW, 3 * HOUR) == ()


def test_a_clock_that_was_ahead_hides_no_refusal() -> None:
    assert "source tandem" in found(source=trouble("refused", NOW + 400 * HOUR))


@pytest.mark.parametrize(("for_", "bad"), [(2 * HOUR, False), (4 * HOUR, True)])
def test_no_data_ever(for_: timedelta, bad: bool) -> None:
    """You are notified if a source cannot be read for long, also without any data."""
    never = {**trouble("backing_off", NOW - for_), "pumps": {}, "newest_event": None}
    problems = {p.key: p for p in problems_of({"sources": {"tandem": never}, "sinks": {}}, NOW, 3 * HOUR)}
    assert list(problems) == ["data"] * bad
    assert all(problem.since == NOW - for_ and problem.remedy == "Look." for problem in problems.values())


@pytest.mark.parametrize(("state", "bad"), [("waiting", True), ("ok", False)])
def test_data_from_the_future(state: str, bad: bool) -> None:
    """If this computer's clock is behind, data has no age: then the trouble of the source counts."""
    problems = found(newest=NOW + 5 * HOUR, source=trouble(state, NOW - 4 * HOUR if bad else None))
    assert list(problems) == ["data"] * bad
