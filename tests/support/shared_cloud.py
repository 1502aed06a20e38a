"""A simulated Tandem cloud with many accounts, each with a pump, whose uploads arrive when a test says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from tconnectsync_simulator.cloud.accounts import SimulatedAccount
from tconnectsync_simulator.cloud.service import HasNow
from tconnectsync_simulator.cloud.upload_cache import UploadCache
from tconnectsync_simulator.pump.pump import SimulatedPump
from tests.support.faulty_cloud import FaultyTandemCloud


class SharedTandemCloud(FaultyTandemCloud):
    """``arrived``: until when the uploads of an account have arrived. The time of every response is the clock's."""

    def __init__(self, pumps: Mapping[SimulatedAccount, SimulatedPump], clock: HasNow, *, arrived: datetime) -> None:
        self.arrived = dict.fromkeys(pumps, arrived)
        self._serials = {account: pump.plan.serial for account, pump in pumps.items()}
        super().__init__(list(pumps.values()), clock, accounts=list(pumps))

    def _now_s(self, account: SimulatedAccount) -> float:
        return self.arrived[account].timestamp()

    def _caches_of(self, account: SimulatedAccount) -> Sequence[UploadCache]:
        return [cache for cache in self.caches if cache.pump.plan.serial == self._serials[account]]
