"""Documents that fail alone. If others succeed in between, again and again, the document is the cause and not the receiver."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs
import msgspec

from tconnectsync.text.plural import counted

STRIKES = 5
"""A document is set aside after this number of failures with accepted documents in between."""
WAIT_S, LONGEST_WAIT_S = 60.0, 1800.0
KNOWN = 50
"""The maximum number that is remembered: while a receiver has a fault, every new document becomes a suspect."""


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """``strikes``: failures with accepted documents since the one before. ``others_passed``: others were accepted since the last."""

    strikes: int = 0
    tries: int = 0
    others_passed: bool = False
    reason: str = ""

    @property
    def is_isolated(self) -> bool:
        """Whether it is sent in a separate batch, after everything else."""
        return self.strikes > 0 or not self.others_passed

    @property
    def is_rejected(self) -> bool:
        """Whether it must be set aside."""
        return self.strikes >= STRIKES

    @property
    def wait_s(self) -> float:
        """Seconds until the next attempt."""
        return min(WAIT_S * 2.0 ** min(self.tries, 10), LONGEST_WAIT_S)

    def after_failure(self, reason: str) -> Suspect:
        """Return the suspect after it failed alone once more."""
        return Suspect(strikes=self.strikes + self.others_passed, tries=self.tries + 1, reason=reason)


@attrs.define
class Suspects:
    """The suspects of one sink, by document id."""

    known: dict[str, Suspect] = attrs.field(factory=dict)

    def isolated(self) -> set[str]:
        """Return those that must not share a batch."""
        return {id_ for id_, suspect in self.known.items() if suspect.is_isolated}

    def undecided(self) -> int:
        """Return how many failed since the receiver last accepted a document."""
        return sum(not suspect.others_passed for suspect in self.known.values())

    def failed(self, id_: str, reason: str) -> Suspect:
        """Record that this one failed alone, and return it."""
        suspect = self.known.pop(id_, Suspect()).after_failure(reason)
        self.known[id_] = suspect
        while len(self.known) > KNOWN:
            del self.known[next(iter(self.known))]
        return suspect

    def forget(self, ids: Iterable[str]) -> None:
        """Remove these: they were accepted or set aside."""
        for id_ in ids:
            self.known.pop(id_, None)

    def others_passed(self) -> None:
        """Record that the receiver accepted another document."""
        self.known = {id_: msgspec.structs.replace(suspect, others_passed=True) for id_, suspect in self.known.items()}

    def reason_words(self, waiting: Callable[[str], bool]) -> str:
        """Return the newest reason of those ``waiting`` that failed while others were accepted; "" if there are none."""
        failing = [
            suspect
            for id_, suspect in self.known.items()
            if (suspect.strikes or suspect.others_passed) and waiting(id_)
        ]
        if not failing:
            return ""
        words = counted(len(failing), "document fails and is", "documents fail and are")
        return f"{words} tried again, while others are accepted: {failing[-1].reason}"
