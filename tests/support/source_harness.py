"""One simulated pump behind each of the clouds that a source asks, and the real event log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import attrs

from tconnectsync import Context, Secret, Source
from tconnectsync.eventlog import EventLog
from tconnectsync.testing import ManualClock, plugin_context
from tconnectsync.testing import source_contract as contract
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import SimulatedPump, simulate
from tconnectsync_simulator.pump.truth import utc
from tconnectsync_tandem.options import TandemEndpointOptions as TandemEndpoints
from tconnectsync_tandem.options import TandemOptions
from tconnectsync_tandem.source import open_source as open_tandem
from tconnectsync_tconnect.options import TconnectEndpointOptions as OlderEndpoints
from tconnectsync_tconnect.options import TconnectOptions
from tconnectsync_tconnect.source import open_source as open_older
from tests.support.faulty_cloud import FaultyService, FaultyTandemCloud
from tests.support.in_process_check import check_in_process
from tests.support.simulated_tconnect.cloud import TconnectCloud

ZONE = "America/New_York"
HISTORY_DAYS = 2
FIRST_DAY = date(2021, 4, 5)
"""The first day of the history."""
OWN = frozenset({"history.opened", "upload.seen", "window.fetched"})
"""Facts about the data itself, which a source writes each time."""


@cache
def pump() -> SimulatedPump:
    """Eight days, uploaded every hour."""
    return simulate(SimulationPlan(seed=61, zone=ZONE, start=date(2021, 4, 1), days=8, noise_codes=False))


@attrs.frozen(kw_only=True)
class SourceKind:
    """What differs between the sources: the cloud, how the source is opened, and what a test has to know of both."""

    name: str
    make_cloud: Callable[[ManualClock], FaultyService]
    open: Callable[[Any, Context, str, int], Source]
    """Cloud, context, password and days of history."""
    data: str
    """Part of the path of a request for data."""
    login: str
    """The kind of request that the first login is."""
    private: Callable[[Any], tuple[str, ...]]
    """Texts that must be in no output."""


def _tandem(cloud: FaultyTandemCloud, context: Context, password: str, history_days: int) -> Source:
    options = TandemOptions(
        email=cloud.accounts[0].email, password=Secret(password), region="US", history_days=history_days,
        endpoints=TandemEndpoints(**cloud.endpoints),
    )  # fmt: skip
    return open_tandem(options, context, start_check=check_in_process)


def _older(cloud: TconnectCloud, context: Context, password: str, history_days: int) -> Source:
    account = cloud.account
    options = TconnectOptions(
        email=account.email, password=Secret(password), pumps=(cloud.pump.plan.serial,), history_days=history_days,
        client_id=account.client_id, client_secret=Secret(account.client_secret),
        endpoints=OlderEndpoints(**cloud.endpoints),
    )  # fmt: skip
    return open_older(options, context)


KINDS = (
    SourceKind(
        name="tandem",
        make_cloud=lambda clock: FaultyTandemCloud([pump()], clock, token_life_s=8 * 3600),
        open=_tandem,
        data="pump-logs",
        login="login",
        private=lambda cloud: (cloud.accounts[0].email, cloud.accounts[0].password, cloud.accounts[0].pumper_id),
    ),
    SourceKind(
        name="tconnect",
        make_cloud=lambda clock: TconnectCloud(pump(), clock),
        open=_older,
        data="therapytimeline/users",
        login="phone_token",
        private=lambda cloud: (
            cloud.account.email, cloud.account.password, cloud.account.guid, cloud.account.client_secret
        ),
    ),
)  # fmt: skip


@attrs.define(kw_only=True)
class SimulatedSourceWorld(contract.SourceWorld):
    """A cloud, a clock and a log; each :meth:`source` is as a new process would open it."""

    kind: SourceKind
    cloud: Any
    folder: Path
    history_days: int
    open_source: Callable[[], Source] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.open_source = self.source

    def source(self, password: str | None = None) -> Source:
        account = getattr(self.cloud, "account", None) or self.cloud.accounts[0]
        folder = self.folder / "plugin"
        folder.mkdir(exist_ok=True)
        context = plugin_context(folder, clock=self.clock, zone=ZONE)
        used = account.password if password is None else password
        return self.kind.open(self.cloud, context, used, self.history_days)


@contextmanager
def source_world(kind: SourceKind, folder: Path, *, history_days: int = HISTORY_DAYS) -> Iterator[SimulatedSourceWorld]:
    """Six days into the pump's life, a minute after an upload."""
    morning = pump().truth.begin + timedelta(days=6, hours=9)
    uploaded_s = next(at_s for at_s in pump().upload_times_s if at_s > morning.timestamp())
    clock = ManualClock(utc(uploaded_s + 60))
    folder.mkdir(exist_ok=True)
    with kind.make_cloud(clock) as cloud, closing(EventLog.open(folder, clock=clock, writable=True)) as log:
        private = (*kind.private(cloud), "Simulated Wearer")
        yield SimulatedSourceWorld(
            clock=clock, log=log, private=private, kind=kind, cloud=cloud, folder=folder, history_days=history_days
        )
