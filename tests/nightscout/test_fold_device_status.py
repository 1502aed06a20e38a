from __future__ import annotations

from typing import Any

import pytest
from fold_worlds import keep_laws, timeline

from tconnectsync import Document, events
from tconnectsync_nightscout.device_status import DeviceStatusFold


def run(*steps: tuple[float, Any]) -> list[Document]:
    world = timeline(*steps)
    return keep_laws(DeviceStatusFold(), world, range(len(world)))


def pump(*steps: tuple[float, Any]) -> dict[str, Any]:
    (document,) = run(*steps)
    return dict(document.content["pump"])


def basal(rate: float) -> events.BasalDelivered:
    return events.BasalDelivered(rate_u_per_h=rate)


FILLED = events.CartridgeFilled(volume_u=200.0)
DONE = events.BolusCompleted(bolus_id=7, status="completed", delivered_u=3.0, iob_u=2.5)


def test_all_that_the_pump_said_lately_is_one_status_that_lapses() -> None:
    (document,) = run(
        (0, FILLED), (1, basal(1.2)), (6, DONE), (7, events.BatteryMeasured(battery_percent=81.0, battery_mv=3950))
    )
    assert (document.collection, document.worth_s) == ("devicestatus", 1800)
    assert document.content == {
        "device": "tandem 90556643",
        "pump": {
            "battery": {"percent": 81, "voltage": 3.95},
            "reservoir": 196.9,
            "status": {"status": "normal", "suspended": False},
            "iob": {"iob": 2.5, "bolusiob": 2.5},
            "clock": "2026-05-14T12:07:00Z",
            "serial": "90556643",
            "events": [1003],
        },
    }


def test_each_has_its_own_clock() -> None:
    battery = events.BatteryMeasured(battery_percent=81.0)
    steps = [(0.0, FILLED), (0.0, battery), (0.0, DONE), *((5.0 * n, basal(0.6)) for n in range(1, 8))]
    said = pump(*steps)
    assert "battery" not in said
    assert "iob" not in said
    assert said["reservoir"] == 196.7


def test_what_was_delivered_leaves_the_reservoir_once() -> None:
    """Records 20 and 21, and 280 that tells of both, are the same insulin."""
    together = events.BolusDelivered(bolus_id=7, status="completed", delivered_u=5.0)
    late = events.BolusExtendedCompleted(bolus_id=7, status="completed", delivered_u=2.0)
    assert pump((0, FILLED), (1, DONE), (2, together), (3, late), (4, together))["reservoir"] == 195.0


def test_primes_leave_the_reservoir() -> None:
    fills = (2, events.TubingFilled(prime_u=12.5)), (3, events.CannulaFilled(prime_u=0.3))
    assert pump((0, FILLED), *fills)["reservoir"] == 187.2


def test_a_suspension_says_so_and_what_is_left() -> None:
    said = pump((0, basal(1.0)), (3, events.PumpingSuspended(reason="user", reservoir_u=77.0)), (25, basal(0.0)))
    assert said["status"] == {"status": "suspended", "suspended": True}
    assert said["reservoir"] == 77.0
    assert pump((0, events.PumpingSuspended()), (5, basal(0.5)))["status"]["suspended"] is False


@pytest.mark.parametrize(
    "trouble",
    [
        (40.0, basal(1.0)),  # nobody knows what was delivered in the half hour of silence
        (5.0, basal(65_535.0)),
        (5.0, events.BolusCompleted(bolus_id=9, status="completed")),
        (5.0, events.BolusCompleted(bolus_id=9, status="completed", delivered_u=300.0)),
        (5.0, events.PumpingSuspended(reservoir_u=float("nan"))),
        (5.0, events.TubingFilled(status="completed")),
        (5.0, events.CannulaFilled(status="completed")),
    ],
)
def test_an_unknown_amount_makes_the_reservoir_unknown(trouble: tuple[float, Any]) -> None:
    found = run((0, FILLED), (1, basal(1.0)), trouble)
    assert all("reservoir" not in document.content["pump"] for document in found)


def test_a_reservoir_below_nothing_is_not_shown() -> None:
    empty = events.CartridgeFilled(volume_u=2.0)
    assert "reservoir" not in pump((0, empty), (1, DONE))


@pytest.mark.parametrize("body", [
    events.BatteryMeasured(battery_percent=101.0), events.BatteryMeasured(battery_mv=1),
    events.DaySummary(battery_percent=float("nan")), events.DaySummary(iob_u=-1.0),
])  # fmt: skip
def test_what_cannot_be_is_not_shown(body: Any) -> None:
    assert run((0, body)) == []


def test_only_the_worn_pump_speaks() -> None:
    assert run((0, DONE), (1, events.WearEnded())) == []
    assert run((0, DONE), (1, events.WearEnded()), (2, events.WearBegan()))[0].content["pump"]["iob"]["iob"] == 2.5
