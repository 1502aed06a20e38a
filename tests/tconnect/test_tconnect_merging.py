"""Several services report the same facts: each dose counts once, with the values of the CSV export."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import closing
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from tconnectsync import Event
from tconnectsync.eventlog import EventLog
from tconnectsync_nightscout.folds.basal import BasalFold
from tconnectsync_nightscout.folds.boluses import BolusFold
from tconnectsync_nightscout.folds.modes import ModesFold
from tconnectsync_tconnect.rows.csv_tables import read_rows
from tconnectsync_tconnect.rows.decoder import DECODER, decode
from tconnectsync_tconnect.rows.merge import MergedResponses, OpenSpans, WindowResponses, merge_responses
from tconnectsync_tconnect.source_events import event_of
from tests.support.clocks import FakeClock
from tests.tconnect.fake_services import GUID, PUMP, START, bolus, segment, site, timeline, x_of
from tests.tconnect.sample_exports import (
    EXTENDED,
    STANDARD,
    basal,
    boluses,
    device,
    documents_of,
    ended,
    events_of,
    export,
    iob,
)

NOW = datetime(2021, 4, 3, tzinfo=timezone.utc)
DAY = date(2021, 4, 1)


def together(rest: OpenSpans | None = None, **answers: Any) -> MergedResponses:
    csv = list(read_rows(io.BytesIO(answers.pop("csv", b""))))
    return merge_responses(WindowResponses(first=DAY, csv=csv, **answers), rest or OpenSpans())


def events(found: MergedResponses) -> list[Event]:
    return [event_of(one, PUMP, NOW) for one in found.facts]


def rates(found: MergedResponses | list[Event]) -> list[tuple[str, float, float]]:
    """What Nightscout shows: start, rate, minutes."""
    told = found if isinstance(found, list) else events(found)
    return [
        (f"{document.at:%d %H:%M}", document.content["rate"], document.content["duration"])
        for document in documents_of(BasalFold(), told)
    ]


def doses(found: MergedResponses) -> list[float]:
    return [document.content["insulin"] for document in documents_of(BolusFold(), events(found))]


def test_basal_example_of_the_service() -> None:
    """It is read as the service describes it."""
    answer = {
        "basal": {
            "tempDeliveryEvents": [{"x": 1615878000, "y": 0.8, "type": 2, "duration": 1221}],
            "algorithmDeliveryEvents": [{"x": 1615879521, "y": 0.797, "type": 3, "duration": 300}],
            "profileDeliveryEvents": [{"x": 1615879221, "y": 0.799, "type": 1, "duration": 300}],
        },
        "suspensionDeliveryEvents": [{"x": 1615879821, "suspendReason": "control-iq", "continuation": None, "type": 0}],
        "events": [],
    }
    found = sorted(events(together(timeline=answer)), key=lambda event: event.pump_time)
    assert [event.id for event in found] == [
        f"tconnect:{PUMP}:basal.delivered:2021-03-16T00:00:00",
        f"tconnect:{PUMP}:basal.delivered:2021-03-16T00:20:21",
        f"tconnect:{PUMP}:basal.delivered:2021-03-16T00:25:21",
        f"tconnect:{PUMP}:pumping.suspended:2021-03-16T00:30:21",
    ]
    assert [(event.body.rate_u_per_h, event.body.rate_source, event.body.span_s) for event in found[:3]] == [
        (0.8, "temp_rate", 1221),
        (0.799, "profile", 300),
        (0.797, "algorithm", 300),
    ]


def of_april(day: int, *tables: str) -> bytes:
    return export(*tables).replace(b"2021-04-01", f"2021-04-{day:02}".encode())


@pytest.mark.parametrize(
    ("days", "minutes"), [((2, 3, 4, 5), 6000), ((), 120), ((4, 5), 120), ((2,), 960), ((2, 3), 2400)], ids=str
)
def test_days_without_the_pump(days: Sequence[int], minutes: int) -> None:
    """A rate from earlier days lasts to the next row only if the pump was worn (had readings) in between."""
    windows = [of_april(1, device(("22:00:00", "118")), basal(("20:00:00", "0.8")))]
    windows += [of_april(day, device(("12:00:00", "118"))) if day in days else b"" for day in (2, 3, 4, 5)]
    windows.append(of_april(6, basal(("00:00:00", "0.9"), ("01:00:00", "1.0"))))
    spans, found = OpenSpans(), []
    for content in windows:
        merged = together(spans, csv=content)
        spans = merged.open_spans
        found += events(merged)
    assert rates(found)[0] == ("01 20:00", 0.8, minutes)
    assert rates(found)[1][:2] == ("06 00:00", 0.9)


def test_a_suspension_with_a_basal_row_explains_that_row() -> None:
    rows = timeline(segment("2021-04-01T08:00", 0.0, 600), suspensions=[("2021-04-01T08:00", "control-iq")])
    (one,) = events(together(timeline=rows))
    assert (one.kind, one.body.rate_u_per_h, one.body.rate_source) == ("basal.delivered", 0.0, "suspended")


def test_suspension_without_basal_row() -> None:
    """It lasts until the next basal row."""
    rows = timeline(
        segment("2021-04-01T08:00", 1.0, 3600, 1),
        segment("2021-04-01T08:50", 1.0, 600, 1),
        suspensions=[("2021-04-01T08:20", "manual")],
    )
    assert rates(together(timeline=rows)) == [("01 08:00", 1.0, 20), ("01 08:20", 0.0, 30), ("01 08:50", 1.0, 10)]


def test_suspension_ended_by_later_days() -> None:
    """A suspension without an end ends when later days are read."""
    before = together(
        timeline=timeline(segment("2021-04-01T23:00", 1.0, 1800), suspensions=[("2021-04-01T23:30", "manual")])
    )
    assert before.open_spans.suspension is not None
    after = together(before.open_spans, timeline=timeline(segment("2021-04-02T00:30", 1.0, 300)))
    assert after.open_spans.suspension is None
    told = {event.id: event for event in (*events(before), *events(after))}
    assert rates(list(told.values()))[1] == ("01 23:30", 0.0, 60)


def test_basal_of_timeline_and_export() -> None:
    """The timeline's basal wins, and the export fills the time before it."""
    rows = timeline(segment("2021-04-01T12:00", 0.5, 3600, 3), segment("2021-04-01T13:00", 0.7, 3600, 3))
    csv = export(basal(("08:00:00", "1.0"), ("10:00:00", "1.5"), ("12:30:00", "9.0"), ("13:10:00", "9.0")))
    assert rates(together(timeline=rows, csv=csv)) == [
        ("01 08:00", 1.0, 120),
        ("01 10:00", 1.5, 120),
        ("01 12:00", 0.5, 60),
        ("01 13:00", 0.7, 60),
    ]


