"""Rows of an export with missing or extra cells: no dose is lost or invented, and every problem is reported."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tconnectsync import Event, FileUnreadable, events
from tconnectsync_tconnect.importer import read
from tconnectsync_tconnect.rows.csv_text import split, text_rows
from tconnectsync_tconnect.rows.decoder import decode
from tconnectsync_tconnect.rows.serial_numbers import can_be, is_rounded, plain_serial
from tests.tconnect.sample_exports import (
    BASAL_COLUMNS,
    BOLUS_COLUMNS,
    DEVICE_COLUMNS,
    EXTENDED,
    PREAMBLE,
    PUMP,
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

SAMPLES = Path(__file__).parent / "samples"
READINGS = device(("00:01:39", "174"))


def note_of(content: bytes, **asked: bool) -> str:
    return next(read(io.BytesIO(content), ImportArguments(**asked))).note


def doses(found: Sequence[Event]) -> list[tuple[str, float]]:
    return [(str(event.pump_time), event.body.delivered_u) for event in found if event.kind == "bolus.completed"]


def rates(found: Sequence[Event]) -> list[tuple[float, int]]:
    kept = [event for event in found if event.kind == "basal.delivered"]
    return [(event.body.rate_u_per_h, event.body.span_s) for event in sorted(kept, key=lambda each: each.pump_time)]


def lines_of(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def bolus_line(*more: str, before: int = 0, **changes: str) -> str:
    """A row as the website wrote it, with cells put in ``before`` columns from its end and a comma behind."""
    cells = [{**STANDARD, "NoteID": "0", "IndexID": "118", **changes}.get(column, "") for column in BOLUS_COLUMNS]
    at = len(cells) - before
    return ",".join(f'"{cell}"' for cell in [*cells[:at], *more, *cells[at:]]) + ",\r\n"


@pytest.mark.parametrize(
    ("name", "expected", "words"),
    [
        ("note-with-commas.csv", [("2021-06-03 07:31:20", 4.25), ("2021-06-03 12:04:51", 2.1)], "2 Bolus rows read in part"),
        ("older-layout.csv", [("2016-02-09 18:22:10", 6.0)], "1 Bolus row read in part"),
        ("quotes-in-name.csv", [("2021-06-03 07:31:20", 4.25)], "3 rows of a t:connect export"),
        ("without-values.csv", [("2021-06-03 12:04:51", 2.1)], "1 Bolus row without the delivered amount"),
    ],
)  # fmt: skip
def test_samples_of_real_shapes_give_every_dose(name: str, expected: list[tuple[str, float]], words: str) -> None:
    content = (SAMPLES / name).read_bytes()
    found = events_of(content)
    assert doses(found) == expected
    assert words in note_of(content)
    assert {event.pump for event in found} == {"80055667"}
    assert "Made Up" not in repr(found)
    for event in found:
        assert event.raw is not None
        kind, body = decode(event.raw)
        assert (kind, body) == (event.kind, event.body)


@pytest.mark.parametrize(
    ("line", "note"),
    [
        (bolus_line(Note="pizza"), "pizza"),
        (bolus_line("0", before=5, Note="pizza, half now"), "pizza, half now"),
        (bolus_line("0", before=5, Note=""), None),
        (bolus_line(" half now", Note="pizza"), "pizza, half now"),
        (bolus_line(" half", " now", Note="pizza"), "pizza, half, now"),
        (bolus_line(Note='5" pizza "large"'), '5" pizza "large"'),
    ],
)
def test_a_note_in_the_way_costs_no_dose(line: str, note: str | None) -> None:
    found = events_of(export(READINGS, boluses() + line + bolus_line(BolusRequestID="7008")))
    first, second = [event for event in found if event.kind == "bolus.completed"]
    assert (first.body.delivered_u, first.body.carbs_g, first.body.notes) == (13.53, 75.0, note)
    assert second.body.delivered_u == 13.53


def test_the_rest_of_the_line_is_kept_verbatim() -> None:
    event = ended(events_of(export(READINGS, boluses() + bolus_line("0", before=5, Note="a, b"))))
    assert event.raw is not None
    assert event.raw["rest"] == ["0", "", "", "0", "118", "a, b", ""]
    assert event.raw["row"]["InsulinDelivered"] == "13.53"


def test_a_comma_at_the_end_of_each_row_is_nothing_to_tell() -> None:
    assert "in part" not in note_of(export(READINGS, boluses() + bolus_line(Note="pizza")))


@given(st.integers(1, len(BOLUS_COLUMNS) - 6), st.sampled_from(["0", "2.5", "", "x", "2021-04-01T12:00:00"]))
def test_extra_or_missing_cell(at: int, cell: str) -> None:
    """Wherever the cell is: the dose is right, unknown, or the file is refused."""
    whole = [{**EXTENDED, "NoteID": "0", "IndexID": "118"}.get(column, "") for column in BOLUS_COLUMNS]
    for cells in ([*whole[:at], cell, *whole[at:]], [*whole[:at], *whole[at + 1 :]]):
        text = boluses() + ",".join(f'"{each}"' for each in cells) + "\r\n"
        for skip_bad in (False, True):
            try:
                found = events_of(export(READINGS, text), skip_bad=skip_bad)
            except FileUnreadable:
                assert not skip_bad
                continue
            told = {event.kind: event.body for event in found}
            if (one := told.get("bolus.completed")) is not None:
                assert (one.delivered_u, one.bolus_id, one.carbs_g or 0.0) == (0.2, 7010, 0.0)
            if (one := told.get("bolus.extended_completed")) is not None:
                assert (one.delivered_u, one.bolus_id) == (0.2, 7010)
            times = {str(event.pump_time) for event in found if event.kind == "bolus.completed"}
            assert times <= {"2021-04-01 15:00:00"}


@pytest.mark.parametrize("cells", [("0", "8"), ("0", "8", "")])
def test_a_decimal_comma_is_no_rate_and_a_second_cell(cells: tuple[str, ...]) -> None:
    text = table(BASAL_COLUMNS) + f"Basal,3,2021-04-01T01:00:00,{','.join(cells)}\r\n"
    with pytest.raises(FileUnreadable, match="more cells"):
        events_of(export(READINGS, text))
    assert rates(events_of(export(READINGS, text, basal(("02:00:00", "1"))), skip_bad=True)) == []


def test_unreadable_value_beside_the_dose() -> None:
    """The value is unknown, and the output says so."""
    content = export(READINGS, boluses({**STANDARD, "CarbSize": "lots"}))
    event = ended(events_of(content))
    assert (event.body.delivered_u, event.body.carbs_g) == (13.53, None)
    assert event.raw is not None
    assert event.raw["unread"] == {"CarbSize": "lots"}
    assert "1 Bolus row read in part" in note_of(content)


def test_dose_of_unknown_size() -> None:
    """It is unknown, never zero."""
    content = export(READINGS, boluses({**STANDARD, "InsulinDelivered": ""}))
    found = events_of(content)
    assert {event.kind for event in found} == {"glucose.reading", "bolus.requested"}
    assert "1 Bolus row without the delivered amount" in note_of(content)


@pytest.mark.parametrize("changes", [{"BolexInsulinDelivered": ""}, {"BolexCompletionDateTime": ""}])
def test_of_an_extended_bolus_the_part_that_is_told_counts(changes: dict[str, str]) -> None:
    content = export(READINGS, boluses({**EXTENDED, **changes}))
    kinds = {event.kind for event in events_of(content)}
    assert kinds == {"glucose.reading", "bolus.requested", "bolus.completed", "bolus.extended_started"}
    assert "without the delivered amount" in note_of(content)


def test_immediate_part_without_amount() -> None:
    """The extended part still counts."""
    found = events_of(export(READINGS, boluses({**EXTENDED, "InsulinDelivered": ""})))
    assert [event.body.delivered_u for event in found if "completed" in event.kind] == [0.2]


@pytest.mark.parametrize("column", ["BolexInsulinDelivered", "BolexCompletionDateTime"])
def test_a_damaged_extended_part_costs_no_immediate_one(column: str) -> None:
    content = export(READINGS, boluses({**EXTENDED, column: "0,2"}))
    with pytest.raises(FileUnreadable, match=column):
        events_of(content)
    assert doses(events_of(content, skip_bad=True)) == [("2021-04-01 15:00:00", 0.2)]


@pytest.mark.parametrize("first", ["Baal", "Bolus", ""])
def test_a_row_of_no_table_among_basal_rows_is_a_hole_too(first: str) -> None:
    text = basal(("00:00:00", "1"), ("01:00:00", "2"), ("02:00:00", "3"), ("03:00:00", "4"))
    text = text.replace('"Basal","3","2021-04-01T01', f'"{first}","3","2021-04-01T01')
    assert rates(events_of(export(READINGS, text), skip_bad=True)) == [(1.0, 3600), (3.0, 3600)]


@pytest.mark.parametrize("bad", ["x", ""])
def test_rows_beside_bad_basal_row(bad: str) -> None:
    """They keep their lengths."""
    hours = [("00:00:00", "1"), ("01:00:00", "2"), ("02:00:00", bad), ("03:00:00", "4"), ("04:00:00", "5")]
    for order in (hours, hours[::-1]):
        found = events_of(export(basal(*order)), pump=PUMP, skip_bad=bad == "x")
        assert rates(found) == [(1.0, 3600), (2.0, 3600), (4.0, 3600)]
        (aside,) = [event for event in found if event.kind == "unknown"]
        assert str(aside.pump_time) == "2021-04-01 02:00:00"


SECOND = {"BolusRequestID": "7008.000", "CompletionDateTime": "2021-04-01T18:00:00", "InsulinDelivered": "2.00"}


@pytest.mark.parametrize("note", ["", "a, b", "two\nlines", 'said "x"'])
@pytest.mark.parametrize("between", [",", ""])
def test_joined_bolus_rows(note: str, between: str) -> None:
    """Two rows in one line, because its end is missing: the second dose is not lost without a word."""
    first, second = ({**STANDARD, "NoteID": "0", "IndexID": "1", "Note": note, **more} for more in ({}, SECOND))
    header, *_ = boluses().splitlines(keepends=True)
    rows = [boluses(row)[len(header) :].rstrip("\r\n") for row in (first, second)]
    content = export(READINGS, header + between.join(rows) + "\r\n")
    with pytest.raises(FileUnreadable, match="followed by another row"):
        events_of(content)
    assert doses(events_of(content, skip_bad=True)) == [("2021-04-01 12:58:26", 13.53)]
    assert "1 Bolus row read in part" in note_of(content, skip_bad=True)


@pytest.mark.parametrize("between", [",", ""])
def test_joined_basal_rows(between: str) -> None:
    """The end of a rate whose next row is in the same line is unknown."""
    lines = basal(("00:00:00", "0.8"), ("04:00:00", "0.9"), ("06:00:00", "1.0"), ("08:00:00", "1.1")).splitlines()
    content = export(READINGS, "\r\n".join([*lines[:2], lines[2] + between + lines[3], lines[4], ""]))
    with pytest.raises(FileUnreadable, match="Line 10"):
        events_of(content)
    assert rates(events_of(content, skip_bad=True)) == [(0.8, 14_400)]


def april(*times: str, value: str = "0.8") -> list[tuple[str, str, str, str]]:
    return [("Basal", "3", f"2021-04-{time}", value) for time in times]


@pytest.mark.parametrize(
    ("signs", "hours"),
    [
        ((), []),
        (("02T12:00:00",), [12]),
        (("02T12:00:00", "03T12:00:01"), [12]),
        (("03T12:00:00", "02T12:00:00", "04T09:00:00", "05T08:00:00"), [96]),
        (("02T00:01:00", "03T00:00:00", "04T00:00:00", "05T00:00:00", "06T06:00:00"), [96]),
        (("02T12:00:00", "03T12:00:00", "05T23:00:00"), [36]),
        (("01T12:00:00", "02T12:00:00", "05T23:00:00", "07T08:00:00"), [12]),
    ],
    ids=lambda value: None if value == [] else str(len(value)),
)
def test_rate_ends_before_a_silence(signs: Sequence[str], hours: list[int]) -> None:
    """A rate lasts no longer than the last row of any table before a day of silence: the pump was not worn."""
    readings = [("t:slim X2 Insulin Pump", PUMP, "EGV", f"2021-04-{at}", "118", "") for at in signs]
    content = export(table(BASAL_COLUMNS, *april("02T00:00:00", "06T00:00:00")), table(DEVICE_COLUMNS, *readings))
    found = [event for event in events_of(content, pump=PUMP) if event.kind == "basal.delivered"]
    assert [event.body.span_s / 3600 for event in found] == hours
    assert [decode(event.raw) for event in found] == [(event.kind, event.body) for event in found]


def test_another_device_is_no_sign_of_life() -> None:
    meter = [("Meter", "5", "BG", f"2021-04-{day:02}T00:00:00", "118", "") for day in range(2, 7)]
    content = export(table(BASAL_COLUMNS, *april("02T00:00:00", "06T00:00:00")), table(DEVICE_COLUMNS, *meter))
    assert [event for event in events_of(content, pump=PUMP) if event.kind == "basal.delivered"] == []


def test_a_basal_row_without_a_rate_is_a_hole_and_told() -> None:
    content = export(READINGS, basal(("00:00:00", "1"), ("01:00:00", ""), ("02:00:00", "2"), ("03:00:00", "2")))
    assert rates(events_of(content)) == [(1.0, 3600), (2.0, 3600)]
    assert "1 Basal row without a rate" in note_of(content)
    assert "(line 10)" in note_of(content)


def test_a_basal_row_that_is_cut_short_is_a_hole() -> None:
    text = (
        basal(("00:00:00", "1")) + '"Basal","3","2021-04-01T01:00:00"\r\n' + '"Basal","3","2021-04-01T02:00:00","2"\r\n'
    )
    assert rates(events_of(export(READINGS, text))) == [(1.0, 3600)]


def test_basal_row_without_time() -> None:
    """Only the row before it has an unknown length."""
    hours = [("00:00:00", "1"), ("01:00:00", "2"), ("", "3"), ("03:00:00", "4"), ("04:00:00", "5")]
    text = basal(*hours).replace("2021-04-01T,", ",").replace('"2021-04-01T"', '""')
    for order in (lines_of(text), [lines_of(text)[0], *lines_of(text)[:0:-1]]):
        found = events_of(export(READINGS, "".join(order)))
        assert rates(found) == [(1.0, 3600), (4.0, 3600)]


@pytest.mark.parametrize("bad", [iob(("00:00:19", "")), device(("00:05:00", ""))])
def test_row_without_value(bad: str) -> None:
    """It is no number, and all other rows are read."""
    content = export(READINGS, bad, boluses(STANDARD))
    found = events_of(content)
    assert doses(found) == [("2021-04-01 12:58:26", 13.53)]
    assert [event.kind for event in found if event.kind in ("day.summary", "glucose.reading")] == ["glucose.reading"]
    assert "without a value" in note_of(content)


# --- quotes and lines ----------------------------------------------------------------------------------------------


def names_with(name: str) -> bytes:
    return (PREAMBLE.replace('"Jane Q. Sample"', name) + READINGS + "\r\n" + boluses(STANDARD, EXTENDED)).encode()


@pytest.mark.parametrize("name", ['"Jo" Sample', 'Jo "the" Sample', '"Jo Sample', 'Jo" Sample', '"""', '"Jo, "Q", S"'])
def test_a_name_with_quotes_costs_nothing(name: str) -> None:
    assert [event.id for event in events_of(names_with(name))] == [event.id for event in events_of(names_with("Jo"))]


