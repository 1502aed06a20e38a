"""What a user may ask of the engine, each as a job that goes on step by step beside everything else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import date
from typing import Any

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
from tconnectsync.jobs.adopt import _adopt
from tconnectsync.jobs.messages import Job, Request, Result, Step
from tconnectsync.jobs.sync import _backfill, _dead_letters, _import, _replay, _resume, _sync
from tconnectsync.jobs.verify import _verify
from tconnectsync.runtime.engine import Engine

log = logging.getLogger("tconnectsync.jobs")


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
