from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime
from itertools import permutations

import pytest

from tconnectsync import Event, FileUnreadable, events
from tconnectsync_tconnect.importer import read, recognises
from tconnectsync_tconnect.rows.decoder import decode
from tests.tconnect.sample_exports import (
    BOLUS_COLUMNS,
    EXTENDED,
    PREAMBLE,
    PUMP,
    RECEIVED,
    STANDARD,
    ImportArguments,
    basal,
    boluses,
    device,
    ended,
    events_of,
    export,
    iob,
    table,
)

TABLES = (
    device(("00:01:39", "174"), ("00:06:39", "180")),
    iob(("00:00:19", "13.24")),
    basal(("00:00:00", "0.8"), ("06:30:00", "1.1"), ("07:00:00", "0.8")),
    boluses(STANDARD, EXTENDED),
)


def named(found: Sequence[Event]) -> set[str]:
    return {event.id for event in found}


def only(found: Sequence[Event]) -> Event:
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("tables", list(permutations(TABLES)), ids=range(24))
def test_tables_in_any_order_give_the_same_events(tables: Sequence[str]) -> None:
    found = events_of(export(*tables))
    assert named(found) == {
        f"tconnect:{PUMP}:{name}"
        for name in (
            "glucose.reading:2021-04-01T00:01:39",
            "glucose.reading:2021-04-01T00:06:39",
            "day.summary:2021-04-01T00:00:19",
            "basal.delivered:2021-04-01T00:00:00",
            "basal.delivered:2021-04-01T06:30:00",
            "bolus:7007/requested",
            "bolus:7007/reasons",
            "bolus:7007/completed",
            "bolus:7010/requested",
            "bolus:7010/split",
            "bolus:7010/completed",
            "bolus:7010/extended_started",
            "bolus:7010/extended_completed",
        )
    }
    assert len(named(found)) == len(found)
    for event in found:
        assert (event.pump, event.group, event.seq, event.source) == (PUMP, None, None, "tconnect")
        assert event.received_at == RECEIVED
        assert isinstance(event.body, events.BODIES[event.kind])


def test_reading_twice_gives_equal_events() -> None:
    assert events_of(export(*TABLES)) == events_of(export(*TABLES))


def test_a_stream_that_cannot_be_read_twice_gives_the_same() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    found = [event for batch in read(Pipe(export(*TABLES)), ImportArguments()) for event in batch.events]
    assert found == events_of(export(*TABLES))


def test_a_bolus_is_told_with_all_that_its_row_says() -> None:
    found = events_of(export(boluses({**STANDARD, "Note": "pizza"})), pump=PUMP)
    asked = {event.id.rpartition("/")[2]: event for event in found if event.kind == "bolus.requested"}
    assert {event.pump_time for event in asked.values()} == {datetime(2021, 4, 1, 12, 53, 36)}
    assert {name: event.body for name, event in asked.items()} == {
        "requested": events.BolusRequested(bolus_id=7007, part=3, food_u=12.5, correction_u=1.03, total_u=13.53),
        "reasons": events.BolusRequested(bolus_id=7007, part=1, carbs_g=75.0, glucose_mg_dl=141.0),
    }
    event = ended(found)
    assert event.pump_time == datetime(2021, 4, 1, 12, 58, 26)
    assert event.body == events.BolusCompleted(
        bolus_id=7007,
        status="completed",
        delivered_u=13.53,
        requested_u=13.53,
        carbs_g=75.0,
        glucose_mg_dl=141.0,
        notes="pizza",
    )
    assert event.raw is not None
    assert event.raw["row"]["InsulinDelivered"] == "13.53"
    assert event.raw["row"]["BolusRequestID"] == "7007.000"


def test_delivered_amount_counts() -> None:
    """Not the amount that was requested."""
    row = {**STANDARD, "InsulinDelivered": "4.1", "CompletionStatusID": "0", "CompletionStatusDesc": "User Aborted"}
    body = ended(events_of(export(boluses(row)), pump=PUMP)).body
    assert (body.delivered_u, body.requested_u, body.status) == (4.1, 13.53, "user_aborted")