@pytest.mark.parametrize("note", ['"pizza "big"', '"pizza', 'big "pizza"', '"a\r\n\r\nb"'])
def test_a_stray_quote_costs_no_other_row(note: str) -> None:
    line = bolus_line(BolusRequestID="7009").replace('"",\r\n', f"{note},\r\n")
    assert note in line
    found = events_of(export(READINGS, boluses() + line + bolus_line(BolusRequestID="7008"), iob(("00:00:19", "1"))))
    assert [event.body.bolus_id for event in found if event.kind == "bolus.completed"] == [7009, 7008]
    assert "day.summary" in {event.kind for event in found}


def test_a_quote_that_is_never_closed_swallows_no_row() -> None:
    rows = text_rows(lines_of('a,"b\nBolus,1,2,3\nBolus,4,5,"6"\n'))
    assert [(row.line, row.cells, row.proper) for row in rows] == [
        (1, ["a", "b"], False),
        (2, ["Bolus", "1", "2", "3"], True),
        (3, ["Bolus", "4", "5", "6"], True),
    ]


@given(st.lists(st.text(alphabet='ab ,"', max_size=5), min_size=1, max_size=4))
def test_any_text_is_split_and_nothing_of_it_is_lost(parts: list[str]) -> None:
    cells, _ = split(",".join(parts))
    assert [letter for letter in "".join(cells) if letter in "ab"] == [x for x in "".join(parts) if x in "ab"]


