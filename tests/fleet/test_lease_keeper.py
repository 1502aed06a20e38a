"""A worker's lease is renewed while its main loop is alive, and until everybody was given back; not for a loop that is stuck."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import attrs
import pytest

from tconnectsync_fleet.lease import WorkerLease
from tconnectsync_fleet.lease_keeper import STUCK_S, LeaseKeeper
from tests.e2e.installation import eventually


@attrs.define
class CountedLease:
    """A lease that counts its renewals."""

    life_s: float = 15.0
    owner: str = "w1.counted"
    renewals: int = 0
    next_renewal_s: float = 100_000.0

    def holds(self) -> bool:
        return True

    def renew(self, _: Mapping[str, Any]) -> bool:
        self.renewals += 1
        return True


@attrs.define
class KeptLease:
    """A lease, its keeper, and the time."""

    lease: CountedLease = attrs.field(factory=CountedLease)
    now: float = 1000.0

    def keeper(self) -> LeaseKeeper:
        return LeaseKeeper(lambda: cast(WorkerLease, self.lease), dict, lambda: self.now)

    def is_renewed(self, keeper: LeaseKeeper, after_s: float) -> bool:
        before, self.now = self.lease.renewals, self.now + after_s
        keeper.renew()
        return self.lease.renewals > before


@pytest.mark.parametrize(("life_s", "longest_s"), [(15.0, STUCK_S), (300.0, 600.0)])
def test_stuck_main_loop_loses_the_lease(life_s: float, longest_s: float, caplog: pytest.LogCaptureFixture) -> None:
    """Other workers take the people of a worker that only renews its lease. The log says it once."""
    kept = KeptLease(CountedLease(life_s))
    keeper = kept.keeper()
    keeper.loop_goes_on()
    assert kept.is_renewed(keeper, longest_s)
    assert not kept.is_renewed(keeper, 1.0)
    assert not kept.is_renewed(keeper, 1.0)
    assert [record.levelname for record in caplog.records if "worker_stuck" in record.getMessage()] == ["ERROR"]
    keeper.loop_goes_on()
    assert kept.is_renewed(keeper, 1.0)


def test_worker_that_gives_back_for_long_keeps_its_lease() -> None:
    """After its end the main loop shows no progress: thousands of people may have to be given back."""
    kept = KeptLease()
    keeper = kept.keeper()
    keeper.loop_goes_on()
    keeper.loop_ended()
    assert kept.is_renewed(keeper, 100_000.0)


def test_end_of_the_loop_is_published_at_once() -> None:
    """Others learn of it now, not at the next renewal."""
    kept = KeptLease(CountedLease(life_s=100_000.0))
    keeper = kept.keeper()
    keeper.start()
    keeper.loop_ended()
    eventually(lambda: kept.lease.renewals == 1, "the renewal")
    keeper.finish()
    assert kept.lease.renewals == 1