def test_a_row_of_the_export_lasts_into_the_days_after() -> None:
    before = together(csv=export(basal(("08:00:00", "1.0"), ("20:00:00", "1.5"))))
    after = together(before.open_spans, csv=export(basal(("23:00:00", "2.0"))))
    assert rates([*events(before), *events(after)])[:2] == [("01 08:00", 1.0, 720), ("01 20:00", 1.5, 180)]


def test_export_basal_equals_import() -> None:
    """Basal of the export has the ids and bodies that an import gives."""
    csv = export(basal(("08:00:00", "1.0"), ("10:00:00", "1.5"), ("12:30:00", "0.9")))
    imported = {event.id: event.body for event in events_of(csv, pump=PUMP)}
    assert {event.id: event.body for event in events(together(csv=csv))} == imported


def test_bolus_in_several_services() -> None:
    """It has the same id in each and counts once."""
    csv = export(boluses(STANDARD))
    imported = ended(events_of(csv, pump=PUMP))
    found = together(csv=csv, therapy=[bolus(7007, "2021-04-01T12:58:26", 13.53)])
    one = ended(events(found))
    assert (one.id, one.kind, one.pump_time) == (imported.id, imported.kind, imported.pump_time)
    assert one.body == imported.body
    assert doses(found) == [13.53]


