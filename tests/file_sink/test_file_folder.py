"""The folder as a receiver, and the whole way from the pump."""

from __future__ import annotations

import csv
import errno
import json
import os
from datetime import datetime, timezone
from pathlib import Path

import pytest

from tconnectsync import Delivery, Document, Retryable
from tconnectsync_file.options import USUAL
from tconnectsync_file.rows import LEADING, fields_of
from tconnectsync_file.sink import Folder

NOVEMBER = datetime(2026, 11, 3, 8, tzinfo=timezone.utc)
DECEMBER = datetime(2026, 12, 1, 0, 30, tzinfo=timezone.utc)


def folder(path: Path, file_format: str = "jsonl") -> Folder:
    return Folder(path / "files", file_format, fields=fields_of(USUAL))


def put(
    name: str, at: datetime = NOVEMBER, stored: str | None = None, in_doubt: bool = False, **body: object
) -> Delivery:
    content = {"pump_time": "2026-11-03T09:00:00", "pump": "1", "kind": "bolus.completed", **body}
    document = Document(id=name, collection="events", at=at, content=content)
    return Delivery(document_id=name, collection="events", document=document, receiver_key=stored, in_doubt=in_doubt)


def held(path: Path) -> dict[str, list[str]]:
    return {
        file.name: [json.loads(line)["id"] for line in file.read_text().splitlines()]
        for file in sorted((path / "files").iterdir())
    }


def test_same_document_twice(tmp_path: Path) -> None:
    """It is there once, and only the owner can read it."""
    batch = [put("b"), put("a", delivered_u=1.5)]
    folder(tmp_path).deliver(batch)
    path = tmp_path / "files" / "tconnectsync-2026-11.jsonl"
    before = path.read_bytes()
    folder(tmp_path).deliver(batch)
    assert path.read_bytes() == before
    assert held(tmp_path) == {path.name: ["a", "b"]}
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("known", [True, False], ids=["known", "in_doubt"])
def test_a_correction_moves_a_line_to_its_month(tmp_path: Path, known: bool) -> None:
    folder(tmp_path).deliver([put("a"), put("b")])
    folder(tmp_path).deliver([put("a", DECEMBER, stored="2026-11" if known else None, in_doubt=not known)])
    assert held(tmp_path) == {"tconnectsync-2026-11.jsonl": ["b"], "tconnectsync-2026-12.jsonl": ["a"]}


def test_what_is_taken_back_goes(tmp_path: Path) -> None:
    folder(tmp_path).deliver([put("a"), put("b")])
    folder(tmp_path).deliver([Delivery(document_id="a", collection="events", document=None, receiver_key="2026-11")])
    assert held(tmp_path) == {"tconnectsync-2026-11.jsonl": ["b"]}


def test_failure_before_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old file stays complete."""
    folder(tmp_path).deliver([put("a")])
    path = tmp_path / "files" / "tconnectsync-2026-11.jsonl"
    before = path.read_bytes()

    def full(_file: int) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(Retryable, match="No space left"):
            folder(tmp_path).deliver([put("b")])
    assert path.read_bytes() == before
    folder(tmp_path).deliver([put("b", in_doubt=True)])
    assert held(tmp_path) == {path.name: ["a", "b"]}


@pytest.mark.parametrize(
    ("number", "way_out"), [(errno.ENOSPC, "Free"), (errno.EACCES, "permission"), (errno.EIO, "dmesg")]
)
def test_each_failure_has_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, way_out: str
) -> None:
    def fail(_file: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(Retryable, match="cannot be written") as told:
        folder(tmp_path).deliver([put("a")])
    assert [word for word in ("Free", "permission", "dmesg") if word in (told.value.remedy or "")] == [way_out]


def test_csv_columns_and_formulas(tmp_path: Path) -> None:
    """Columns do not depend on data, and no text becomes a formula."""
    for _ in range(2):
        folder(tmp_path, "csv").deliver([put("a", notes="=1+1", delivered_u=-2.0), put("b")])
    with (tmp_path / "files" / "tconnectsync-2026-11.csv").open(newline="") as file:
        header, first, _second = csv.reader(file)
    assert tuple(header) == (*LEADING, *fields_of(USUAL))
    row = dict(zip(header, first, strict=True))
    assert (row["notes"], row["delivered_u"]) == ("'=1+1", "-2.0")


@pytest.mark.parametrize("gone", ["unmounted", "deleted"])
def test_a_file_that_is_gone_is_not_begun_anew(tmp_path: Path, gone: str) -> None:
    """Its rows would be missing for good: all waits until the disk is back, also in a new month and after a restart."""
    first, later = folder(tmp_path), folder(tmp_path)
    first.deliver([put("a")])
    later.recall(first.memory())
    files, away = tmp_path / "files", tmp_path / "away"
    files.rename(away)
    if gone == "deleted":
        files.mkdir()
    for row in (put("b"), put("b", DECEMBER)):
        for each in (first, later):
            with pytest.raises(Retryable, match=r"2026-11\.jsonl is gone") as told:
                each.deliver([row])
            assert "mount it" in str(told.value.remedy)
            assert not told.value.in_doubt
    assert not files.exists() or not list(files.iterdir())
    if gone == "deleted":
        files.rmdir()
    away.rename(files)
    later.deliver([put("b")])
    assert held(tmp_path) == {"tconnectsync-2026-11.jsonl": ["a", "b"]}


def test_a_replay_writes_a_deleted_file_again(tmp_path: Path) -> None:
    """Every row comes again, so nothing is missing; afterwards the file is expected as before."""
    receiver, path = folder(tmp_path), tmp_path / "files" / "tconnectsync-2026-11.jsonl"
    receiver.deliver([put("a")])
    path.unlink()
    receiver.begin_replay()
    assert receiver.memory() == ""
    receiver.deliver([put("a", stored="2026-11")])
    assert held(tmp_path) == {path.name: ["a"]}
    path.unlink()
    with pytest.raises(Retryable, match="is gone"):
        receiver.deliver([put("b")])


@pytest.mark.parametrize("file_format", ["jsonl", "csv"])
def test_a_damaged_file_is_named_with_its_line_and_stays(tmp_path: Path, file_format: str) -> None:
    folder(tmp_path, file_format).deliver([put("a")])
    path = tmp_path / "files" / f"tconnectsync-2026-11.{file_format}"
    path.write_text(path.read_text() + "my own words\n")
    before, line = path.read_bytes(), len(path.read_text().splitlines())
    with pytest.raises(Retryable, match=rf"2026-11\.{file_format} .* line {line} "):
        folder(tmp_path, file_format).deliver([put("b")])
    assert path.read_bytes() == before
