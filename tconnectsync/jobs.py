"""What a user may ask of the engine, each as a job that goes on step by step beside everything else."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta, timezone
from typing import Any, TypeAlias

import attrs

from tconnectsync.adopting import Found, adopted, cannot_be_adopted
from tconnectsync.brought import Brought
from tconnectsync.engine import Engine
from tconnectsync.errors import (
    BadFile,
    CredentialsRefused,
    IndexHarmed,
    LogDamaged,
    MachineTrouble,
    NotDone,
    Rejected,
    Retryable,
    TconnectsyncError,
)
from tconnectsync.keeping import Keeper
from tconnectsync.plural import counted
from tconnectsync.polling import Poller, Run
from tconnectsync.receiver import Surveyed, can_adopt
from tconnectsync.troubles import troubles
from tconnectsync.verdicts import Tally, cannot_be_verified

log = logging.getLogger("tconnectsync.jobs")


COUNT_EVERY_S = 1.0
"""How often progress is counted anew."""
_MOST_LINES, _MOST_JSON = 20, 1000
"""So many documents of each verdict are listed."""


@attrs.frozen(kw_only=True)
class Request:
    """A command for whoever owns the data folder. ``args`` are JSON values.

    ``mark`` stands for the configuration that the asker has read; one who has none is not told of a difference.
    """

    command: str
    args: Mapping[str, Any] = attrs.field(factory=dict)
    mark: str = ""


@attrs.frozen(kw_only=True)
class Progress:
    """How far it is; ``total`` 0: not known."""

    message: str
    done: int = 0
    total: int = 0


@attrs.frozen(kw_only=True)
class Result:
    """The end of a request: the exit status and words for the user."""

    status: int
    lines: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Notice:
    """Something that the user is to know before it goes on."""

    words: str


Step: TypeAlias = Progress | Notice | Result
Job: TypeAlias = Iterator[Step]


def day_start(day: date, zone_at: Callable[[date], Any]) -> datetime:
    """UTC time at which a day begins in the configured zone."""
    return datetime.combine(day, time(), tzinfo=zone_at(day)).astimezone(timezone.utc)


def stretch(args: Mapping[str, Any], zone_at: Callable[[date], Any]) -> tuple[datetime | None, datetime | None]:
    """The UTC stretch of ``first`` and ``last`` (ISO days in the configured zone, both inclusive; missing: open)."""
    first, last = args.get("first"), args.get("last")
    begin = None if not first else day_start(date.fromisoformat(first), zone_at)
    end = None
    if last:
        end = day_start(date.fromisoformat(last) + timedelta(days=1), zone_at) - timedelta(milliseconds=1)
    return begin, end


def next_step(job: Job) -> Step:
    """The job's next step; what goes wrong in it is its result, and no trouble of anybody else's."""
    try:
        return next(job, None) or Result(status=1, lines=("the request ended without a result",))
    except IndexHarmed:
        raise  # all has to be opened anew
    except TconnectsyncError as error:
        lines = (error.message, error.remedy or "")
        return Result(status=_status_of(error), lines=tuple(line for line in lines if line))
    except Exception as error:
        # the last border: one request that fails must not end the daemon
        log.exception("request_failed")
        words = f"the request failed unexpectedly ({type(error).__name__}); the daemon's log has the details"
        return Result(status=1, lines=(f"{words}. Nothing that was stored is lost.",))


def _status_of(error: TconnectsyncError) -> int:
    kinds = (
        (MachineTrouble, 1),
        (BadFile, 2),
        (NotDone, 2),
        (CredentialsRefused, 4),
        (LogDamaged, 7),
        (Retryable, 3),
        (Rejected, 5),
    )
    return next((status for kind, status in kinds if isinstance(error, kind)), 1)


def perform(engine: Engine, request: Request, zone_at: Callable[[date], Any]) -> Job:
    """The job for a request. Its last step is the Result."""
    jobs: dict[str, Callable[[], Job]] = {
        "sync": lambda: _sync(engine),
        "backfill": lambda: _backfill(engine, request.args),
        "import": lambda: _import(engine, request.args),
        "replay": lambda: _replay(engine, request.args, zone_at),
        "resume": lambda: _resume(engine, request.args),
        "adopt": lambda: _adopt(engine, request.args, zone_at),
        "verify": lambda: _verify(engine, request.args, zone_at),
        "dead_letters_retry": lambda: _dead_letters(engine, request.args, retry=True),
        "dead_letters_drop": lambda: _dead_letters(engine, request.args, retry=False),
    }
    job = jobs.get(request.command)
    if job is None:
        return iter((Result(status=2, lines=(f"unknown request {request.command!r}",)),))
    return job()


def _poll(engine: Engine, runs: Sequence[Run]) -> Iterator[Progress]:
    """Until these runs are over; between two of them the sinks are served."""
    while not all(run.over for run in runs):
        engine.turn(polling=False)
        for poller in engine.pollers.values():
            if poller.running:
                batch = poller.progress
                yield Progress(message=batch.note or f"asking {poller.name}", done=batch.done, total=batch.total)
                break
        else:
            yield Progress(message="folding and delivering")


def _judged(result: Result, runs: Sequence[Run]) -> Result:
    """A run that failed is told also where the source is well again."""
    if result.status or not any(run.state == "failed" for run in runs):
        return result
    return Result(status=3, lines=(*result.lines, "not all of it could be read; run it again: nothing is doubled"))


def _drain(engine: Engine, only: tuple[str, ...] | None = None) -> Iterator[Progress]:
    """Until nothing can be folded or delivered now."""
    keepers = [keeper for name, keeper in engine.keepers.items() if only is None or name in only]
    most = 0
    told, next_count_s = Progress(message="folding"), engine.clock.monotonic()
    while engine.turn(polling=False, only=only):
        if (
            engine.clock.monotonic() >= next_count_s
        ):  # counting a year's backlog takes longer than sending a batch of it
            next_count_s = engine.clock.monotonic() + COUNT_EVERY_S
            folding = sum(keeper.outbox.marked_count() for keeper in keepers)
            pending = sum(keeper.outbox.waiting(engine.clock.now()) for keeper in keepers)
            most = max(most, folding + pending)
            words = (
                f"folding, {counted(folding, 'interval')} to go"
                if folding
                else f"delivering, {counted(pending, 'document')} to go"
            )
            told = Progress(message=words, done=most - folding - pending, total=most)
        yield told


def _ask(engine: Engine, begin: Callable[[Poller], list[Run]]) -> list[Run]:
    """Begin with every source that may be asked; the others say why in their condition."""
    return [run for poller in engine.pollers.values() if poller.may_ask() for run in begin(poller)]


def _sync(engine: Engine) -> Job:
    runs = _ask(engine, lambda poller: poller.start())
    yield from _poll(engine, runs)
    yield from _drain(engine)
    yield _judged(conclude(engine), runs)


def _backfill(engine: Engine, args: Mapping[str, Any]) -> Job:
    first = date.fromisoformat(args["first"])
    last = date.fromisoformat(args["last"]) if args.get("last") else engine.clock.now().date() + timedelta(days=1)
    if last < first:
        yield Result(status=2, lines=(f"the range is empty: {first} is after {last}",))
        return
    brought = Brought(engine.events.end)
    runs = _ask(engine, lambda poller: poller.start_backfill(first, last, brought))
    yield from _poll(engine, runs)
    yield from _drain(engine)
    yield _judged(conclude(engine, f"{brought.words()} ({first} to {last}, and a day on both sides)"), runs)


def _import(engine: Engine, args: Mapping[str, Any]) -> Job:
    from tconnectsync.importing import import_files

    lines = yield from import_files(engine, args)
    yield from _drain(engine)
    yield conclude(engine, *lines)


def _keeper(engine: Engine, args: Mapping[str, Any]) -> tuple[str, Keeper | None, Result]:
    name = str(args.get("sink"))
    return name, engine.keepers.get(name), no_such_sink(engine, name)


def no_such_sink(engine: Engine, name: str) -> Result:
    """What is said where this sink is not on."""
    known = ", ".join(sorted(engine.keepers)) or "none"
    return Result(status=2, lines=(f"no sink {name!r} is on; there are: {known}",))


def _replay(engine: Engine, args: Mapping[str, Any], zone_at: Callable[[date], Any]) -> Job:
    name, keeper, unknown = _keeper(engine, args)
    if keeper is None:
        yield unknown
        return
    while engine.turn(polling=False, only=()):  # a poll under way ends first
        yield Progress(message="reading the log")
    while engine.placed and keeper.fold(engine.views, version=engine.version):
        yield Progress(message="folding")
    if not engine.placed:
        yield conclude(engine)
        return
    begin, end = stretch(args, zone_at)
    count = keeper.replay(begin, end)
    yield from _drain(engine, (name,))
    yield conclude(engine, f"{name}: {counted(count, 'document')} to send again", only=(name,))


def _resume(engine: Engine, args: Mapping[str, Any]) -> Job:
    name, keeper, unknown = _keeper(engine, args)
    poller = engine.pollers.get(name)
    if poller is not None:
        poller.resume()
        yield from _poll(engine, poller.start())
        yield from _drain(engine)
        yield conclude(engine, f"{name}: goes on")
        return
    if keeper is None:
        yield unknown
        return
    keeper.resume()
    yield from _drain(engine, (name,))
    yield conclude(engine, f"{name}: goes on", only=(name,))


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


def _verify(engine: Engine, args: Mapping[str, Any], zone_at: Callable[[date], Any]) -> Job:
    """Compare, mend, and compare again. What nobody makes is only taken back when all was fetched once more."""
    name, keeper, unknown = _keeper(engine, args)
    if keeper is None:
        yield unknown
        return
    if not isinstance(keeper.courier.receiver, Surveyed):
        yield Result(status=2, lines=(cannot_be_verified(name),))
        return
    while engine.turn(polling=False, only=()):  # a poll under way ends first
        yield Progress(message="reading the log")
    yield from _drain(engine, (name,))
    hindrance = conclude(engine, only=(name,))
    if not engine.placed or hindrance.status in (4, 7) or keeper.condition.state != "ok":
        yield hindrance
        return
    span = stretch(args, zone_at)
    most = _MOST_JSON if args.get("json") else _MOST_LINES
    try:
        before, after = Tally(most=most), Tally(most=most)
        for part in keeper.verifier(engine.views).run(*span):
            before.add(part)
            keeper.mend(part.found)
            yield Progress(message=f"comparing, {counted(before.good, 'document')} so far")
        if before.counts["orphaned"]:
            yield from _poll(engine, _ask(engine, lambda poller: poller.start()))
        yield from _drain(engine, (name,))
        for part in keeper.verifier(engine.views).run(*span) if before.wrong else ():
            after.add(part)
            yield Progress(message=f"comparing again, {counted(after.good, 'document')} so far")
    except Retryable as error:
        yield Result(status=5, lines=(error.message, *([error.remedy] if error.remedy else [])))
        return
    yield _mended(
        name, conclude(engine, only=(name,)), before, after if before.wrong else before, as_json=bool(args.get("json"))
    )


def _mended(sink: str, end: Result, before: Tally, after: Tally, *, as_json: bool) -> Result:
    if as_json:
        objects = [*(each.to_json() for each in before.listed), {"before": before.to_json(), "after": after.to_json()}]
        lines = [json.dumps(found, ensure_ascii=False) for found in objects]
    else:
        lines = before.lines(sink)
        if before.wrong:
            lines += ["after the repair:", *after.lines(sink)]
    status = end.status or (9 if after.wrong or after.twice else 5 if after.counts["waiting"] else 0)
    return Result(status=status, lines=(*lines, *(() if as_json else end.lines)))


def _dead_letters(engine: Engine, args: Mapping[str, Any], *, retry: bool) -> Job:
    name, keeper, unknown = _keeper(engine, args)
    if keeper is None:
        yield unknown
        return
    ids = args.get("ids")
    count = keeper.outbox.revive(ids) if retry else keeper.outbox.drop(ids)
    if ids and not count:
        yield Result(
            status=2,
            lines=(
                f"{name}: none of these is a dead letter that can be changed; see `tconnectsync dead-letters list`",
            ),
        )
        return
    yield from _drain(engine, (name,))
    word = "tried again" if retry else "dropped"
    yield conclude(engine, f"{name}: {counted(count, 'dead letter')} {word}", only=(name,))


def conclude(engine: Engine, *lines: str, only: tuple[str, ...] | None = None) -> Result:
    """Exit status and words, from how everything is doing now."""
    return result_of(troubles(engine, only), *lines)


def result_of(found: Iterable[tuple[int, str]], *lines: str) -> Result:
    """One result of these exit statuses and their words: the smallest number wins, but 4 and 7 win over all."""
    troubled = list(found)
    statuses = [status for status, _ in troubled]
    urgent = [status for status in statuses if status in (4, 7)]
    chosen = urgent or [status for status in statuses if status > 1] or statuses or [0]
    return Result(status=min(chosen), lines=(*lines, *dict.fromkeys(words for _, words in troubled)))
