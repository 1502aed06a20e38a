"""What the pump reported, as points: amounts, kinds, lengths, and which pump is worn."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tconnectsync import Document, Event, events
from tconnectsync.testing import example_events, final_documents, make_event
from tconnectsync_influxdb.folds.basal import BasalPointFold
from tconnectsync_influxdb.folds.boluses import BolusPointFold
from tconnectsync_influxdb.folds.levels import LevelsFold, ReservoirFold
from tconnectsync_influxdb.folds.readings import ReadingPointFold
from tconnectsync_influxdb.folds.single_records import alarms, carbs, fingersticks, modes, site_changes
from tconnectsync_influxdb.folds.suspensions import SuspensionsFold
from tconnectsync_influxdb.points import point_of

PUMP_NOON = datetime(2026, 5, 14, 14, 0)


def story(*said: tuple[float, Any]) -> list[Event]:
    """Events at these minutes after noon, in the pump's own order."""
    return [make_event(body, 60 * minute, seq) for seq, (minute, body) in enumerate(said, start=1000)]


def shown(documents: list[Document]) -> list[dict[str, object]]:
    """Fields and tags of each document by time, without the pump."""
    found = [{**each.content["fields"], **each.content["tags"]} for each in sorted(documents, key=lambda each: each.at)]
    return [{name: value for name, value in each.items() if name != "pump"} for each in found]


def test_bolus_extended() -> None:
    """An extended bolus is one point at the start of delivery: its insulin, the extended part, carbs and length."""
    extended, other = sorted(final_documents(BolusPointFold(), example_events()), key=lambda each: each.at)
    assert (extended.at.minute, other.at.minute) == (12, 15)
    assert shown([extended]) == [
        {"insulin_u": 4.0, "extended_u": 1.6, "requested_u": 4.0, "carbs_g": 30.0, "duration_min": 60.0,
         "status": "completed", "kind": "extended"}
    ]  # fmt: skip
    assert shown([other]) == [{"insulin_u": 0.5, "requested_u": 0.5, "kind": "standard"}]


def test_bolus_number_used_again() -> None:
    """A number that is used again hours later is another bolus; without insulin and carbs it is no bolus."""
    documents = final_documents(
        BolusPointFold(),
        story(
            (0, events.BolusStarted(bolus_id=7, size_u=1.0)),
            (1, events.BolusCompleted(bolus_id=7, status="completed", delivered_u=1.0)),
            (90, events.BolusStarted(bolus_id=7, size_u=2.0)),
            (91, events.BolusCompleted(bolus_id=7, status="user_aborted", delivered_u=1.5)),
            (95, events.BolusCompleted(bolus_id=8, status="rejected", delivered_u=0.0)),
        ),
    )
    assert [(each["insulin_u"], each["status"]) for each in shown(list(documents))] == [
        (1.0, "completed"), (1.5, "user_aborted")
    ]  # fmt: skip


def test_bolus_automatic_by_both_records() -> None:
    """Records 280 and 20 report the same insulin: it counts once."""
    documents = final_documents(
        BolusPointFold(),
        story(
            (0, events.BolusDelivered(bolus_id=3, status="started", bolus_source="algorithm", requested_now_u=0.8, delivered_u=0)),
            (2, events.BolusCompleted(bolus_id=3, status="completed", delivered_u=0.8)),
            (2, events.BolusDelivered(bolus_id=3, status="completed", bolus_source="algorithm", delivered_u=0.8)),
        ),
    )  # fmt: skip
    assert shown(list(documents)) == [
        {"insulin_u": 0.8, "requested_u": 0.8, "status": "completed", "kind": "automatic"}
    ]


