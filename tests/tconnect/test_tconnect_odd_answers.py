"""Answers of another shape are never "no data"."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tconnectsync import SourceChanged
from tests.support.memory_log import MemoryLog
from tests.tconnect.fake_services import Services, bolus, fill, polled, site
from tests.tconnect.sample_exports import STANDARD as CSV_BOLUS
from tests.tconnect.sample_exports import basal, boluses, export


@pytest.mark.parametrize("body", ["<html>maintenance</html>", "[]", '{"event": 5}', '{"events": []}'])
def test_an_answer_of_another_shape_is_never_no_data(services: Services, tmp_path: Path, body: str) -> None:
    services.fail("TherapyEvents", 200, body=body)
    with pytest.raises(SourceChanged, match="has changed"):
        polled(services.source(tmp_path), MemoryLog())


def test_a_timeline_without_basal_is_never_no_data(services: Services, tmp_path: Path) -> None:
    services.timeline = {"basal": None, "suspensionDeliveryEvents": [], "events": None}
    assert polled(services.source(tmp_path), MemoryLog()).of("window.fetched")
    services.timeline["delivered"] = services.timeline.pop("basal")
    with pytest.raises(SourceChanged, match="no basal"):
        polled(services.source(tmp_path), MemoryLog())


@pytest.mark.parametrize("key", ["bolusIsComplete", "insulinDelivered"])
def test_incomplete_boluses(services: Services, tmp_path: Path, key: str) -> None:
    """They are filled from the export, or reported."""
    services.therapy = [bolus(7007, "2021-04-01T12:58:26", 13.53), bolus(7008, "2021-04-01T14:58:26", 2.0)]
    for row in services.therapy:
        if key == "insulinDelivered":
            row["standard"][key]["units"] = row["standard"][key].pop("value")
        else:
            del row["standard"][key]
    log, source = MemoryLog(), services.source(tmp_path)
    with pytest.raises(SourceChanged, match="2 Bolus"):
        polled(source, log)
    assert len([event for event in log.of("unknown") if event.raw and event.raw["row"]["type"] == "Bolus"]) == 2
    assert "2021-04-01" not in {event.body.first_day for event in log.of("window.fetched")}
    services.csv = export(boluses(CSV_BOLUS)).decode()
    with pytest.raises(SourceChanged, match="1 Bolus"):  # the export has one of them only
        polled(source, log)
    assert [event.body.delivered_u for event in log.of("bolus.completed")] == [13.53]
    services.therapy.pop()
    assert "2021-04-01" in {event.body.first_day for event in polled(source, log).of("window.fetched")}


CHANGES: dict[str, Callable[[Services], None]] = {
    "one bolus of two": lambda services: services.therapy[1]["standard"]["insulinDelivered"].update(value=None),
    "a type renamed": lambda services: services.therapy[1].update(kind=services.therapy[1].pop("type")),
    "a rate renamed": lambda services: [row.update(rate=row.pop("y")) for row in _rows_of(services)] and None,
}


def _rows_of(services: Services) -> list[dict[str, Any]]:
    return [row for rows in services.timeline["basal"].values() for row in rows]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_unreadable_answer(services: Services, tmp_path: Path, change: Callable[[Services], None]) -> None:
    """It is SourceChanged, and is fetched again later."""
    fill(services)
    services.therapy.append(bolus(7008, "2021-04-01T14:58:26", 2.0))
    good = deepcopy((services.timeline, services.therapy))
    change(services)
    log = MemoryLog()
    for _ in range(2):
        with pytest.raises(SourceChanged, match="cannot be read") as caught:
            polled(services.source(tmp_path), log)
        assert caught.value.after_s == 3600
        services.clock.advance(hours=1)
    assert log.of("bolus.completed"), "what can be read is there"
    assert not log.of("window.fetched")
    services.timeline, services.therapy = good
    polled(services.source(tmp_path), log)
    assert {event.body.delivered_u for event in log.of("bolus.completed")} == {13.53, 2.0}
    assert {event.body.rate_u_per_h for event in log.of("basal.delivered")} == {1.0, 0.5}


def test_numbers_as_text_are_numbers(services: Services, tmp_path: Path) -> None:
    fill(services)
    wanted = polled(services.source(tmp_path / "plain"), MemoryLog())

    def as_text(found: Any) -> Any:
        if isinstance(found, dict):
            return {key: as_text(value) for key, value in found.items()}
        if isinstance(found, list):
            return [as_text(value) for value in found]
        return str(found) if isinstance(found, (int, float)) else found

    services.timeline, services.therapy = as_text(services.timeline), as_text(services.therapy)
    services.index = as_text(services.index)
    found = polled(services.source(tmp_path / "text"), MemoryLog())
    told = [[(event.kind, event.pump_time, event.body) for event in log.events if event.kind.startswith(("bolus", "basal"))] for log in (wanted, found)]  # fmt: skip
    assert told[0] == told[1]
    assert {kind for kind, _, _ in told[0]} >= {"basal.delivered", "bolus.completed"}


def test_basal_iq_suspensions(services: Services, tmp_path: Path) -> None:
    """They are requested if there is no Control-IQ."""
    services.since = None
    services.csv = export(
        basal(("08:00:00", "1.0"), ("11:00:00", "0"), ("11:20:00", "1.0"), ("12:00:00", "0.9"))
    ).decode()
    services.basal_iq = [site("2021-04-01T11:00", "x"), site("2021-04-02T00:00", "previous")]
    log = polled(services.source(tmp_path, history_days=3), MemoryLog())
    assert [(event.body.reason, event.pump_time.hour) for event in log.of("pumping.suspended")] == [("plgs", 11)]
    assert [event.pump_time.minute for event in log.of("pumping.resumed")] == [20]


def test_with_control_iq_basal_iq_is_not_asked_for(services: Services, tmp_path: Path) -> None:
    fill(services)
    polled(services.source(tmp_path, history_days=3), MemoryLog())
    assert not [path for path in services.asked if "basaliqtech" in path]


def test_an_answer_of_basal_iq_that_is_no_list_is_told(services: Services, tmp_path: Path) -> None:
    services.since, services.basal_iq = None, "what"  # type: ignore[assignment]
    with pytest.raises(SourceChanged, match="Basal-IQ"):
        polled(services.source(tmp_path, history_days=1), MemoryLog())
