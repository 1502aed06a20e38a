"""The job that replaces an older bridge's documents with ours"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from tconnectsync.errors import (
    Retryable,
)
from tconnectsync.jobs.days import stretch
from tconnectsync.jobs.messages import Job, Progress, Result
from tconnectsync.jobs.outcome import conclude, result_of, troubles
from tconnectsync.jobs.steps import _ask, _drain, _keeper, _poll
from tconnectsync.plugin.receiver import can_adopt
from tconnectsync.reconcile.adoption import Found, adopted, cannot_be_adopted
from tconnectsync.runtime.engine import Engine
from tconnectsync.runtime.sink_runner import Keeper


def _adopt(engine: Engine, args: Mapping[str, Any], zone_at: Callable[[date], Any]) -> Job:
    """Fetch and fold all, then let what an older bridge wrote of the same facts make room for ours, or leave both."""
    name, keeper, unknown = _keeper(engine, args)
    if keeper is None:
        yield unknown
        return
    if args.get("skip"):
        keeper.adopt()
        yield from _drain(engine, (name,))
        yield conclude(engine, f"{name}: what others left there stays beside ours", only=(name,))
        return
    receiver = keeper.courier.receiver
    if not can_adopt(receiver):
        yield Result(status=2, lines=(cannot_be_adopted(name),))
        return
    runs = _ask(engine, lambda poller: poller.start())
    yield from _poll(engine, runs)
    while engine.placed and keeper.fold(engine.views, version=engine.version):
        yield Progress(message="folding")
    days, keep_unclear = stretch(args, zone_at), bool(args.get("keep_unclear"))
    hindrance = not_adoptable(engine, keeper, *days)
    if hindrance is not None:
        yield hindrance
        return
    seen, found = Found(), Found()
    try:
        verifier = keeper.verifier(engine.views)
        for _ in adopted(seen, verifier, receiver, *days):
            yield Progress(message="looking at what an older bridge wrote")
        if seen.unclear and not keep_unclear:
            yield Result(status=6, lines=seen.lines(name, done=False, keep_unclear=False))
            return
        for _ in adopted(found, verifier, receiver, *days, send_again=keeper.send_again):
            yield Progress(message=f"replacing an older bridge's documents, {sum(found.replaced.values()):,} so far")
    except Retryable as error:
        again = f"Run `tconnectsync adopt {name}` again: it goes on where it was."
        waits = f" Until then {name} sends nothing of these days." if keeper.admission.unseen() is not None else ""
        yield Result(status=5, lines=(error.message, *([error.remedy] if error.remedy else []), f"{again}{waits}"))
        return
    keeper.adopt_once()
    yield from _drain(engine, (name,))
    pending = keeper.counts().pending
    yield conclude(engine, *found.lines(name, done=True, keep_unclear=True, pending=pending), only=(name,))


def not_adoptable(engine: Engine, keeper: Keeper, first: datetime | None, last: datetime | None) -> Result | None:
    """Why nothing can be replaced now: what is not fetched, folded or sent there would be taken away and not come back."""
    if (first or last) and keeper.admission.unseen() is not None:
        words = (
            f"{keeper.name} has not delivered all of its days to this place, so that some days alone cannot be replaced"
        )
        return Result(status=2, lines=("nothing was replaced", f"{words}. Leave --from and --to out."))
    moved = keeper.admission.moved()
    if moved is not None:
        return Result(
            status=6, lines=("nothing was replaced", f"{keeper.name}: {moved.hold.reason}. {moved.hold.remedy}")
        )
    if keeper.condition.state in ("braked", "refused") or keeper.courier.halted() or keeper.folding.blocked:
        return conclude(engine, "nothing was replaced: ours could not take the place of what goes", only=(keeper.name,))
    unread = [poller.condition for poller in engine.pollers.values() if poller.condition.state != "ok"]
    if not engine.placed or keeper.behind() or unread:
        words = "nothing was replaced: not all of the pump's data could be read and worked out"
        return result_of(troubles(engine), words) if unread or engine.log_trouble else conclude(engine, words)
    return None