@pytest.mark.parametrize(
    "body",
    [
        events.BolusRequested(bolus_id=3, part=1, bolus_type="automatic_correction"),
        events.BolusRequested(bolus_id=3, part=2, options="automatic"),
        events.BolusRequested(bolus_id=3, part=2, options="eating_soon_automatic"),
        events.BolusDelivered(bolus_id=3, status="started", bolus_source="algorithm", delivered_u=0),
        events.BolusDelivered(bolus_id=3, status="started", bolus_source="eating_soon", delivered_u=0),
    ],
)
def test_bolus_automatic_by_any_record(body: Any) -> None:
    documents = final_documents(
        BolusPointFold(),
        story((0, body), (2, events.BolusCompleted(bolus_id=3, status="completed", delivered_u=0.8))),
    )
    assert [each["kind"] for each in shown(list(documents))] == ["automatic"]


def test_boluses_of_version_1_are_written_again() -> None:
    """It knew fewer automatic boluses: what it wrote is corrected only if the fold's version differs."""
    assert BolusPointFold().version > 1


def test_bolus_impossible() -> None:
    """An impossible amount is no dose: the document says why, and is not sent."""
    (document,) = final_documents(
        BolusPointFold(), story((0, events.BolusCompleted(bolus_id=3, status="completed", delivered_u=900.0)))
    )
    assert "insulin_u 900" in str(document.problem)


def test_basal_stretches() -> None:
    """A point when a rate begins, none when it is repeated; 0 in a suspension; the next rate after it."""
    rates = [
        (0, events.BasalDelivered(rate_u_per_h=0.9, rate_source="profile")),
        (5, events.BasalDelivered(rate_u_per_h=0.9, rate_source="profile")),
        (5, events.BasalRateChanged(rate_u_per_h=0.9)),
        (10, events.BasalDelivered(rate_u_per_h=1.3, rate_source="algorithm")),
        (12, events.PumpingSuspended(reason="user")),
        (15, events.BasalDelivered(rate_u_per_h=0.0, rate_source="suspended")),
        (20, events.PumpingResumed()),
        (20, events.BasalDelivered(rate_u_per_h=1.3, rate_source="algorithm")),
        (60, events.BasalDelivered(rate_u_per_h=1.3, rate_source="algorithm")),
    ]
    documents = final_documents(BasalPointFold(), story(*rates))
    found = [(each.at.minute or each.at.hour, each.content["fields"]["rate_u_per_h"]) for each in documents]
    assert found == [(12, 0.9), (10, 1.3), (12, 0.0), (20, 1.3), (13, 1.3)], "the last one after forty silent minutes"


def test_pump_that_is_not_worn() -> None:
    """A pump in a drawer logs its basal rate too: that is no insulin."""
    told = story(
        (0, events.BasalDelivered(rate_u_per_h=0.9, rate_source="profile")),
        (3, events.WearEnded()),
        (5, events.BasalDelivered(rate_u_per_h=0.9, rate_source="profile")),
        (6, events.DaySummary(iob_u=1.0, battery_percent=50.0)),
        (7, events.PumpingSuspended(reason="user", reservoir_u=88.0)),
        (9, events.WearBegan()),
        (10, events.BasalDelivered(rate_u_per_h=0.9, rate_source="profile")),
    )
    assert [each["rate_u_per_h"] for each in shown(list(final_documents(BasalPointFold(), told)))] == [0.9, 0.0, 0.9]
    for fold in (LevelsFold(), SuspensionsFold()):
        assert final_documents(fold, [event for event in told if event.kind in fold.kinds]) == []
    (left,) = final_documents(ReservoirFold(), [event for event in told if event.kind in ReservoirFold.kinds])
    assert (left.at.minute, left.content["fields"]) == (10, {"reservoir_u": 88.0}), "as soon as it is worn again"


def test_suspension_length() -> None:
    """A suspension has its length when it is over, and none while it lasts."""
    (over,) = final_documents(SuspensionsFold(), example_events(SuspensionsFold.kinds))
    assert shown([over]) == [{"reason": "alarm", "length_min": 10.0}]
    (lasts,) = final_documents(SuspensionsFold(), story((0, events.PumpingSuspended(reason="plgs"))))
    assert shown([lasts]) == [{"reason": "plgs"}]
    assert (over.id, lasts.at) != (lasts.id, over.at)


