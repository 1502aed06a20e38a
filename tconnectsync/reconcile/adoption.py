"""``adopt``: deletes an older bridge's documents that ours replace. Nothing else deletes documents of other programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import attrs

from tconnectsync.errors import RequestRefused
from tconnectsync.outbox import DocumentRow
from tconnectsync.plugin.receiver import StoredDocument, SupportsAdoption
from tconnectsync.reconcile.comparison import Verifier
from tconnectsync.text.plural import counted

_LISTED = 20


def cannot_adopt(sink: str) -> RequestRefused:
    """Return the error for a receiver that cannot recognise an older bridge's documents."""
    return RequestRefused(
        f"{sink} cannot replace an older bridge's documents. Nothing was done.",
        remedy=f"Run `tconnectsync adopt {sink} --skip`: it keeps them, and delivers those of tconnectsync too.",
    )


@attrs.define
class AdoptionReport:
    """Documents of an older bridge that were found so far, by kind.

    ``replaced``: ours replace them; ``left``: they stay; ``impossible``: deleted because they cannot be true, such as a glucose
    of 0; ``unclear``: lines about documents that may or may not be of the same events as ours.
    """

    replaced: Counter[str] = attrs.field(factory=Counter)
    impossible: Counter[str] = attrs.field(factory=Counter)
    left: Counter[str] = attrs.field(factory=Counter)
    unclear: list[str] = attrs.field(factory=list)

    def lines(self, sink: str, *, done: bool, keep_unclear: bool, pending: int = 0) -> tuple[str, ...]:
        """Return the report as text. ``done``: the replaced documents are deleted; ``pending``: so many of ours still follow."""
        replaced = "were deleted; those of tconnectsync follow" if pending else "were replaced by those of tconnectsync"
        lines = [
            f"{_kinds(self.replaced)} of an older bridge {replaced if done else 'would be replaced by those of tconnectsync'}"
        ]
        if self.impossible:
            deleted = "were deleted" if done else "would be deleted"
            lines.append(f"{_kinds(self.impossible)} of it are impossible (such as a glucose of 0) and {deleted}")
        if self.left:
            lines.append(f"{_kinds(self.left)} of it show events that this sink does not deliver, and stay")
        if self.unclear:
            lines.append(
                f"{len(self.unclear):,} may or may not show the same events as ours (they have no record numbers, several pumps were"
                " used, or another uploader wrote them):"
            )
            lines += [f"  {line}" for line in self.unclear[:_LISTED]]
            lines += [f"  and {len(self.unclear) - _LISTED:,} more"] * (len(self.unclear) > _LISTED)
            if not keep_unclear:
                lines.append(
                    "nothing is replaced while these are there. Look at them on the site and delete those that show the pump's"
                    f" events, or keep them beside those of tconnectsync: `tconnectsync adopt {sink} --keep-unclear`"
                )
        return tuple(lines)


def adopt_documents(
    report: AdoptionReport,
    verifier: Verifier,
    receiver: SupportsAdoption,
    first: datetime | None,
    last: datetime | None,
    *,
    send_again: Callable[[Sequence[DocumentRow]], None] | None = None,
) -> Iterator[None]:
    """Delete an older bridge's documents of the same events as ours, the newest first, and add them to ``report``.

    ``send_again`` gets our delivered documents that the receiver does not have any more, before those in their place are
    deleted. Without it nothing is deleted. It may be interrupted and repeated at any time: ours are delivered afterwards, so no
    event is there twice in between. Errors: those of the receiver and the folds.
    """
    claimed: set[str] = set()
    for week in verifier.weeks_with_foreign(first, last):
        if week is not None:
            documents, foreign, lost = week
            replaced: list[StoredDocument] = []
            for match in receiver.recognise_legacy(documents, foreign, claimed):
                kind = match.stored.unique_slot or match.stored.collection
                if match.same:
                    replaced.append(match.stored)
                    (report.impossible if match.impossible else report.replaced)[kind] += 1
                elif match.same is None:
                    author = f" of {match.stored.author}" if match.stored.author else ""
                    report.unclear.append(f"{match.stored.at:%Y-%m-%d %H:%M:%S} UTC  {kind}{author}")
                else:
                    report.left[kind] += 1
            if replaced and send_again is not None:
                send_again(lost)
                receiver.remove(replaced)
        yield


def _kinds(kinds: Counter[str]) -> str:
    total = sum(kinds.values())
    listed = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
    return f"{counted(total, 'document')} ({listed})" if listed else "no documents"
