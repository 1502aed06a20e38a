"""Several pumps in one account: in use, spare, hidden, chosen, assigned twice."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tconnectsync import SourceChanged
from tests.tandem.fake_cloud import ASSIGNMENT, SERIAL, CloudPump, FakeCloudFault, TandemHarness, basal


def test_spare_pumps_asked_daily(harness: TandemHarness) -> None:
    """Pumps in a drawer are asked for once a day, and the worn one every six hours."""
    drawer = CloudPump("90556643", "retired", uploaded="2022-09-20T05:50:12Z", newest="2022-02-16T22:45:58")
    never = CloudPump("514387", "never", uploaded=None, newest=None)
    harness.cloud.pumps += [drawer, never]
    harness.poll()
    harness.cloud.asked.clear()
    for _ in range(4):
        harness.clock.advance(hours=6, minutes=1)
        harness.poll()
    assert harness.cloud.count("pump-logs/retired") == 1
    assert harness.cloud.count("pump-logs/never") == 0
    assert harness.cloud.count(f"pump-logs/{ASSIGNMENT}") >= 4


RETIRED = ("2222222", "retired")


def hidden_pump(harness: TandemHarness, **lacking: Any) -> None:
    """The worn pump of two as the list has it without what is ``lacking``."""
    retired = CloudPump(*RETIRED, uploaded="2026-03-01T00:00:00Z", newest="2026-03-01T00:00:00")
    harness.cloud.pumps.append(retired)
    worn = {**harness.cloud.pumps[0].listed(), **lacking}
    answer = {"firstName": "Ada", "pumps": [worn, retired.listed()]}
    harness.cloud.faults.append(FakeCloudFault("/pumper/", times=99, change=lambda _: answer))


@pytest.mark.parametrize("lacking", [{"serialNumber": None}, {"serialNumber": "a:b"}, {"assignmentId": None}])
def test_hidden_worn_pump_told(harness: TandemHarness, lacking: dict[str, Any]) -> None:
    """A worn pump that the list hides is reported, and the phone is not blamed."""
    hidden_pump(harness, **lacking)
    with pytest.raises(
        SourceChanged, match=r"used last .*Mobi.*uploaded 2026-11-20 11:55 UTC.* cannot be read"
    ) as caught:
        harness.poll()
    assert "phone" in caught.value.message
    assert "website" in (caught.value.remedy or "")
    assert caught.value.after_s == 3600
    assert {fact.pump for fact in harness.log.of("window.fetched")} == {"2222222"}  # the others are read nevertheless
    findings = list(harness.source().check())
    assert sum("cannot be read" in finding.what and not finding.good for finding in findings) == 1
    assert not any("probably the active pump" in finding.what for finding in findings)


@pytest.mark.parametrize(
    "dates",
    [
        {"lastUploadDate": None, "maxDateOfEvents": None},  # never used
        {"lastUploadDate": "2025-01-01T00:00:00Z", "maxDateOfEvents": "2025-01-01T00:00:00"},
    ],
)
def test_a_hidden_pump_that_is_not_worn_is_no_trouble(harness: TandemHarness, dates: dict[str, Any]) -> None:
    hidden_pump(harness, serialNumber=None, **dates)
    harness.poll()
    assert [finding.good for finding in harness.source().check() if "cannot be read" in finding.what] == [False]


def test_hidden_pump_without_date(harness: TandemHarness) -> None:
    """A hidden pump without any date may be the worn one."""
    hidden_pump(harness, serialNumber=None, lastUploadDate=7, maxDateOfEvents=[])
    with pytest.raises(SourceChanged, match="cannot be read"):
        harness.poll()


def test_whoever_chose_the_pumps_is_told_in_the_log_alone(
    harness: TandemHarness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.settings["pumps"] = ("2222222",)
    hidden_pump(harness, serialNumber=None)
    harness.poll()
    assert "no serial number" in caplog.text


def test_chosen_pumps_only(harness: TandemHarness, caplog: pytest.LogCaptureFixture) -> None:
    """Only the chosen pumps are read, and a newer one that is left out is reported."""
    harness.cloud.pumps.append(
        CloudPump("2222222", "older", uploaded="2026-01-01T00:00:00Z", newest="2026-01-01T00:00:00")
    )
    harness.settings["pumps"] = ("2222222", "3333333")
    harness.poll()
    assert {event.pump for event in harness.log.events} == {"2222222"}
    assert "pump 3333333 is not on the account" in caplog.text
    assert "pump 1111111, which `pumps` excludes, has newer data" in caplog.text
    harness.poll()
    assert caplog.text.count("3333333") == 2  # once in each of the two warnings


def test_a_choice_of_pumps_that_are_not_there_is_an_error(harness: TandemHarness) -> None:
    harness.settings["pumps"] = ("3333333",)
    with pytest.raises(SourceChanged, match="none of the pumps") as caught:
        harness.poll()
    assert "`pumps`" in (caught.value.remedy or "")


def test_a_pump_that_was_assigned_twice_is_read_under_both(harness: TandemHarness) -> None:
    harness.cloud.pumps.append(CloudPump(SERIAL, "before", records=[basal(3, "2026-11-19T00:00:00")]))
    harness.cloud.pumps[0].records = [basal(9, "2026-11-20T00:00:00")]
    harness.poll()
    assert harness.log.numbered() == [3, 9]


def test_trouble_with_one_pump_leaves_the_others_alone(harness: TandemHarness) -> None:
    harness.cloud.pumps.insert(0, CloudPump("2222222", "gone"))
    harness.cloud.faults.append(
        FakeCloudFault("pump-logs/gone", status=404, body=b"<html>404 Not Found</html>", times=99)
    )
    harness.cloud.pumps[1].records = [basal(3, "2026-11-19T00:00:00")]
    with pytest.raises(SourceChanged, match="404"):
        harness.poll()
    assert harness.log.numbered() == [3]


def test_serial_number_in_no_log_line(harness: TandemHarness, caplog: pytest.LogCaptureFixture) -> None:
    """Log lines and notes name a pump by the end of its number, also if a window cannot be read."""
    caplog.set_level(logging.DEBUG, "tconnectsync")
    harness.cloud.faults.append(FakeCloudFault("pump-logs", body=b"<html>", times=1))
    notes = []
    for batch in harness.running_source.poll(harness.log):
        harness.log.append(batch.events)
        notes.append(batch.note)
    assert "window_broken pump=…111" in caplog.text
    assert "window_read pump=…111" in caplog.text
    assert any("pump …111" in note for note in notes)
    assert "1111111" not in caplog.text + "".join(notes)


def test_trouble_with_spare_pump(harness: TandemHarness, caplog: pytest.LogCaptureFixture) -> None:
    """A problem with an unused pump is logged and delays nothing."""
    harness.cloud.pumps.append(
        CloudPump("2222222", "gone", uploaded="2024-01-01T00:00:00Z", newest="2024-01-01T00:00:00")
    )
    harness.cloud.faults.append(
        FakeCloudFault("pump-logs/gone", status=404, body=b"<html>404 Not Found</html>", times=99)
    )
    for _ in range(5):
        harness.poll()
        harness.clock.advance(hours=1)
    assert harness.cloud.count("pump-logs/gone") == 1
    assert "pump_not_read pump=…222" in caplog.text
    assert "2222222" not in caplog.text
    harness.clock.advance(hours=24)
    harness.poll()
    assert harness.cloud.count("pump-logs/gone") == 2


def test_a_pump_whose_dates_vanish_is_still_asked(harness: TandemHarness) -> None:
    harness.poll()
    harness.cloud.pumps[0].uploaded = harness.cloud.pumps[0].newest = None
    harness.cloud.pumps[0].records = [basal(3, "2026-11-20T09:00:00")]
    harness.clock.advance(hours=6, minutes=1)
    harness.poll()
    assert harness.log.numbered() == [3]
