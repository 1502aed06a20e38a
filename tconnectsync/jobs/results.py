"""Turns the health of sources and sinks into a job's exit status and lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from tconnectsync.errors import LogCorrupt, TconnectsyncError
from tconnectsync.exit_status import ExitStatus
from tconnectsync.health.states import Health, HealthState
from tconnectsync.jobs.messages import Result
from tconnectsync.outbox import set_aside_words
from tconnectsync.runtime.engine import Engine
from tconnectsync.runtime.sink_runner import SinkRunner
from tconnectsync.text.plural import counted

Problem: TypeAlias = tuple[ExitStatus, str]

URGENT = frozenset({ExitStatus.REFUSED, ExitStatus.DAMAGED})
"""These win over every other status."""
_SOURCE_STATUS = {HealthState.REFUSED: ExitStatus.REFUSED, HealthState.DAMAGED: ExitStatus.DAMAGED}
_SINK_STATUS = {**_SOURCE_STATUS, HealthState.HALTED: ExitStatus.SET_ASIDE, HealthState.BRAKED: ExitStatus.SET_ASIDE}


def problems(engine: Engine, only: tuple[str, ...] | None = None) -> list[Problem]:
    """Return the problems as (exit status, sentence), of everything or of ``only`` these sinks."""
    found: list[Problem] = []
    for name, poller in engine.pollers.items() if only is None else ():
        health = poller.health
        if not health.is_ok:
            again = health.not_before and f" It is tried again after {health.not_before.until:%Y-%m-%d %H:%M} UTC."
            found.append((_SOURCE_STATUS.get(health.state, ExitStatus.SOURCE), f"{_words(name, health)}{again or ''}"))
    for name, runner in engine.runners.items():
        if only is None or name in only:
            found += _sink_problems(engine, runner)
    for name, health in engine.unusable.items():
        if only is None or name in only:
            found.append((ExitStatus.WAITING, _words(name, health)))
    if engine.log_problem is not None:
        found.append((ExitStatus.DAMAGED, f"{engine.log_problem.message} {engine.log_problem.remedy}"))
    return found


def _sink_problems(engine: Engine, runner: SinkRunner) -> Iterator[Problem]:
    name, health, outbox = runner.name, runner.health, runner.outbox
    failed = list(runner.fold_runner.blocked.values())
    waiting = outbox.queue.waiting(engine.clock.now())
    # the first refusal does not stop the sink yet, but the user must know
    status = ExitStatus.REFUSED if health.refusals else _SINK_STATUS.get(health.state)
    if status is not None:
        yield status, _words(name, health)
    elif not failed and (health.state is HealthState.WAITING or runner.folding.is_behind()):
        unread = f"{name}: not all of the log could be processed"
        yield ExitStatus.WAITING, _words(name, health) if health.message else unread
    elif waiting:
        documents = counted(waiting, "document is", "documents are")
        reason = f" {_words('', health)}" if health.message else ""
        yield ExitStatus.WAITING, f"{name}: {documents} waiting.{reason}"
    if failed:
        yield ExitStatus.DAMAGED if isinstance(failed[0], LogCorrupt) else ExitStatus.FAILED, _words(name, failed[0])
    dead = runner.counts().dead
    if dead:
        reason = set_aside_words(dead, outbox.dead_letters.last_reason())
        yield ExitStatus.SET_ASIDE, f"{name}: {reason}. List them: `tconnectsync dead-letters list`."


def _words(name: str, cause: Health | TconnectsyncError) -> str:
    head = f"{name}: " if name else ""
    return f"{head}{cause.message.rstrip('.')}. {cause.remedy or ''}".rstrip()


def conclude(engine: Engine, *lines: str, only: tuple[str, ...] | None = None) -> Result:
    """Return a result from the current health, with ``lines`` first."""
    return result_of(problems(engine, only), *lines)


def result_of(found: Iterable[Problem], *lines: str) -> Result:
    """Combine problems into one result, with the status that :class:`ExitStatus` prefers."""
    known = list(found)
    statuses = [status for status, _ in known]
    urgent = [status for status in statuses if status in URGENT]
    chosen = urgent or [status for status in statuses if status > ExitStatus.FAILED] or statuses or [ExitStatus.DONE]
    return Result(status=min(chosen), lines=(*lines, *dict.fromkeys(words for _, words in known)))
