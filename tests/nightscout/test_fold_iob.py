from __future__ import annotations

from typing import Any

import pytest

from tconnectsync import Document, document_id, events
from tconnectsync_nightscout.folds.iob import IobFold
from tests.nightscout.fold_harness import NOON, event, keep_laws, timeline


def end(iob: float | None) -> events.BolusCompleted:
    return events.BolusCompleted(bolus_id=7, status="completed", delivered_u=1.0, iob_u=iob)


def run(*steps: tuple[float, Any], fold: IobFold | None = None) -> list[Document]:
    world = timeline(*steps)
    return keep_laws(fold or IobFold(), world, range(len(world)))


def test_iob_documents() -> None:
    """The newest insulin on board is one activity and a device status that expires."""
    activity, status = run((0, end(1.5)), (5, events.DaySummary(iob_u=1.2275107)))
    assert activity.id == document_id("site", "iob", "activity")
    assert (activity.collection, activity.unique_slot, activity.ttl_s) == ("activity", "", None)
    assert activity.content["activityType"] == "tconnect_iob"
    assert activity.content["iob"] == 1.228
    assert (status.collection, status.ttl_s) == ("devicestatus", 1800)
    assert status.content["pump"]["iob"] == {"iob": 1.228, "bolusiob": 1.228}
    assert status.content["pump"]["clock"] == "2026-05-14T12:05:00Z"
    assert activity.at == status.at == NOON.replace(minute=5, microsecond=1000)


def test_iob_without_device_status() -> None:
    """The device status can be left out."""
    assert [item.collection for item in run((0, end(1.5)), fold=IobFold(device_status=False))] == ["activity"]


@pytest.mark.parametrize(
    "body",
    [
        events.BolusRequested(bolus_id=7, part=1, iob_u=2.0),
        events.BolusStarted(bolus_id=7, iob_u=2.0),
        events.BolusExtendedStarted(bolus_id=7, iob_u=2.0),
        events.BolusExtendedCompleted(bolus_id=7, status="completed", iob_u=2.0),
        events.GlucoseFingerstick(iob_u=2.0),
    ],
)
def test_iob_of_every_record(body: Any) -> None:
    """Every record with insulin on board counts."""
    assert run((0, end(1.0)), (1, body))[0].content["iob"] == 2.0


def test_iob_not_in_record() -> None:
    """A record without insulin on board changes nothing."""
    assert run((0, end(1.0)), (1, events.BolusRequested(bolus_id=8, part=2)))[0].content["iob"] == 1.0
    assert run((0, end(None))) == []


def test_iob_zero() -> None:
    """Zero is an amount."""
    assert run((0, end(0)))[1].content["pump"]["iob"] == {"iob": 0.0, "bolusiob": 0.0}


@pytest.mark.parametrize("iob", [-0.1, 100.1, float("nan"), float("inf")])
def test_iob_impossible(iob: float) -> None:
    """An impossible amount is reported, and the last good one stays."""
    problem, activity, _ = run((0, end(1.0)), (1, end(iob)))
    assert problem.problem is not None
    assert activity.content["iob"] == 1.0


def test_iob_of_active_pump_only() -> None:
    """Only the active pump's insulin on board counts."""
    off, on = events.WearEnded(), events.WearBegan()
    assert run((0, end(1.0)), (1, off)) == []
    assert run((0, off), (1, end(1.0)), (2, on))[0].content["iob"] == 1.0


def test_iob_after_future_clock() -> None:
    """A clock that was in the future does not stop it."""
    world = [event(end(1.0), 86_400, 1), event(end(2.0), 0, 2)]
    assert keep_laws(IobFold(), world)[0].content["iob"] == 2.0