@pytest.mark.parametrize(
    ("number", "said", "status"),
    [
        ("3", "", "completed"),
        ("0", "", "user_aborted"),
        ("9", "", "status_9"),
        ("", "", "unknown"),
        ("1", "New Reason", "new_reason"),
    ],
)
def test_bolus_status(number: str, said: str, status: str) -> None:
    """The words say how a bolus ended; without words, the number does."""
    row = {**STANDARD, "CompletionStatusID": number, "CompletionStatusDesc": said}
    assert ended(events_of(export(boluses(row)), pump=PUMP)).body.status == status


def test_an_automatic_bolus_is_the_algorithms() -> None:
    row = {**STANDARD, "BolusRequestOptions": "Automatic Bolus/Correction"}
    assert ended(events_of(export(boluses(row)), pump=PUMP)).body.bolus_source == "algorithm"


def test_extended_bolus_amounts() -> None:
    """Each part has its own amount."""
    told = {event.kind: event for event in events_of(export(boluses(EXTENDED)), pump=PUMP)}
    assert told["bolus.completed"].body.delivered_u == 0.2
    assert told["bolus.extended_started"].pump_time == datetime(2021, 4, 1, 15, 0)
    assert told["bolus.extended_completed"].pump_time == datetime(2021, 4, 1, 15, 30)
    assert told["bolus.extended_completed"].body == events.BolusExtendedCompleted(
        bolus_id=7010, status="completed", delivered_u=0.2, requested_u=0.2, duration_min=30.0
    )


def test_a_bolus_that_is_not_complete_is_only_asked_for() -> None:
    found = events_of(export(boluses({**STANDARD, "BolusIsComplete": "0", "InsulinDelivered": "3.0"})), pump=PUMP)
    whole = events_of(export(boluses(STANDARD)), pump=PUMP)
    assert [(event.id, event.body) for event in found] == [
        (event.id, event.body) for event in whole if event.kind == "bolus.requested"
    ]


def test_bolus_ends_when_requested() -> None:
    """Only its end is an event."""
    row = {**STANDARD, "CompletionDateTime": STANDARD["RequestDateTime"]}
    assert only(events_of(export(boluses(row)), pump=PUMP)).kind == "bolus.completed"


def test_incomplete_extended_part() -> None:
    """It has begun and has no end."""
    row = {**EXTENDED, "ExtendedBolusIsComplete": "0", "BolexCompletionDateTime": "0001-01-01T00:00:00"}
    kinds = {event.kind for event in events_of(export(boluses(row)), pump=PUMP)}
    assert kinds == {"bolus.requested", "bolus.completed", "bolus.extended_started"}


def test_impossible_amounts() -> None:
    """They are passed on, so that sinks can refuse them."""
    rows = [{**STANDARD, "InsulinDelivered": "-1"}, {**STANDARD, "BolusRequestID": "8", "InsulinDelivered": "250"}]
    found = events_of(export(boluses(*rows)), pump=PUMP)
    assert [event.body.delivered_u for event in found if event.kind == "bolus.completed"] == [-1.0, 250.0]


def test_basal_rows_in_any_order() -> None:
    """A rate lasts until the next row by time."""
    for rates in permutations((("00:00:00", "0.8"), ("06:30:00", "1.1"), ("07:00:00", "0.8"))):
        found = sorted(events_of(export(basal(*rates)), pump=PUMP), key=lambda event: event.pump_time)
        assert [(event.body.rate_u_per_h, event.body.span_s) for event in found] == [(0.8, 23400), (1.1, 1800)]


def test_the_last_of_two_basal_rates_of_one_second_holds() -> None:
    found = events_of(export(basal(("00:00:00", "0.8"), ("00:00:00", "0.5"), ("01:00:00", "0.7"))), pump=PUMP)
    assert only(found).body == events.BasalDelivered(rate_u_per_h=0.5, span_s=3600)