# --- whose file it is ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "serial"),
    [
        ("9.0001234E7", "90001234"),
        ("9.0001234e+07", "90001234"),
        ("90001234.0", "90001234"),
        ("090001234", "090001234"),
    ],
)
def test_serial_number_from_spreadsheet(said: str, serial: str) -> None:
    """A serial number that a spreadsheet program rewrote is repaired."""
    assert (plain_serial(said), is_rounded(said)) == (serial, False)
    assert {event.pump for event in events_of(export(device(("00:01:39", "174"), serial=said)))} == {serial}
    assert {event.pump for event in events_of(export(READINGS, boluses(STANDARD)), pump="9.0556643E7")} == {PUMP}


@pytest.mark.parametrize("said", ["9.00012E7", "9E7", "9.00012345E7", "90001234.5"])
def test_a_rounded_serial_number_is_refused_and_no_new_pump(said: str) -> None:
    content = export(device(("00:01:39", "174"), serial=said))
    for skip_bad in (False, True):
        with pytest.raises(FileUnreadable) as caught:
            events_of(content, skip_bad=skip_bad)
        assert "--pump SERIAL" in str(caught.value.remedy)
    with pytest.raises(FileUnreadable, match="rounded number"):
        events_of(export(boluses(STANDARD)), pump=said)


