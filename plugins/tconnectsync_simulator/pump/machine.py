"""What the parts of a simulated pump share: an agenda of future actions, the clock, the log and the ledger."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random

import attrs

from tconnectsync_simulator.pump.ledger import Ledger
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump_clock import SimulatedClock
from tconnectsync_simulator.pump.records import Properties, SimulatedRecord
from tconnectsync_simulator.pump.uploads import Uploads

Action = Callable[[], object]


@attrs.define(kw_only=True)
class Machine:
    """Runs actions in time order and numbers their records; one second may have any number of records."""

    plan: SimulationPlan
    assignment_id: str
    clock: SimulatedClock
    uploads: Uploads
    ledger: Ledger
    rng: Random
    now_s: int
    sequence: int
    worn: bool = True
    reservoir_mu: float = 160_000.0
    written: list[SimulatedRecord] = attrs.field(factory=list, repr=False)
    clock_changes: list[SimulatedRecord] = attrs.field(factory=list, repr=False)
    _agenda: list[tuple[int, int, Action]] = attrs.field(factory=list, repr=False)
    _count: int = 0

    def at(self, when_s: int, action: Action) -> None:
        """Schedule an action for a true time; a past one for now."""
        self._count += 1
        heapq.heappush(self._agenda, (max(when_s, self.now_s), self._count, action))

    def after(self, seconds: float, action: Action) -> None:
        """Schedule an action in ``seconds`` from now."""
        self.at(self.now_s + round(seconds), action)

    def run_until(self, end_s: int) -> None:
        """Run all actions before ``end_s``."""
        agenda = self._agenda
        while agenda and agenda[0][0] < end_s:
            self.now_s, _, action = heapq.heappop(agenda)
            action()
        self.now_s = max(self.now_s, end_s)

    def skip(self, numbers: int) -> None:
        """Use up sequence numbers, for records that no response contains."""
        self.sequence += numbers

    def write(self, code: int, properties: Properties) -> SimulatedRecord:
        """Log a record at the current time."""
        return self.write_reading(code, properties, self.clock.local_s(self.now_s))

    def write_reading(self, code: int, properties: Properties, local_s: int) -> SimulatedRecord:
        """Log a record with a given time on the pump's clock."""
        text = self.clock.text(local_s)
        self.sequence += 1
        record = SimulatedRecord(
            {
                "deviceAssignmentId": self.assignment_id,
                "eventCode": code,
                "sequenceGroup": self.plan.sequence_group,
                "sequenceNumber": self.sequence,
                "pumpDateTime": text,
                "eventProperties": properties,
                "estimatedDateTime": text + "Z",
            },
            self.now_s,
            self.uploads.carrying(self.now_s),
        )
        self.written.append(record)
        return record

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self.rng.random() < probability

    def local_minute(self) -> int:
        """The minute of the pump's day."""
        return self.clock.local_s(self.now_s) // 60 % 1440

    def set_clock(self, offset_s: int) -> None:
        """The wearer sets the clock: a 14 and a 13, in the log and in the list of clock changes."""
        readings = self.clock.set(self.now_s, offset_s, self.rng.randrange(1000), time_first=self.plan.sets_time_first)
        for code, local_s, properties in readings:
            self.clock_changes.append(self.write_reading(code, properties, local_s))