@pytest.mark.parametrize(
    ("said", "mark", "glucose"),
    [
        ("174", "value", 174.0),
        ("40", "value", 40.0),
        ("400", "value", 400.0),
        ("39", "low", None),
        ("401", "high", None),
        ("Low", "low", None),
        ("HIGH", "high", None),
    ],
)
def test_a_reading_out_of_the_sensors_range_is_a_mark(said: str, mark: str, glucose: float | None) -> None:
    event = only(events_of(export(device(("00:01:39", said)))))
    at = datetime(2021, 4, 1, 0, 1, 39)
    assert event.pump_time == at
    assert event.body == events.GlucoseReading(mark=mark, reading_time=at, glucose_mg_dl=glucose)


def test_a_meters_value_is_a_finger_stick() -> None:
    event = only(events_of(export(device(("00:01:39", "111"), description="BG"))))
    assert event.body == events.GlucoseFingerstick(glucose_mg_dl=111.0, entry="manual")


def test_a_description_that_nobody_knows_is_kept_as_such() -> None:
    event = only(events_of(export(device(("00:01:39", "5"), description="Ketones"))))
    assert event.body == events.Unknown(code="Ketones", reason="no such description of a reading")
    assert event.raw is not None
    assert event.raw["row"]["Readings (CGM / BGM)"] == "5"


def test_columns_in_any_order() -> None:
    """There may also be more or fewer of them."""
    columns = ("Type", "New", *reversed(BOLUS_COLUMNS[1:]))
    few = ("Type", "BolusIsComplete", "InsulinDelivered", "BolusRequestID", "CompletionDateTime", "EventDateTime")
    assert ended(events_of(export(boluses(STANDARD, columns=columns)), pump=PUMP)).body.delivered_u == 13.53
    body = ended(events_of(export(boluses(STANDARD, columns=few)), pump=PUMP)).body
    assert body == events.BolusCompleted(bolus_id=7007, status="unknown", delivered_u=13.53)


def test_file_variants() -> None:
    """Unix line ends, a byte order mark and a missing preamble make no difference."""
    text = "\n".join(TABLES).replace("\r\n", "\n")
    assert events_of(b"\xef\xbb\xbf" + text.encode()) == events_of(export(*TABLES))


def test_preamble_without_blank_line() -> None:
    """It makes no difference."""
    assert events_of((PREAMBLE + "\r\n".join(TABLES)).encode()) == events_of(export(*TABLES))


def test_notes_may_hold_commas_quotes_and_blank_lines() -> None:
    note = 'pizza, "large"\n\n"Bolus" later'
    found = events_of(export(boluses({**STANDARD, "Note": note}, EXTENDED)), pump=PUMP)
    assert [event.body.notes for event in found if event.kind == "bolus.completed"] == [note, None]


def test_the_patients_name_is_nowhere_in_the_events() -> None:
    assert "Sample" in PREAMBLE
    assert "Sample" not in repr(events_of(export(*TABLES)))
    assert "1970" not in repr(events_of(export(*TABLES)))


def test_a_table_without_rows_says_nothing() -> None:
    assert named(events_of(export(boluses(), *TABLES))) == named(events_of(export(*TABLES)))


def test_without_readings_the_serial_number_is_asked_for() -> None:
    with pytest.raises(FileUnreadable) as caught:
        events_of(export(boluses(STANDARD)))
    assert "--pump SERIAL" in str(caught.value.remedy)
    assert ended(events_of(export(boluses(STANDARD)), pump="777")).id == "tconnect:777:bolus:7007/completed"


def test_another_serial_number_than_the_files_is_refused() -> None:
    with pytest.raises(FileUnreadable, match="is from pump 90556643, not from pump 777"):
        events_of(export(*TABLES), pump="777")


def test_a_file_of_two_pumps_is_refused() -> None:
    with pytest.raises(FileUnreadable, match="of 2 pumps"):
        events_of(export(*TABLES, device(("01:00:00", "100"), serial="777")))


def test_a_batch_says_whose_rows_it_holds_and_how_far_it_is() -> None:
    readings = [(f"{minute // 60:02}:{minute % 60:02}:00", "120") for minute in range(1250)]
    batches = list(read(io.BytesIO(export(device(*readings))), ImportArguments()))
    assert [(len(batch.events), batch.done, batch.total) for batch in batches] == [
        (1000, 1000, 1250),
        (250, 1250, 1250),
    ]
    assert batches[0].note == "pump 90556643, 1,250 rows of a t:connect export"


