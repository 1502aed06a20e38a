"""The InfluxDB sink keeps the contracts for plugins: against a real InfluxDB 1, and against a simulated InfluxDB 2."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tconnectsync import NoState, Secret, Sink
from tconnectsync.testing import FoldContract, SinkContract, plugin_context
from tconnectsync_influxdb.options import InfluxOptions
from tconnectsync_influxdb.sink import folds, open_sink
from tests.influxdb.simulated_v2 import BUCKET, ORG, TOKEN, influxdb_2
from tests.support.influx_server import ADMIN, Influx

_NUMBERS = itertools.count()


class TestInfluxFolds(FoldContract):
    """Those with a state, and one without: the others are made in the same way."""

    max_examples = 8
    folds = tuple(fold for fold in folds() if fold.state_type is not NoState or fold.name == "alarms")


class TestInflux1(SinkContract):
    @pytest.fixture(autouse=True)
    def server(self, influx: Influx) -> None:
        """A real server."""
        self.influx = influx

    @contextmanager
    def open_sink(self, folder: Path) -> Iterator[Sink]:
        database = f"contract {next(_NUMBERS)} {folder.name}"
        self.influx.ask(f'CREATE DATABASE "{database}"')
        user, password = ADMIN
        options = InfluxOptions(url=self.influx.url, database=database, username=user, password=Secret(password))
        yield open_sink(options, plugin_context(folder))


class TestInflux2(SinkContract):
    @contextmanager
    def open_sink(self, folder: Path) -> Iterator[Sink]:
        with influxdb_2() as server:
            options = InfluxOptions(url=server.url, org=ORG, bucket=BUCKET, token=Secret(TOKEN))
            yield open_sink(options, plugin_context(folder))
