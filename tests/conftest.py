"""Shared by all tests: real servers on request, and no connection to another machine."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from tconnectsync.runtime.memory_limit import collect_cycles_less_often
from tests.support.engine.fixtures import harness
from tests.support.influx_server import influx
from tests.support.loopback_only import only_loopback
from tests.support.memory_folder import memory_folder, use_memory
from tests.support.mqtt_broker import broker
from tests.support.real_servers import ServersMissing, Site, cache_folder, find_programs, in_ci, running_nightscout
from tests.support.schedule import longest_first

__all__ = ["broker", "harness", "influx", "only_loopback", "real_nightscout", "site"]

settings.register_profile("dev", max_examples=20, deadline=None)
settings.register_profile("ci", max_examples=80, deadline=None, print_blob=True)
settings.register_profile("deterministic", parent=settings.get_profile("ci"), derandomize=True, database=None)
settings.register_profile(
    "first failure", parent=settings.get_profile("deterministic"), phases=(Phase.explicit, Phase.generate)
)
use_memory(os.environ)
collect_cycles_less_often()  # as a daemon does
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if in_ci(os.environ) else "dev"))


@pytest.fixture(scope="session")
def real_nightscout() -> Iterator[Site]:
    """One real Nightscout over a real MongoDB for the whole run. Tests take ``site``, which empties it first."""
    try:
        programs = find_programs(cache_folder(os.environ))
    except ServersMissing as error:
        if in_ci(os.environ):
            pytest.fail(f"in CI the real servers must run: {error}", pytrace=False)
        pytest.skip(f"no real Nightscout: {error}")
    with (
        tempfile.TemporaryDirectory(prefix="nightscout-", dir=memory_folder()) as folder,
        running_nightscout(programs, Path(folder)) as running,
    ):
        yield running


@pytest.fixture
def site(real_nightscout: Site) -> Site:
    """A real Nightscout that holds nothing."""
    real_nightscout.drop_all()
    return real_nightscout


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Mark and order the tests.

    A test that takes the real servers gets the mark ``real``, so that ``-m "not real"`` leaves it out. Several workers
    run the longest tests first.
    """
    for item in items:
        if {"broker", "browser", "influx", "nats_server", "real_nightscout"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.real)
    yield
    workers = getattr(config, "workerinput", {}).get("workercount", 0)
    if workers:
        items[:] = [items[at] for at in longest_first([item.nodeid for item in items], workers)]


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Thousands of tests and their modules live until the end: the garbage collector need not search them."""
    gc.collect()
    gc.freeze()
