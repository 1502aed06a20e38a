"""Laws of every fold over random worlds; the engine's incremental run depends on them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tconnectsync import Event, Fold, events
from tconnectsync.testing import FoldContract, event_runs, final_documents
from tconnectsync_nightscout.folds.fold_sets import folds_of
from tconnectsync_nightscout.folds.profiles import ProfilesFold
from tconnectsync_nightscout.options import (
    CgmOptions,
    DeviceStatusOptions,
    IobOptions,
    PumpEventsOptions,
    TreatmentsOptions,
)
from tests.nightscout.fold_harness import keep_laws

FOLDS = [
    *folds_of(TreatmentsOptions()),
    *folds_of(IobOptions()),
    *folds_of(CgmOptions()),
    *folds_of(DeviceStatusOptions()),
    *folds_of(PumpEventsOptions(announce=("occlusion",), alerts=True, control_modes=True, sensor_alerts=True)),
    *folds_of(TreatmentsOptions(carbs="note", glucose=False, basal=False)),
]

some = st.sampled_from
amounts = some([None, 0.0, 0.0, 0.0466, 1.0, 2.083, 3.0, 25.0, 26.0, -1.0, float("nan"), float("inf")])
ids = some([1, 2, 3, 65535])
statuses = some(["completed", "completed", "user_aborted", "stopped_by_plgs", "reserved_4"])
spans = some([None, None, 0.0, 300.0, 3600.0, -5.0, float("nan")])


def body(kind: type[Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(kind, **fields)


BOLUS = [
    body(
        events.BolusRequested,
        bolus_id=ids,
        part=some([1, 2, 3]),
        bolus_type=some([None, "insulin", "automatic_correction", "remote"]),
        carbs_g=some([None, 0, 20, 5000]),
        glucose_mg_dl=some([None, 120, 2]),
        iob_u=amounts,
        options=some([None, "standard", "extended", "quick", "automatic", "ble_extended"]),
        immediate_percent=some([None, 0, 25, 100]),
        food_u=amounts,
        correction_u=amounts,
        total_u=amounts,
    ),
    body(events.BolusStarted, bolus_id=ids, size_u=amounts, iob_u=amounts),
    body(events.BolusExtendedStarted, bolus_id=ids, size_u=amounts, iob_u=amounts),
    body(
        events.BolusDelivered,
        bolus_id=ids,
        status=some(["started", "started", "completed"]),
        types=some([(), ("now",), ("now", "later"), ("later", "carb")]),
        requested_now_u=amounts,
        requested_later_u=amounts,
        delivered_u=amounts,
    ),
    body(events.BolusCompleted, bolus_id=ids, status=statuses, delivered_u=amounts, requested_u=amounts, iob_u=amounts),
    body(
        events.BolusExtendedCompleted,
        bolus_id=ids,
        status=statuses,
        delivered_u=amounts,
        requested_u=amounts,
        duration_min=spans,
    ),
    body(events.GlucoseFingerstick, glucose_mg_dl=some([None, 120.0, float("nan")]), iob_u=amounts),
]
BASAL = [
    body(
        events.BasalDelivered,
        rate_u_per_h=some([0.0, 0.0, 1.0, 1.0, 1.279, 65.535, float("nan")]),
        rate_source=some(["suspended", "profile", "algorithm"]),
        span_s=some([None, None, None, 0, 300, 90_000, -1]),
    ),
    body(events.BasalRateChanged, rate_u_per_h=some([0.0, 1.0, 1.5, 99.0])),
    body(events.PumpingSuspended, reason=some(["user", "alarm", "unknown"])),
    body(events.PumpingResumed),
    body(events.WearBegan),
    body(events.WearEnded),
]
OTHERS = [
    body(events.ModeChanged, mode=some(["normal", "sleep", "exercise", "9"]), action=some([None, "stop_all"])),
    body(events.AlarmRaised, alarm_id=some([2, 18, 61]), name=some(["occlusion", "61"])),
    body(events.AlertRaised, alert_id=some([2]), name=some(["usb_connection"])),
    body(events.MalfunctionRaised, malfunction_id=some([7]), name=some(["display"])),
    body(events.CannulaFilled, prime_u=amounts, status=some([None, "completed", "user_aborted"])),
    body(events.TubingFilled, prime_u=amounts),
    body(events.CartridgeFilled, volume_u=amounts, measured_u=amounts),
    body(events.SensorStarted, sensor=some(["dexcom_g6", "libre_2"]), session_age_s=spans),
    body(events.SensorJoined, sensor=some(["dexcom_g7"]), session_age_s=spans, signature=some([None, "72", "73"])),
    body(events.SensorStopped, sensor=some(["dexcom_g7"]), reason=some([None, "5", "user"])),
    body(events.SensorAlertRaised, alert_id=some([1]), name=some(["1"])),
    body(events.ControlChanged, control=some(["closed_loop", "9"])),
    body(events.CarbsEntered, carbs_g=some([0.0, 12.0, 65_535.0, float("nan")])),
    body(events.DaySummary, iob_u=amounts),
]
ANYTHING = st.one_of(*BOLUS) | st.one_of(*BASAL) | st.one_of(*OTHERS)


class TestAnyValues(FoldContract):
    """Each fold with any values that a log can hold."""

    folds = (*FOLDS[:-4], ProfilesFold(zone="Etc/UTC"))
    max_examples = 6


class TestWorlds(FoldContract):
    """Each fold with events that belong together."""

    folds = tuple(FOLDS)
    bodies = ANYTHING
    max_examples = 30


@pytest.mark.parametrize("fold", FOLDS, ids=lambda fold: fold.name)
@settings(max_examples=25, deadline=None)
@given(world=event_runs(ANYTHING), cuts=st.lists(st.integers(0, 25), max_size=4))
def test_insulin(fold: Fold[Any], world: list[Event], cuts: list[int]) -> None:
    """No document holds an amount that the pump cannot give, nor more insulin than its records add up to."""
    keep_laws(fold, world, cuts)
    told = 0.0
    for item in world:
        if item.kind in ("bolus.completed", "bolus.extended_completed", "bolus.delivered"):
            delivered = item.body.delivered_u
            told += delivered if delivered is not None and 0 <= delivered <= 26 else 0.0
    sent = 0.0
    for document in final_documents(fold, world):
        if document.problem is None:
            units = document.content.get("enteredinsulin", document.content.get("insulin", 0.0))
            assert 0 <= units <= 25.01
            assert 0 <= document.content.get("absolute", 0.0) <= 15
            assert document.content.get("duration", 1.0) > 0
            sent += units
    assert sent <= told + 0.001 * len(world)