def test_rounded_serial_number() -> None:
    """It is that of the named pump if it fits."""
    content = export(device(("00:01:39", "174"), serial="9.00012E7"))
    assert {event.pump for event in events_of(content, pump="90001234")} == {"90001234"}
    with pytest.raises(FileUnreadable, match="cannot be"):
        events_of(content, pump="90009999")
    assert not can_be("9.00012E7", "AB1234")


def test_a_table_that_says_only_whose_pump_it_is_is_read() -> None:
    content = f'DeviceType,SerialNumber\r\n"t:slim Insulin Pump","777"\r\n{PREAMBLE}\r\n{boluses(STANDARD)}'
    assert {event.pump for event in events_of(content.encode())} == {"777"}
    assert "Sample" not in repr(events_of(content.encode()))


def test_device_table_without_blank_line() -> None:
    """It is read."""
    content = READINGS + PREAMBLE.replace('"Patient name"', "Patient Name") + "\r\n" + boluses(STANDARD)
    found = events_of(content.encode())
    assert doses(found) == [("2021-04-01 12:58:26", 13.53)]
    assert "Sample" not in repr(found)
    assert found[-1].body == events.BolusCompleted(
        bolus_id=7007, status="completed", delivered_u=13.53, requested_u=13.53, carbs_g=75.0, glucose_mg_dl=141.0
    )
