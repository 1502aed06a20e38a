from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta, timezone

import pytest

from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import SimulatedPump, simulate
from tconnectsync_simulator.pump.records import PUMP_EPOCH_S
from tests.simulator.two_pumps import hand_over
from tests.support.truths import all_uploaded_at, known_at, merge

UTC = timezone.utc


@pytest.fixture(scope="module")
def pump() -> SimulatedPump:
    """Thirty days, a fifth of the records uploaded late."""
    return simulate(SimulationPlan(seed=11, days=30, late_share=0.2))


def test_basal_of_every_hour(pump: SimulatedPump) -> None:
    """It is what the records' rates give."""
    rate_mu_h, since_s = 0, 0
    hours: dict[int, float] = defaultdict(float)

    def deliver(until_s: int) -> None:
        at_s = since_s
        while at_s < until_s:
            edge_s = min(until_s, (at_s // 3600 + 1) * 3600)
            hours[at_s // 3600] += rate_mu_h * (edge_s - at_s) / 3_600_000
            at_s = edge_s

    for record in pump.log:
        code = record.entry["eventCode"]
        if code in {11, 279}:
            deliver(record.at_s)
            since_s = record.at_s
            rate_mu_h = 0 if code == 11 else record.entry["eventProperties"]["commandedRate"]
    end_s = int(pump.truth.end.timestamp())
    deliver(end_s)
    for hour, amount in pump.truth.basal_u_per_hour.items():
        assert hours[int(hour.timestamp()) // 3600] == pytest.approx(amount, abs=1e-6), hour
    assert sum(hours.values()) == pytest.approx(sum(pump.truth.basal_u_per_hour.values()), abs=1e-6)


def test_a_resumed_pump_tells_its_rate_in_the_same_second(pump: SimulatedPump) -> None:
    told = {(record.at_s, record.entry["eventCode"]) for record in pump.log}
    resumed = [record.at_s for record in pump.log if record.entry["eventCode"] == 12]
    assert resumed
    assert all((at_s, 279) in told for at_s in resumed)


def test_sum_of_boluses(pump: SimulatedPump) -> None:
    """The records 20 and 21 give it, and the last 280 agrees."""
    ended: dict[int, float] = defaultdict(float)
    totals: dict[int, int] = {}
    for entry in pump.records:
        properties = entry["eventProperties"]
        if entry["eventCode"] in {20, 21}:
            ended[properties["bolusId"]] += properties["insulinDelivered"]
        elif entry["eventCode"] == 280 and properties["bolusDeliveryStatus"] == 0:
            totals[properties["bolusId"]] = properties["deliveredTotal"]
    finished = [bolus for bolus in pump.truth.boluses if bolus.finished]
    assert len(finished) > 100
    for bolus in finished:
        assert ended[bolus.bolus_id] == pytest.approx(bolus.delivered_u, abs=1e-5)
        assert totals[bolus.bolus_id] == pytest.approx(bolus.delivered_u * 1000, abs=0.5001)
        assert bolus.delivered_u <= bolus.requested_u + 1e-9
        assert bolus.ended_at is not None
        assert bolus.ended_at >= bolus.started_at > bolus.requested_at


def test_a_bolus_begins_when_its_delivery_is_logged(pump: SimulatedPump) -> None:
    first: dict[int, int] = {}
    for record in pump.log:
        if record.entry["eventCode"] in {55, 59}:
            first.setdefault(record.entry["eventProperties"]["bolusId"], record.at_s)
    for bolus in pump.truth.boluses:
        assert first[bolus.bolus_id] == bolus.started_at.timestamp()


def test_readings_of_the_records(pump: SimulatedPump) -> None:
    """Once each, without the hidden ones."""
    stamps: dict[int, int] = {}
    for record in pump.log:
        properties = record.entry["eventProperties"]
        if record.entry["eventCode"] == 399 and properties["glucoseValueStatus"] != 6:
            local = datetime.fromisoformat(record.entry["estimatedDateTime"].replace("Z", "+00:00"))
            offset_s = int(local.timestamp()) - record.at_s
            stamps[properties["egvTimeStamp"] + PUMP_EPOCH_S - offset_s] = properties["currentGlucoseDisplayValue"]
    told = {int(reading.at.timestamp()): reading.glucose_mg_dl for reading in pump.truth.glucose}
    assert len(told) == len(pump.truth.glucose)
    assert set(stamps) == set(told)
    assert all(40 <= r.glucose_mg_dl <= 400 for r in pump.truth.glucose if r.mark == "value")


def test_modes_are_those_of_the_records(pump: SimulatedPump) -> None:
    mode, spans = 0, []
    for record in pump.log:
        if record.entry["eventCode"] == 229:
            properties = record.entry["eventProperties"]
            assert properties["previousUserMode"] == mode
            if properties["currentUserMode"] != mode:
                mode = properties["currentUserMode"]
                spans.append((mode, record.at_s))
    begins = [(1 if m.name == "sleep" else 2, int(m.started_at.timestamp())) for m in pump.truth.modes]
    assert begins == [span for span in spans if span[0]]


def test_until_a_time_only_what_was_wholly_uploaded_counts(pump: SimulatedPump) -> None:
    slowest = max(pump.truth.boluses, key=lambda each: each.uploaded_at - each.started_at)
    when = slowest.uploaded_at - timedelta(seconds=1)
    part = known_at(pump.truth, when)
    assert 0 < len(part.boluses) < len(pump.truth.boluses)
    uploaded = [record.entry for record in pump.log if record.uploaded_s <= when.timestamp()]
    ids = {entry["eventProperties"]["bolusId"] for entry in uploaded if entry["eventCode"] in {20, 21}}
    assert {bolus.bolus_id for bolus in part.boluses if bolus.finished} <= ids
    assert not next(bolus for bolus in part.boluses if bolus.bolus_id == slowest.bolus_id).finished
    assert max(part.basal_u_per_hour) <= when


def test_at_the_end_of_all_uploads_the_part_is_the_whole(pump: SimulatedPump) -> None:
    part = known_at(pump.truth, all_uploaded_at(pump))
    assert part.boluses == pump.truth.boluses
    assert part.glucose == pump.truth.glucose
    assert len(part.basal_u_per_hour) >= len(pump.truth.basal_u_per_hour) - 1


def test_truth_of_two_pumps() -> None:
    """It joins them at the hand-over."""
    at = datetime(2026, 3, 4, 17, 30, tzinfo=UTC)
    old, new = hand_over(SimulationPlan(days=6), at)
    both = merge((old.truth, new.truth))
    hours = sorted(both.basal_u_per_hour)
    assert len(hours) == 6 * 24
    shared = at.replace(minute=0)
    assert both.basal_u_per_hour[shared] == pytest.approx(
        old.truth.basal_u_per_hour[shared] + new.truth.basal_u_per_hour[shared]
    )
    assert len(both.boluses) == len(old.truth.boluses) + len(new.truth.boluses)