@pytest.mark.parametrize(
    "content",
    [export(), export(*TABLES), b"\xef\xbb\xbf" + TABLES[0].encode(), *(each.encode() for each in TABLES)],
)
def test_an_export_is_recognised(content: bytes) -> None:
    assert recognises(content[:4096])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff\x00",
        b'{"EventDateTime": 1}',
        b"Date,Glucose\n2021-04-01,100\n",
        b"EventDateTime,IOB\n",
        b"Type,EventDateTime\n",
    ],
)
def test_another_file_is_not_recognised(content: bytes) -> None:
    assert not recognises(content)


BAD_BOLUSES = [
    ("InsulinDelivered", "12,5", "is not a number"),
    ("InsulinDelivered", "nan", "is not a number"),
    ("InsulinDelivered", "9" * 400, "is not a number"),
    ("BolusRequestID", "", "does not name a bolus"),
    ("BolusRequestID", "0", "does not name a bolus"),
    ("BolusRequestID", "7.5", "is not a whole number"),
    ("BolusIsComplete", "maybe", "is neither 0 nor 1"),
    ("CompletionDateTime", "2021-04-31T00:00:00", "is not a time of a pump"),
    ("CompletionDateTime", "04/01/2021 12:58", "is not a time of a pump"),
    ("CompletionDateTime", "1999-04-01T12:58:26", "is not a time of a pump"),
]


@pytest.mark.parametrize(("column", "value", "reason"), BAD_BOLUSES)
def test_damaged_bolus(column: str, value: str, reason: str) -> None:
    """It is refused, and the message names its line and column."""
    content = export(*TABLES[:3], boluses(STANDARD, {**EXTENDED, column: value}))
    line = content.count(b"\n")
    with pytest.raises(FileUnreadable, match=f'Line {line}, Bolus table, column "{column}": the value {reason}'):
        events_of(content)
    kept = events_of(content, skip_bad=True)
    (aside,) = [event for event in kept if event.kind == "unknown"]
    assert aside.raw is not None
    assert aside.raw["row"][column] == value
    assert named(kept) - {aside.id} == {each for each in named(events_of(export(*TABLES))) if "7010" not in each}


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"BolexCompletionDateTime": "2021-04-01"}, "BolexCompletionDateTime"),
        ({"BolexCompletionDateTime": "2021-04-01T14:00:00"}, "BolexCompletionDateTime"),
        ({"BolexInsulinDelivered": "0,2"}, "BolexInsulinDelivered"),
        ({"BolusIsComplete": "0", "RequestDateTime": "", "EventDateTime": ""}, "RequestDateTime"),
    ],
)
def test_extended_bolus_without_dose(changes: dict[str, str], column: str) -> None:
    """It is refused."""
    with pytest.raises(FileUnreadable, match=f'column "{column}"'):
        events_of(export(boluses({**EXTENDED, **changes})), pump=PUMP)


def test_two_boluses_with_one_id() -> None:
    """They are refused; a repeated row is not."""
    once = named(events_of(export(boluses(STANDARD)), pump=PUMP))
    assert named(events_of(export(boluses(STANDARD, STANDARD)), pump=PUMP)) == once
    with pytest.raises(FileUnreadable, match="contradicts another row about the same bolus"):
        events_of(export(boluses(STANDARD, {**STANDARD, "CompletionDateTime": "2021-04-02T08:00:00"})), pump=PUMP)


@pytest.mark.parametrize("value", ["0", "-5", "abc"])
def test_a_reading_that_is_no_glucose_value_is_refused(value: str) -> None:
    with pytest.raises(FileUnreadable, match=r'column "Readings \(CGM / BGM\)"'):
        events_of(export(device(("00:01:39", value))))


@pytest.mark.parametrize("bad", [iob(("00:00:19", "x")), basal(("00:00:00", "0,8")), iob(("99:00:00", "1"))])
def test_a_value_that_is_none_is_refused(bad: str) -> None:
    with pytest.raises(FileUnreadable, match="Nothing was imported"):
        events_of(export(bad), pump=PUMP)


