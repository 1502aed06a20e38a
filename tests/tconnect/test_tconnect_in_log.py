"""An export in the real event log: stored once however often it is read, in the order that the folds need."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

from tconnectsync.eventlog import EventLog
from tconnectsync_nightscout.folds.boluses import BolusFold
from tests.support.clocks import FrozenClock
from tests.tconnect.sample_exports import (
    EXTENDED,
    PUMP,
    RECEIVED,
    STANDARD,
    basal,
    boluses,
    device,
    documents_of,
    events_of,
    export,
    iob,
)


def test_export_read_twice(tmp_path: Path) -> None:
    """The log has it once, and completely."""
    content = export(
        boluses(EXTENDED, STANDARD),
        iob(("00:00:19", "13.24")),
        basal(("00:00:00", "0.8"), ("06:30:00", "1.1")),
        device(("00:01:39", "174")),
    )
    found = events_of(content)
    with closing(EventLog.open(tmp_path, clock=FrozenClock(RECEIVED), writable=True)) as log:
        first, second = log.append(found), log.append(events_of(content, received_at=datetime.now(timezone.utc)))
        assert (first.appended, first.revisions, second.appended) == (len(found), 0, 0)
        (stream,) = log.streams()
        assert (stream.pump, stream.source, stream.numbered) == (PUMP, "tconnect", False)
        back = log.read(stream.id, stream.first_key, stream.last_key)
        assert {event.id: (event.body, event.raw) for event in back} == {
            event.id: (event.body, event.raw) for event in found
        }
        assert [event.pump_time for event in back] == sorted(event.pump_time for event in found)
        doses = [document.content["insulin"] for document in documents_of(BolusFold(), back)]
        assert sorted(doses) == [0.2, 13.53]
