"""The records of one bolus mean the same to the figures, to Nightscout and to InfluxDB."""

from __future__ import annotations

from typing import Any

import pytest

from tconnectsync import Event, events, read_therapy
from tconnectsync.testing import final_documents, make_event
from tconnectsync_influxdb.folds.boluses import BolusPointFold
from tconnectsync_nightscout.folds.boluses import BolusFold

SPLIT = events.BolusDelivered(
    bolus_id=7, status="started", types=("now", "later"), requested_now_u=2.0, requested_later_u=4.0, delivered_u=0.0
)
IMMEDIATE = events.BolusCompleted(bolus_id=7, status="completed", delivered_u=2.0, requested_u=2.0)
EXTENDED = events.BolusExtendedCompleted(bolus_id=7, status="completed", delivered_u=4.0, requested_u=4.0)
WHOLE = events.BolusDelivered(bolus_id=7, status="completed", types=("now", "later"), delivered_u=6.0)


HOUR = 3600


def story(*bodies: Any, wait: int = 60) -> list[Event]:
    """These records, one each minute, or with ``wait`` seconds before the third and those after it."""
    times = [0, 60, *(60 + wait + 60 * number for number in range(len(bodies)))]
    return [make_event(body, at, 1000 + number) for number, (body, at) in enumerate(zip(bodies, times, strict=False))]


@pytest.mark.parametrize(
    "records",
    [
        pytest.param([SPLIT, IMMEDIATE, EXTENDED, WHOLE], id="whole"),
        pytest.param([SPLIT, IMMEDIATE, EXTENDED], id="without the last 280"),
        pytest.param([SPLIT, EXTENDED, WHOLE], id="without 20"),
        pytest.param([SPLIT, IMMEDIATE, WHOLE], id="without 21"),
        pytest.param([SPLIT, WHOLE], id="by 280 alone"),
    ],
)
def test_bolus_with_missing_records(records: list[Any]) -> None:
    """All three have the amounts of both parts and what was requested, whichever records are missing."""
    (bolus,) = read_therapy(story(*records)).boluses
    (treatment,) = final_documents(BolusFold(), story(*records))
    (point,) = final_documents(BolusPointFold(), story(*records))
    assert (bolus.immediate_u, bolus.extended_u, bolus.requested_u) == (2.0, 4.0, 6.0)
    assert (treatment.content["insulin"], treatment.content["enteredinsulin"]) == (2.0, 6.0)
    fields = point.content["fields"]
    assert (fields["insulin_u"], fields["extended_u"], fields["requested_u"]) == (6.0, 4.0, 6.0)


def test_requested_amount_of_one_part() -> None:
    """The requested amount of an immediate part is not that of an extended bolus."""
    (bolus,) = read_therapy(story(IMMEDIATE, EXTENDED)).boluses
    assert (bolus.immediate_u, bolus.extended_u, bolus.requested_u) == (2.0, 4.0, None)


@pytest.mark.parametrize("records", [[EXTENDED, WHOLE], [EXTENDED], [WHOLE]], ids=["21 and 280", "21", "280"])
def test_eight_hours_without_its_plan(records: list[Any]) -> None:
    """No record said in advance that the bolus is extended. Its end after eight hours is not another bolus: 6 U, not 8 U."""
    start = events.BolusStarted(bolus_id=7, size_u=2.0)
    told = story(start, IMMEDIATE, *records, wait=8 * HOUR)
    (bolus,) = read_therapy(told).boluses
    (treatment,) = final_documents(BolusFold(), told)
    (point,) = final_documents(BolusPointFold(), told)
    assert (bolus.immediate_u, bolus.extended_u) == (2.0, 4.0)
    assert (treatment.content["insulin"], treatment.content["enteredinsulin"]) == (2.0, 6.0)
    assert (point.content["fields"]["insulin_u"], point.content["fields"]["extended_u"]) == (6.0, 4.0)


def test_id_used_again_after_hours() -> None:
    """A bolus that began is not part of an earlier one with its id, although it has no plan either."""
    start = events.BolusStarted(bolus_id=7, size_u=2.0)
    told = story(start, IMMEDIATE, start, IMMEDIATE, wait=8 * HOUR)
    assert [document.content["insulin"] for document in final_documents(BolusFold(), told)] == [2.0, 2.0]
    assert [bolus.immediate_u for bolus in read_therapy(told).boluses] == [2.0, 2.0]