def test_damaged_file_gives_nothing() -> None:
    """Not even the events before the damage."""
    batches = read(io.BytesIO(export(*TABLES, iob(("00:00:19", "x")))), ImportArguments())
    with pytest.raises(FileUnreadable):
        next(batches)


def test_check_only() -> None:
    """If a file is only checked, its first events are enough."""
    rates = [(f"{minute // 60:02}:{minute % 60:02}:00", str(minute / 1000)) for minute in range(1, 1200)]
    content = export(TABLES[0], basal(*rates))
    looked, whole = events_of(content, check_only=True), events_of(content)
    assert looked == whole[:1000] != whole
    with pytest.raises(FileUnreadable, match="Line "):
        events_of(content.replace(b"1.199", b"1,199"), check_only=True)


def test_rows_left_out_are_told() -> None:
    content = export(TABLES[0], iob(*((f"0{hour}:00:00", "x") for hour in range(7))))
    batch = next(read(io.BytesIO(content), ImportArguments(skip_bad=True)))
    assert batch.note.endswith("; 7 corrupt rows skipped (line 10, 11, 12, 13, 14 and 2 more)")


def test_truncated_file() -> None:
    """It is refused without --skip-bad."""
    content = export(TABLES[0], TABLES[2]) + b'"Basal","3","2021-04-01T08:00:00","0.8'
    with pytest.raises(FileUnreadable, match="is cut off, so the file is not complete"):
        events_of(content)
    rates = [event.body.span_s for event in events_of(content, skip_bad=True) if event.kind == "basal.delivered"]
    assert rates == [23400, 1800, 3600]  # 07:00 to 08:00 too; 0.8 may have been 0.85


def test_a_row_of_another_table_is_refused() -> None:
    with pytest.raises(FileUnreadable, match="the row is not a row of the IOB table"):
        events_of(export(TABLES[0], iob(("00:00:19", "1"))) + b'"Bolus","81","2021-04-01T00:05:19","1"\r\n')


def test_blank_line_behind_header() -> None:
    """The rows behind it are refused."""
    first, second = boluses(STANDARD), boluses(EXTENDED).split("\r\n", 1)[1]
    with pytest.raises(FileUnreadable, match="has no header"):
        events_of(export(first, second), pump=PUMP, skip_bad=True)


def test_a_table_without_a_column_that_it_needs_is_refused() -> None:
    columns = [column for column in BOLUS_COLUMNS if column != "InsulinDelivered"]
    with pytest.raises(FileUnreadable, match='Bolus table has no column "InsulinDelivered"'):
        events_of(export(boluses(STANDARD, columns=columns)), pump=PUMP)


def test_a_column_that_is_there_twice_is_refused() -> None:
    with pytest.raises(FileUnreadable, match='"IOB" is there twice'):
        events_of(export(table(("Type", "IOB", "EventDateTime", "IOB"), ("IOB", "1", "2021-04-01T00:00:00", "2"))))


def test_a_table_that_nobody_knows_is_refused() -> None:
    with pytest.raises(FileUnreadable, match='table of "Ketones" rows'):
        events_of(export(table(("Type", "EventDateTime"), ("Ketones", "2021-04-01T00:00:00"))))


@pytest.mark.parametrize("content", [b"", export(), export(boluses())])
def test_a_file_without_rows_is_refused(content: bytes) -> None:
    with pytest.raises(FileUnreadable, match="has no row"):
        events_of(content)


def test_another_encoding_is_refused() -> None:
    with pytest.raises(FileUnreadable, match="not UTF-8"):
        events_of("\r\n".join(TABLES).encode("utf-16"))


def test_no_error_shows_what_a_note_says() -> None:
    content = export(boluses({**STANDARD, "Note": "private", "InsulinDelivered": "secret"}))
    with pytest.raises(FileUnreadable) as caught:
        events_of(content)
    assert "secret" not in str(caught.value)
    assert "private" not in str(caught.value)


def test_what_is_kept_of_each_row_is_read_again_as_the_same() -> None:
    """A newer decoder reads the log again and not the file."""
    for event in events_of(export(*TABLES)):
        assert event.raw is not None
        assert decode(event.raw) == (event.kind, event.body)
