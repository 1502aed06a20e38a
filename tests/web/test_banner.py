"""What the top of a page says when something is wrong: what, since when, the pump, what to do, and whether it can wait."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import pytest

from tconnectsync import Zones
from tconnectsync.health.states import HealthState
from tconnectsync_web.languages import Languages
from tconnectsync_web.pages.banner import Banner, banner
from tconnectsync_web.pages.chain import chain
from tconnectsync_web.pages.faults import FAULTS, SINK_FAULTS, SOURCE_FAULTS, Fault
from tests.web.fake_reader import NOW, good_status, iso

LANGUAGES = Languages()
ENGLISH, GERMAN = LANGUAGES.choose(["en-US"]), LANGUAGES.choose(["de"])
BERLIN = Zones(timezone="Europe/Berlin")  # NOW is 18:00 there
NIGHT = datetime(2026, 6, 11, 1, 12, tzinfo=timezone.utc)


def plain(words: str) -> str:
    """With plain blanks: the one before PM depends on the release of Babel."""
    return words.replace("\u202f", " ")


def shown(status: Mapping[str, Any], texts: Any = ENGLISH, now: datetime = NOW, last_zone: str = "") -> Banner:
    return banner(chain(status, texts, now), texts, BERLIN, now, last_zone)


def with_source(**changes: Any) -> dict[str, Any]:
    status = good_status()
    status["sources"]["tandem"] |= changes
    return status


REFUSED = with_source(
    state="refused", since=iso(40), last_fetch=iso(45), message="Tandem refuses it", remedy="Run `tconnectsync check`."
)


def test_without_a_problem_there_are_no_lines() -> None:
    found = shown(good_status())
    assert (found.level.value, found.problems, found.pump, found.wait, found.arrives) == ("ok", (), "", "", True)


def test_a_refused_login_says_all_that_a_parent_asks() -> None:
    """What, since when by the clock and how long, the pump, what to do in a browser first, the command second, the morning."""
    found = shown(REFUSED)
    [problem] = found.problems
    assert "Tandem refuses the login" in problem.what
    assert plain(problem.since) == "Since 5:20 PM (40 min)."
    assert "browser" in problem.step
    assert "`" not in problem.step
    assert problem.commands == ["Run `tconnectsync check`."]
    assert problem.reports == ["Tandem refuses it"]
    assert "does not change what the pump does" in found.pump
    assert "not urgent if you look at the glucose on the pump" in found.wait
    assert not found.arrives


def test_at_night_it_says_whether_it_can_wait_until_morning() -> None:
    found = shown(REFUSED, now=NIGHT)
    assert "until morning" in found.wait
    assert plain(found.problems[0].since) == "Since 5:20 PM (9 h 52 min)."


@pytest.mark.parametrize(
    ("zone", "waits"), [("very-low", False), ("low", False), ("in-range", True), ("high", True), ("very-high", False)]
)
def test_nothing_can_wait_after_a_low_glucose(zone: str, waits: bool) -> None:
    """If no data arrives after a low value, the page does not say that it can wait. A failing receiver is less urgent."""
    assert ("Do not wait" not in shown(REFUSED, now=NIGHT, last_zone=zone).wait) is waits
    status = good_status()
    status["sinks"]["nightscout-treatments"] |= {"state": "backing_off", "since": iso(75), "message": "no answer"}
    assert "Do not wait" not in shown(status, last_zone=zone).wait


def test_a_phone_without_the_pump_cannot_wait() -> None:
    """Nobody can know whether the pump works: it is not said to be unaffected."""
    found = shown(with_source(last_upload=iso(5), newest_event=iso(300)))
    assert "connected to the pump" in found.problems[0].step
    assert "cannot see whether the pump works" in found.pump
    assert "Do not wait" in found.wait


@pytest.mark.parametrize("state", ["backing_off", "refused"])
def test_a_failing_read_does_not_hide_a_silent_pump(state: str) -> None:
    found = shown(
        with_source(last_upload=iso(45), newest_event=iso(300), last_fetch=iso(40), state=state, since=iso(20))
    )
    assert "cannot see whether the pump works" in found.pump
    assert "Do not wait" in found.wait


def test_a_restored_log_that_nobody_reads_is_no_first_read() -> None:
    """Data that are there, and a source that was never read: nothing appears by itself, and a low glucose cannot wait."""
    found = shown(with_source(state="waiting", since=None, last_fetch=None), last_zone="low")
    assert "Do not wait" in found.wait
    assert not found.arrives


def test_a_silent_phone_names_the_time_of_its_last_upload() -> None:
    found = shown(with_source(last_upload=iso(600), newest_event=iso(605)))
    assert "8:00 AM (10 h)" in plain(found.problems[0].since)
    assert "t:connect" in found.problems[0].step
    assert not found.arrives


def test_a_failing_receiver_leaves_the_page_in_order() -> None:
    status = good_status()
    status["sinks"]["nightscout-treatments"] |= {"state": "backing_off", "since": iso(75), "message": "no answer"}
    found = shown(status)
    assert found.arrives
    assert "This page is not affected" in found.wait


def test_the_parts_of_one_site_are_one_problem() -> None:
    """Six sinks of one Nightscout that does not answer are no six boxes."""
    status = good_status()
    for name in ("nightscout-treatments", "nightscout-iob", "nightscout-profiles"):
        remedy = f"Run `tconnectsync resume {name}`."
        status["sinks"][name] = {"state": "refused", "since": iso(75), "message": "no right", "remedy": remedy}
    status["sinks"]["mqtt"] = {"state": "refused", "since": iso(9), "message": "no right", "remedy": ""}
    first, second = shown(status).problems
    assert "Nightscout refuses" in first.what
    assert len(first.commands) == 3
    assert "Home Assistant (MQTT)" in second.what


def test_the_most_urgent_comes_first() -> None:
    """A refused document needs somebody some day; a source that cannot be read needs attention now."""
    status = with_source(state="backing_off", since=iso(100), message="no answer", remedy="")
    status["sinks"]["nightscout-treatments"] |= {"dead": 2, "message": "2 documents were set aside"}
    found = shown(status)
    assert ["Reading from Tandem" in each.what for each in found.problems] == [True, False]
    assert not found.arrives


def test_a_service_that_ended_is_named() -> None:
    status = good_status()
    status["daemon"] = {
        "state": "halted",
        "since": None,
        "message": "process 7 ended",
        "remedy": "Run `systemctl start tconnectsync`.",
    }
    found = shown(status)
    assert "tconnectsync service has stopped" in found.problems[0].what
    assert "computer" in found.problems[0].step
    status["daemon"]["state"] = "off"
    assert shown(status).problems == ()


@pytest.mark.parametrize(
    "state", [state.value for state in HealthState if state not in (HealthState.OK, HealthState.OFF)]
)
@pytest.mark.parametrize("group", ["sources", "sinks", "daemon"])
def test_every_state_has_words(group: str, state: str) -> None:
    """In German too: no state of any part leaves the top of the page empty."""
    status, part = (
        good_status(),
        {"state": state, "since": iso(30), "message": "", "remedy": None, "last_fetch": iso(40)},
    )
    if group == "daemon":
        status["daemon"] = part
    else:
        status[group] = {"some": part}
    german = shown(status, GERMAN)
    [problem] = german.problems
    assert problem.what
    assert problem.step
    assert problem.what != shown(status).problems[0].what
    assert german.wait
    assert german.pump


def test_words_name_the_part_only_where_there_is_one() -> None:
    """Every fault of a part has its name in the text, and every state that is mapped has words."""
    assert set(FAULTS) == set(Fault)
    for fault in {*SOURCE_FAULTS.values(), *SINK_FAULTS.values(), Fault.FIRST_READ, Fault.SOURCE_STOPPED}:
        assert "%(name)s" in FAULTS[fault].what
