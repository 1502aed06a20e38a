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


def story(*bodies: Any) -> list[Event]:
    """These records, one each minute."""
    return [make_event(body, 60 * number, 1000 + number) for number, body in enumerate(bodies)]


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
