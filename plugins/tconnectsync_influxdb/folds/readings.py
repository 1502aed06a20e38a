"""Sensor readings, at the time of measurement."""

from __future__ import annotations

from collections.abc import Sequence

from tconnectsync import Document, Event
from tconnectsync.events.readings import ReadingMinutes, mark_of, measured_at, shown_mg_dl, shown_trend, with_minute
from tconnectsync.events.source_record import record_of
from tconnectsync_influxdb.folds.point_documents import point_document


class ReadingPointFold:
    """``glucose.reading`` as one point for each minute: a live reading and its backfilled copy are one measurement.

    Above and below the sensor's range the number is 401 and 39, ``mark`` is "high" and "low", and there is no trend.
    """

    name = "readings"
    version = 4
    kinds = frozenset({"glucose.reading"})
    state_type = ReadingMinutes

    def initial(self) -> ReadingMinutes:
        """No reading known."""
        return ReadingMinutes()

    def step(self, state: ReadingMinutes, event: Event) -> tuple[ReadingMinutes, Sequence[Document]]:
        """Return the state after ``event``, and its point if it is the first of its minute."""
        body, record = event.body, record_of(event)
        number = shown_mg_dl(body)
        if number is None:
            return state, ()
        at = measured_at(event)
        fresh = with_minute(state, at)
        if fresh is None:
            return state, ()
        fields = {
            "mg_dl": number,
            "mark": None if mark_of(number) == "value" else mark_of(number),
            "trend_mg_dl_per_min": shown_trend(body),
        }
        return fresh, (point_document("glucose", record, at=at, source=body.sensor or "sensor", fields=fields),)

    def running(self, state: ReadingMinutes) -> Sequence[Document]:  # noqa: ARG002 - the protocol's signature
        """Nothing: readings do not change."""
        return ()