def test_export_fills_missing_boluses() -> None:
    """Boluses of the export count if the therapy events have none."""
    csv = export(boluses(STANDARD, EXTENDED))
    assert sorted(doses(together(csv=csv))) == [0.2, 13.53]
    assert {event.id for event in events(together(csv=csv))} == {event.id for event in events_of(csv, pump=PUMP)}


def test_an_extended_bolus_delivers_both_parts() -> None:
    later = {
        "size": 0.2, "bolexStartDateTime": "2021-04-01T15:00:00", "iob": 1.0, "completionStatusDesc": "Completed",
        "insulinDelivered": {"completionDateTime": "2021-04-01T15:30:00", "value": 0.2}, "insulinRequested": 0.2,
        "extendedBolusIsComplete": 1, "bolexCompletionId": 7011.0,
    }  # fmt: skip
    event = bolus(
        7010, "2021-04-01T15:00:00", 0.2, bolex=later, bolusRequestOptions="Extended", duration=30, bg=0, carbSize=0,
        actualTotalBolusRequested=0.4, standardPercent=50, requestDateTime="2021-04-01T14:59:40",
    )  # fmt: skip
    found = events(together(therapy=[event]))
    completed = [one.body.delivered_u for one in found if one.kind in ("bolus.completed", "bolus.extended_completed")]
    assert completed == [0.2, 0.2]
    imported = {one.id for one in events_of(export(boluses(EXTENDED)), pump=PUMP)}
    assert {one.id for one in found} == imported


def test_two_boluses_of_one_name_are_not_made_one() -> None:
    asked = "2021-04-01T11:59:00"
    found = together(therapy=[bolus(7007, "2021-04-01T12:00:00", units, requestDateTime=asked) for units in (2.0, 3.0)])
    assert doses(found) == [2.0]
    assert [event.body.reason for event in events(found) if event.kind == "unknown"] == [
        "contradicts another row about the same bolus"
    ]


def test_readings_come_once_and_calibrations_are_told() -> None:
    therapy = [
        {"type": "CGM", "eventDateTime": "2021-04-01T00:01:39", "eventID": 256, "serialNumber": PUMP, "egv": {"estimatedGlucoseValue": 174}},
        {"type": "BG", "eventDateTime": "2021-04-01T00:02:00", "bg": 160, "cgmCalibration": 1, "iob": 0.4},
    ]  # fmt: skip
    csv = export(device(("00:01:39", "174"), ("00:06:40", "180")), iob(("00:00:19", "13.24")))
    found = events(together(therapy=therapy, csv=csv))
    assert sorted((event.kind, f"{event.pump_time:%H:%M:%S}") for event in found) == [
        ("day.summary", "00:00:19"),
        ("glucose.fingerstick", "00:02:00"),
        ("glucose.reading", "00:01:39"),
    ]
    (stick,) = (event.body for event in found if event.kind == "glucose.fingerstick")
    assert (stick.glucose_mg_dl, stick.calibration, stick.iob_u) == (160, True, 0.4)


def test_exercise_splits_sleep() -> None:
    """Both have their lengths."""
    rows = timeline(
        segment("2021-04-01T12:00", 1.0, 300),
        modes=[("2021-04-01T01:00", 1, 6 * 3600), ("2021-04-01T03:00", 2, 3600)],
    )
    shown = documents_of(ModesFold(), events(together(timeline=rows)))
    assert [(one.content["eventType"], f"{one.at:%H:%M}", one.content["duration"]) for one in shown] == [
        ("Sleep", "01:00", 120),
        ("Exercise", "03:00", 60),
        ("Sleep", "04:00", 180),
    ]


