"""The file sink keeps the contracts for plugins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tconnectsync import Sink
from tconnectsync.testing import FoldContract, SinkContract, plugin_context
from tconnectsync_file.options import USUAL, FileOptions
from tconnectsync_file.sink import event_fold, open_sink


class TestFileFolds(FoldContract):
    max_examples = 20
    folds = (event_fold(frozenset(USUAL)),)


class TestJsonl(SinkContract):
    file_format = "jsonl"

    @contextmanager
    def open_sink(self, folder: Path) -> Iterator[Sink]:
        yield open_sink(FileOptions(folder=folder / "files", format=self.file_format), plugin_context(folder))


class TestCsv(TestJsonl):
    file_format = "csv"