@pytest.mark.parametrize(
    ("fold", "expected"),
    [
        (alarms, [{"kind": "alert", "name": "usb_connection", "number": 2.0}, {"kind": "alarm", "name": "occlusion", "number": 2.0},
                  {"kind": "malfunction", "name": "display", "number": 7.0}]),
        (carbs, [{"kind": "carbs", "carbs_g": 12.0}]),
        (fingersticks, [{"source": "fingerstick", "mg_dl": 118.0}]),
        (modes, [{"mode": "exercise"}, {"mode": "normal", "previous": "exercise"}, {"mode": "sleep"}]),
        (site_changes, [{"kind": "cartridge", "volume_u": 180.0, "done": 1.0}, {"kind": "tubing", "volume_u": 11.5, "done": 1.0},
                        {"kind": "cannula", "volume_u": 0.3, "done": 1.0}]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)  # fmt: skip
def test_single_records(fold: Any, expected: list[dict[str, object]]) -> None:
    """Each record of these kinds is one point."""
    assert shown(list(final_documents(fold, example_events(fold.kinds)))) == expected


def test_reading_once_a_minute() -> None:
    """A live reading and its backfilled copy are one point at the time of measurement; above the range the number is 401."""
    measured = PUMP_NOON - timedelta(minutes=20)
    documents = final_documents(
        ReadingPointFold(),
        story(
            (
                0,
                events.GlucoseReading(
                    mark="value", reading_time=measured, glucose_mg_dl=111.0, trend_mg_dl_per_min=1.5
                ),
            ),
            (1, events.GlucoseReading(mark="value", reading_time=measured, glucose_mg_dl=111.0, backfilled=True)),
            (5, events.GlucoseReading(mark="high", reading_time=PUMP_NOON, trend_mg_dl_per_min=0.0)),
            (6, events.GlucoseReading(mark="hidden", reading_time=PUMP_NOON + timedelta(minutes=1))),
        ),
    )
    assert [each.at.minute for each in documents] == [40, 0]
    assert shown(list(documents)) == [
        {"mg_dl": 111.0, "trend_mg_dl_per_min": 1.5, "source": "sensor"}, {"mg_dl": 401.0, "mark": "high", "source": "sensor"}
    ]  # fmt: skip


def test_levels() -> None:
    """Insulin on board from every record that has it; the battery in percent and millivolts."""
    found = final_documents(LevelsFold(), example_events(LevelsFold.kinds))
    assert [each.content["fields"]["iob_u"] for each in found if each.collection == "iob"] == [
        0.4,
        0.4,
        0.4,
        2.8,
        2.8,
        3.1,
        2.2,
    ]
    assert shown([each for each in found if each.collection == "battery"]) == [
        {"percent": 71.0, "mv": 3800.0},
        {"percent": 70.0},
    ]


def test_reservoir_by_the_unit() -> None:
    """A point when the pump reports the reservoir, and for each unit that is gone since."""
    found = shown(list(final_documents(ReservoirFold(), example_events(ReservoirFold.kinds))))
    assert [each["reservoir_u"] for each in found][:2] == [88.0, 180.0]
    assert len({round(float(str(each["reservoir_u"]))) for each in found}) == len(found)


def test_two_facts_of_one_second() -> None:
    """Two alarms of one second have different times, the same in each run; a source without numbers too."""
    numbered = [make_event(events.AlarmRaised(alarm_id=2, name="occlusion"), 0, seq) for seq in (7, 8)]
    rows = [
        make_event(events.AlarmRaised(alarm_id=2, name="occlusion"), 0, None, pump=pump) for pump in ("1", "1", "2")
    ]
    times = [point_of(document).key.time_ns for document in final_documents(alarms, numbered)]
    assert times == [point_of(document).key.time_ns for document in final_documents(alarms, numbered)]
    assert abs(times[0] - times[1]) == 2
    first, again, other = (point_of(final_documents(alarms, [row])[0]).key for row in rows)
    assert first == again
    assert first.time_ns != other.time_ns