def test_sleep_up_to_newest_data() -> None:
    """It has no end yet."""
    asleep = together(timeline=timeline(segment("2021-04-01T03:00", 1.0, 300), modes=[("2021-04-01T01:00", 1, 7200)]))
    assert [event.body.mode for event in events(asleep) if event.kind == "mode.changed"] == ["sleep"]
    longer = together(
        asleep.open_spans,
        timeline=timeline(segment("2021-04-01T09:00", 1.0, 300), modes=[("2021-04-01T01:00", 1, 21600)]),
    )
    ends = [event for event in events(longer) if event.kind == "mode.changed" and event.body.mode == "normal"]
    assert [f"{event.pump_time:%H:%M}" for event in ends] == ["07:00"]


def test_days_without_any_data_do_not_end_a_sleep() -> None:
    """Tomorrow is requested, too: an empty answer says nothing about the night that has begun."""
    asleep = together(timeline=timeline(segment("2021-04-01T03:00", 1.0, 300), modes=[("2021-04-01T01:00", 1, 7200)]))
    tomorrow = merge_responses(WindowResponses(first=date(2021, 4, 2)), asleep.open_spans)
    assert [event for event in events(tomorrow) if event.body.mode == "normal"] == []
    later = merge_responses(
        WindowResponses(first=date(2021, 4, 3), timeline=timeline(segment("2021-04-03T00:00", 1.0, 300))),
        tomorrow.open_spans,
    )
    ends = [event for event in events(later) if event.kind == "mode.changed" and event.body.mode == "normal"]
    assert [f"{event.pump_time:%d %H:%M}" for event in ends] == ["01 03:00"]


def test_site_change_and_suspension() -> None:
    """A site change counts once, and a suspension counts if the basal rows say so."""
    rows = timeline(
        segment("2021-04-01T08:00", 1.0, 3600, 1),
        segment("2021-04-01T09:00", 0.0, 600, 0),
        segment("2021-04-01T09:10", 1.0, 600, 1),
    )
    rows["basal"]["profileDeliveryEvents"].append({"x": x_of("2021-04-01T09:00"), "y": 0.0, "type": 0, "duration": 600})
    sites = [
        site("2021-04-01T09:00", "site-cart"),
        site("2021-04-01T08:30", "manual"),
        site("2021-04-01T00:00", "previous"),
        site("2021-04-01T07:00", "basal-profile"),
    ]
    found = events(together(timeline=rows, sites=sites))
    assert sorted((event.kind, f"{event.pump_time:%H:%M}") for event in found if event.kind != "basal.delivered") == [
        ("cannula.filled", "09:00"),
        ("pump.noted", "08:30"),
        ("pumping.resumed", "09:10"),
        ("pumping.suspended", "09:00"),
    ]
    assert rates(found) == [("01 08:00", 1.0, 60), ("01 09:00", 0.0, 10), ("01 09:10", 1.0, 10)]


def test_raw_record_is_enough() -> None:
    """The record in the log gives the same kind and body again, and names nobody."""
    found = events(
        together(
            timeline=timeline(
                segment("2021-04-01T08:00", 1.0, 3600),
                segment("2021-04-01T12:00", 0.0, 300),
                segment("2021-04-01T13:00", 0.8, 300),
                suspensions=[("2021-04-01T09:00", "alarm"), ("2021-04-01T12:00", "control-iq")],
                modes=[("2021-04-01T01:00", 1, 7200)],
            ),
            therapy=[bolus(7007, "2021-04-01T12:58:26", 13.53), {"type": "Basal", "eventDateTime": "2021-04-01T07:00:00", "basalRate": {"value": 1, "percent": 50}}],
            csv=export(basal(("05:00:00", "1.0"), ("07:00:00", "0.9")), iob(("00:00:19", "13.24")), device(("00:01:39", "174"))),
            sites=[site("2021-04-01T09:00", "site-cart"), site("2021-04-01T15:00", "temp-profile")],
        )
    )  # fmt: skip
    assert len({event.kind for event in found}) >= 9
    assert "unknown" not in {event.kind for event in found}
    for event in found:
        assert event.raw is not None
        assert decode(event.raw) == (event.kind, event.body)
        assert GUID not in str(event.raw)


