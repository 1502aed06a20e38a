"""Documents that failed alone: their own fault, or the receiver's? It is theirs if others pass in between, again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from tconnectsync.text.plural import counted

STRIKES = 5
"""So often a document fails alone, with others taken in between, before it is set aside."""
WAIT_S, LONGEST_WAIT_S = 60.0, 1800.0
KNOWN = 50
"""So many are remembered; while a receiver is in trouble, each new document becomes one."""


@attrs.frozen(kw_only=True)
class Suspect:
    """``strikes``: failures with something else taken since the one before. ``others_passed``: something was taken since the last."""

    strikes: int = 0
    tries: int = 0
    others_passed: bool = False
    reason: str = ""

    @property
    def alone(self) -> bool:
        """Whether it is sent in a batch of its own, after everything else."""
        return self.strikes > 0 or not self.others_passed

    @property
    def guilty(self) -> bool:
        """Whether it is set aside."""
        return self.strikes >= STRIKES

    @property
    def wait_s(self) -> float:
        """Seconds until it is tried again."""
        return min(WAIT_S * 2.0 ** min(self.tries, 10), LONGEST_WAIT_S)

    def after_failure(self, reason: str) -> Suspect:
        """It failed alone."""
        return Suspect(strikes=self.strikes + self.others_passed, tries=self.tries + 1, reason=reason)


@attrs.define
class Suspects:
    """Those of one sink, by identity."""

    known: dict[str, Suspect] = attrs.field(factory=dict)

    def alone(self) -> set[str]:
        """Those that share no batch."""
        return {id_ for id_, suspect in self.known.items() if suspect.alone}

    def undecided(self) -> int:
        """How many failed since something was taken."""
        return sum(not suspect.others_passed for suspect in self.known.values())

    def failed(self, id_: str, reason: str) -> Suspect:
        """This one failed alone."""
        suspect = self.known.pop(id_, Suspect()).after_failure(reason)
        self.known[id_] = suspect
        while len(self.known) > KNOWN:
            del self.known[next(iter(self.known))]
        return suspect

    def forget(self, ids: Iterable[str]) -> None:
        """These were taken, or set aside."""
        for id_ in ids:
            self.known.pop(id_, None)

    def others_passed(self) -> None:
        """Something else was taken."""
        self.known = {id_: attrs.evolve(suspect, others_passed=True) for id_, suspect in self.known.items()}

    def why(self, waiting: Callable[[str], bool]) -> str:
        """The newest reason of those ``waiting`` that failed while others passed, in words; "" if there are none."""
        failing = [
            suspect
            for id_, suspect in self.known.items()
            if (suspect.strikes or suspect.others_passed) and waiting(id_)
        ]
        if not failing:
            return ""
        words = counted(len(failing), "document fails", "documents fail")
        return (
            f"{words} while others pass, and {'is' if len(failing) == 1 else 'are'} tried again: {failing[-1].reason}"
        )
