"""``adopt``: what an older bridge wrote of the same facts makes room for ours. The only place where others' documents go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import attrs

from tconnectsync.outbox import DocumentRow
from tconnectsync.plugin.receiver import StoredDocument, SupportsAdoption
from tconnectsync.reconcile.comparison import Verifier
from tconnectsync.text.plural import counted

_LISTED = 20


def cannot_adopt_text(sink: str) -> str:
    """For a receiver that cannot tell an older bridge's documents."""
    return f"{sink} cannot take over what others wrote; `tconnectsync adopt {sink} --skip` delivers beside it"


@attrs.define
class AdoptionReport:
    """What was found so far: by kind what ours replace, and what they do not; ``unclear``: nobody can tell.

    ``impossible``: what goes because it cannot be true, such as a glucose of 0.
    """

    replaced: Counter[str] = attrs.field(factory=Counter)
    impossible: Counter[str] = attrs.field(factory=Counter)
    left: Counter[str] = attrs.field(factory=Counter)
    unclear: list[str] = attrs.field(factory=list)

    def lines(self, sink: str, *, done: bool, keep_unclear: bool, pending: int = 0) -> tuple[str, ...]:
        """For people. ``done``: what is to be replaced is gone; ``pending``: how many of ours are not there yet."""
        gone = "made room for ours, which follow" if pending else "were replaced by ours"
        said = [f"{_kinds(self.replaced)} of an older bridge {gone if done else 'would be replaced by ours'}"]
        if self.impossible:
            deleted = "were deleted" if done else "would be deleted"
            said.append(f"{_kinds(self.impossible)} of it cannot be true (such as a glucose of 0), and {deleted}")
        if self.left:
            said.append(f"{_kinds(self.left)} of it tell of nothing that is delivered from here, and stay")
        if self.unclear:
            said.append(
                f"{len(self.unclear):,} may tell of the same as ours or of something else (no record numbers, of several pumps, or"
                " another uploader's):"
            )
            said += [f"  {line}" for line in self.unclear[:_LISTED]]
            said += [f"  and {len(self.unclear) - _LISTED:,} more"] * (len(self.unclear) > _LISTED)
            if not keep_unclear:
                said.append(
                    "nothing is replaced while these are there: look at them on the site and delete what tells of the same as the pump,"
                    f" or leave them beside ours with `tconnectsync adopt {sink} --keep-unclear`"
                )
        return tuple(said)


def adopt_documents(
    found: AdoptionReport,
    verifier: Verifier,
    receiver: SupportsAdoption,
    first: datetime | None,
    last: datetime | None,
    *,
    send_again: Callable[[Sequence[DocumentRow]], None] | None = None,
) -> Iterator[None]:
    """Note in ``found`` what an older bridge wrote of the facts that our documents tell, the newest first, and remove it.

    Without ``send_again``: only look. It is told which of ours were delivered and are not there any more, before what stands
    in their place goes. It may be broken off and begun again at any moment: what is gone is not found again, and ours
    are delivered afterwards, so that nothing is there twice in between. Raises what the receiver and the folds raise.
    """
    claimed: set[str] = set()
    for week in verifier.weeks_with_others(first, last):
        if week is not None:
            documents, others, lost = week
            going: list[StoredDocument] = []
            for older in receiver.recognise_older(documents, others, claimed):
                kind = older.stored.unique_slot or older.stored.collection
                if older.same:
                    going.append(older.stored)
                    (found.impossible if older.impossible else found.replaced)[kind] += 1
                elif older.same is None:
                    author = f" of {older.stored.author}" if older.stored.author else ""
                    found.unclear.append(f"{older.stored.at:%Y-%m-%d %H:%M:%S} UTC  {kind}{author}")
                else:
                    found.left[kind] += 1
            if going and send_again is not None:
                send_again(lost)
                receiver.remove(going)
        yield


def _kinds(kinds: Counter[str]) -> str:
    total = sum(kinds.values())
    told = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
    return f"{counted(total, 'document')} ({told})" if told else "no documents"