@pytest.mark.parametrize(
    "answers",
    [
        {"timeline": {"basal": {"profileDeliveryEvents": [{"x": "soon", "y": 1, "type": 1, "duration": 300}, 5]}}},
        {"timeline": {"basal": {"profileDeliveryEvents": [{"x": 1e30, "y": 1, "type": 1, "duration": 300}]}}},
        {"timeline": {"suspensionDeliveryEvents": [{"suspendReason": "manual"}]}},
        {"timeline": {"events": [{"eventType": 1, "x": 1619901912, "duration": -4}]}},
        {"therapy": [{"type": "Bolus", "standard": "none"}, None]},
        {"therapy": [{"type": "CGM", "eventDateTime": "2021-04-01T00:01:39"}]},
        {"sites": [{"EventDateTime": "yesterday", "SuspendReason": "manual"}]},
    ],
)
def test_unreadable_row(answers: dict[str, Any]) -> None:
    """It is stored, and other rows are read."""
    therapy = [*answers.get("therapy", ()), bolus(7007, "2021-04-01T12:00:00", 2.0)]
    found = together(**{**answers, "therapy": therapy})
    assert found.bad >= 1
    assert doses(found) == [2.0]
    assert sum(event.kind == "unknown" for event in events(found)) == found.bad


@pytest.mark.parametrize("longer_first", [True, False])
def test_row_grows(tmp_path: Path, *, longer_first: bool) -> None:
    """If a row lasts longer at the next read, the log has the longer one."""
    looks = [
        together(
            timeline=timeline(segment("2021-04-01T08:00", 1.0, length, 1)),
            csv=export(basal(("05:00:00", "1.0"), (f"0{hour}:00:00", "1.2"))),
        )
        for length, hour in ((900, 6), (1200, 7))
    ]
    clock = FakeClock(START)
    with closing(EventLog.open(tmp_path, clock=clock, writable=True)) as log:
        for found in reversed(looks) if longer_first else looks:
            log.append(events(found))
        (stream,) = log.streams()
        back = list(log.read(stream.id, stream.first_key, stream.last_key))
    spans = {f"{event.pump_time:%H:%M}": event.body.span_s for event in back}
    assert (spans["05:00"], spans["08:00"]) == (7200, 1200)


@pytest.mark.parametrize(("rate", "first"), [("", "Basal"), ("x", "Basal"), ("3", "Baal")])
def test_export_row_without_rate(rate: str, first: str) -> None:
    """It leaves a hole, and no other row becomes longer."""
    rows = basal(("00:00:00", "1"), ("01:00:00", rate), ("02:00:00", "2"), ("03:00:00", "2"))
    rows = rows.replace('"Basal","3","2021-04-01T01', f'"{first}","3","2021-04-01T01')
    assert [row[:2] for row in rates(together(csv=export(rows)))] == [("01 00:00", 1.0), ("01 02:00", 2.0)]
    assert rates(together(csv=export(rows)))[0][2] == 60


def test_export_bolus_row_with_extra_cell() -> None:
    """It is still a dose."""
    row = boluses(STANDARD).rstrip() + ',"half now",\r\n'
    found = together(csv=export(row))
    assert (doses(found), found.bad) == ([13.53], 0)


def test_events_name_the_decoder_that_made_them() -> None:
    """Otherwise the log would decode each of them again at every reading."""
    found = events(together(timeline=timeline(segment("2021-04-01T00:00:00", 0.8, 1200))))
    assert [event.decoder for event in found] == [DECODER]
    assert [decode(event.raw or {}) for event in found] == [(event.kind, event.body) for event in found]
