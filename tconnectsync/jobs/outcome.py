"""Turns the health of sources and sinks into a job's exit status and lines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tconnectsync.errors import (
    LogCorrupt,
)
from tconnectsync.jobs.messages import Result
from tconnectsync.outbox import set_aside_words
from tconnectsync.retry.health import Health, HealthState
from tconnectsync.runtime.engine import Engine
from tconnectsync.text.plural import counted


def problems(engine: Engine, only: tuple[str, ...] | None = None) -> list[tuple[int, str]]:
    """Return the problems as (exit status, sentence), of everything or of ``only`` these sinks."""
    now = engine.clock.now()
    found: list[tuple[int, str]] = []
    if only is None:
        for name, poller in engine.pollers.items():
            condition = poller.health
            if not condition.is_ok:
                number = {HealthState.REFUSED: 4, HealthState.DAMAGED: 7}.get(condition.state, 3)
                found.append((number, f"{_words(name, condition)}{_until(condition)}"))
    for name, runner in engine.runners.items():
        if only is not None and name not in only:
            continue
        counts = runner.counts()
        condition = runner.health
        status = {HealthState.REFUSED: 4, HealthState.DAMAGED: 7, HealthState.HALTED: 6, HealthState.BRAKED: 6}.get(
            condition.state
        )
        if condition.refusals:  # the first refusal does not stop the sink yet, but the user must know
            status = 4
        if status is not None:
            found.append((status, _words(name, condition)))
        elif not runner.fold_runner.blocked and (condition.state == HealthState.WAITING or runner.folding.is_behind()):
            message = _words(name, condition) if condition.message else f"{name}: not all of the log could be processed"
            found.append((5, message))
        elif runner.outbox.queue.waiting(now):
            found.append(
                (
                    5,
                    f"{name}: {counted(runner.outbox.queue.waiting(now), 'document is', 'documents are')} waiting. {_words('', condition)}",
                )
            )
        for blocked in runner.fold_runner.blocked.values():
            found.append((7 if isinstance(blocked, LogCorrupt) else 1, _words(name, blocked)))
            break
        if counts.dead:
            remedy = "List them: `tconnectsync dead-letters list`."
            found.append(
                (6, f"{name}: {set_aside_words(counts.dead, runner.outbox.dead_letters.last_reason())}. {remedy}")
            )
    if engine.log_problem is not None:
        found.append((7, f"{engine.log_problem.message} {engine.log_problem.remedy}"))
    return found


def _until(health: Health) -> str:
    if health.not_before is None:
        return ""
    return f" It is tried again after {health.not_before.until:%Y-%m-%d %H:%M} UTC."


def _words(name: str, condition: Any) -> str:
    head = f"{name}: " if name else ""
    return f"{head}{condition.message.rstrip('.')}. {condition.remedy or ''}".rstrip()


def conclude(engine: Engine, *lines: str, only: tuple[str, ...] | None = None) -> Result:
    """Return a result from the current health, with ``lines`` first."""
    return result_of(problems(engine, only), *lines)


def result_of(found: Iterable[tuple[int, str]], *lines: str) -> Result:
    """Combine problems into one result. The smallest status above 1 wins, but 4 and 7 win over all."""
    problems_found = list(found)
    statuses = [status for status, _ in problems_found]
    urgent = [status for status in statuses if status in (4, 7)]
    chosen = urgent or [status for status in statuses if status > 1] or statuses or [0]
    return Result(status=min(chosen), lines=(*lines, *dict.fromkeys(words for _, words in problems_found)))
