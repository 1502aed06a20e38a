from __future__ import annotations

from typing import Any

import pytest

from tconnectsync import Document, events
from tconnectsync_nightscout.folds.device_status import DeviceStatusFold
from tconnectsync_nightscout.folds.iob import IobFold
from tests.nightscout.fold_harness import NOON, keep_laws, timeline


def run(*steps: tuple[float, Any]) -> list[Document]:
    world = timeline(*steps)
    return keep_laws(DeviceStatusFold(), world, range(len(world)))


def pump(*steps: tuple[float, Any]) -> dict[str, Any]:
    """The newest document, which Nightscout's pump pill shows."""
    return dict(max(run(*steps), key=lambda document: document.at).content["pump"])


def basal(rate: float) -> events.BasalDelivered:
    return events.BasalDelivered(rate_u_per_h=rate)


FILLED = events.CartridgeFilled(volume_u=200.0)
DONE = events.BolusCompleted(bolus_id=7, status="completed", delivered_u=3.0, iob_u=2.5)


def test_status_is_one_document() -> None:
    """Everything that the pump reported lately is one status, which expires."""
    battery = events.BatteryMeasured(battery_percent=81.0, battery_mv=3950)
    (document,) = run((0, FILLED), (1, basal(1.2)), (6, battery), (7, DONE))
    assert (document.collection, document.ttl_s) == ("devicestatus", 1800)
    assert document.content == {
        "device": "tandem 90556643",
        "pump": {
            "battery": {"percent": 81, "voltage": 3.95, "timestamp": "2026-05-14T12:06:00.000Z"},
            "reservoir": 196.9,
            "reservoir_timestamp": "2026-05-14T12:07:00.000Z",
            "status": {"status": "normal", "suspended": False},
            "iob": {"iob": 2.5, "bolusiob": 2.5},
            "clock": "2026-05-14T12:07:00.003Z",
            "serial": "90556643",
            "events": [1003],
        },
    }


BATTERY = events.BatteryMeasured(battery_percent=81.0)


def test_status_iob_time() -> None:
    """Insulin on board of an older record has that record's time.

    Nightscout counts its age from the document's time: a value of 29 minutes ago was shown for half an hour more.
    """
    iob, newest = run((0, DONE), (29, basal(0.6)))
    assert iob.content["pump"]["iob"] == {"iob": 2.5, "bolusiob": 2.5}
    assert (iob.at, iob.ttl_s) == (NOON.replace(microsecond=0), 1800)
    assert newest.at == NOON.replace(minute=29, microsecond=1000)
    assert "iob" not in newest.content["pump"]
    assert [document.at for document in run((0, DONE), (31, basal(0.6)))] == [NOON.replace(minute=31, microsecond=1000)]


def test_status_clock_of_pump_pill() -> None:
    """The pump pill takes the newest clock, and that is never the one of insulin on board alone."""
    (whole,) = run((0, BATTERY), (5, DONE))
    alone = IobFold().running(IobFold().step(IobFold().initial(), timeline((0, BATTERY), (5, DONE))[1])[0])[1]
    assert whole.content["pump"]["clock"] > alone.content["pump"]["clock"].replace("Z", ".000Z")
    assert "battery" in whole.content["pump"]


@pytest.mark.parametrize(("minutes", "shown"), [(35, True), (65, True), (115, True), (125, False)])
def test_status_hourly_values(minutes: int, shown: bool) -> None:
    """Values that are reported hourly are kept that long, with their own time."""
    steps = [(0.0, FILLED), (0.0, BATTERY), *((5.0 * n, basal(0.6)) for n in range(1, minutes // 5 + 1))]
    said = pump(*steps)
    assert said["clock"].startswith(f"2026-05-14T{12 + minutes // 60}:{minutes % 60:02}")
    assert said.get("battery") == ({"percent": 81, "timestamp": "2026-05-14T12:00:00.000Z"} if shown else None)


def test_status_hourly_values_stay() -> None:
    """Hourly values never come and go."""
    steps = [(0.0, BATTERY)]
    for minute in range(5, 300, 5):
        steps.append((float(minute), BATTERY if minute % 60 == 0 else basal(0.6)))
        assert "battery" in pump(*steps)


def test_reservoir_of_stopped_pump() -> None:
    """The reservoir of a stopped pump stays true."""
    alive = [(10.0 * n, events.DaySummary(iob_u=0.5)) for n in range(1, 9)]
    said = pump((0, FILLED), (1, events.PumpingSuspended(reason="alarm", reservoir_u=77.0)), *alive)
    assert (said["reservoir"], said["reservoir_timestamp"]) == (77.0, "2026-05-14T12:01:00.000Z")


def test_reservoir_counts_delivery_once() -> None:
    """Delivered insulin leaves the reservoir once.

    Records 20 and 21, and 280, which reports both, are the same insulin.
    """
    together = events.BolusDelivered(bolus_id=7, status="completed", delivered_u=5.0)
    late = events.BolusExtendedCompleted(bolus_id=7, status="completed", delivered_u=2.0)
    assert pump((0, FILLED), (1, DONE), (2, together), (3, late), (4, together))["reservoir"] == 195.0


def test_reservoir_primes() -> None:
    """Primes leave the reservoir."""
    fills = (2, events.TubingFilled(prime_u=12.5)), (3, events.CannulaFilled(prime_u=0.3))
    assert pump((0, FILLED), *fills)["reservoir"] == 187.2


def test_status_suspended() -> None:
    """A suspension is shown, with what is left."""
    said = pump((0, basal(1.0)), (3, events.PumpingSuspended(reason="user", reservoir_u=77.0)), (25, basal(0.0)))
    assert said["status"] == {"status": "suspended", "suspended": True}
    assert said["reservoir"] == 77.0
    assert pump((0, events.PumpingSuspended()), (5, basal(0.5)))["status"]["suspended"] is False


@pytest.mark.parametrize(
    "trouble",
    [
        (40.0, basal(1.0)),  # it is unknown what was delivered in the half hour of silence
        (5.0, basal(65_535.0)),
        (5.0, events.BolusCompleted(bolus_id=9, status="completed")),
        (5.0, events.BolusCompleted(bolus_id=9, status="completed", delivered_u=300.0)),
        (5.0, events.PumpingSuspended(reservoir_u=float("nan"))),
        (5.0, events.TubingFilled(status="completed")),
        (5.0, events.CannulaFilled(status="completed")),
    ],
)
def test_reservoir_unknown(trouble: tuple[float, Any]) -> None:
    """An unknown amount makes the reservoir unknown."""
    found = run((0, FILLED), (1, basal(1.0)), trouble)
    assert all("reservoir" not in document.content["pump"] for document in found)


def test_reservoir_below_zero() -> None:
    """A reservoir below zero is not shown."""
    empty = events.CartridgeFilled(volume_u=2.0)
    assert "reservoir" not in pump((0, empty), (1, DONE))


@pytest.mark.parametrize("body", [
    events.BatteryMeasured(battery_percent=101.0), events.BatteryMeasured(battery_mv=1),
    events.DaySummary(battery_percent=float("nan")), events.DaySummary(iob_u=-1.0),
])  # fmt: skip
def test_status_impossible_value(body: Any) -> None:
    """An impossible value is not shown."""
    assert run((0, body)) == []


def test_status_of_active_pump_only() -> None:
    """Only the active pump has a status."""
    assert run((0, DONE), (1, events.WearEnded())) == []
    assert run((0, DONE), (1, events.WearEnded()), (2, events.WearBegan()))[0].content["pump"]["iob"]["iob"] == 2.5
