"""What a user may ask of the engine, each as a job that goes on step by step beside everything else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import date
from typing import Any

from tconnectsync.errors import (
    IndexCorrupt,
    TconnectsyncError,
)
from tconnectsync.jobs.adopt import adopt
from tconnectsync.jobs.messages import Job, Request, Result, Step
from tconnectsync.jobs.sync import backfill, dead_letters, import_job, replay, resume, sync
from tconnectsync.jobs.verify import verify
from tconnectsync.runtime.engine import Engine

log = logging.getLogger("tconnectsync.jobs")


def next_step(job: Job) -> Step:
    """The job's next step; what goes wrong in it is its result, and no trouble of anybody else's."""
    try:
        return next(job, None) or Result(status=1, lines=("the request ended without a result",))
    except IndexCorrupt:
        raise  # all has to be opened anew
    except TconnectsyncError as error:
        lines = (error.message, error.remedy or "")
        return Result(status=int(error.exit_status), lines=tuple(line for line in lines if line))
    except Exception as error:
        # the last border: one request that fails must not end the daemon
        log.exception("request_failed")
        words = f"the request failed unexpectedly ({type(error).__name__}); the daemon's log has the details"
        return Result(status=1, lines=(f"{words}. Nothing that was stored is lost.",))


def perform(engine: Engine, request: Request, zone_at: Callable[[date], Any]) -> Job:
    """The job for a request. Its last step is the Result."""
    jobs: dict[str, Callable[[], Job]] = {
        "sync": lambda: sync(engine),
        "backfill": lambda: backfill(engine, request.args),
        "import": lambda: import_job(engine, request.args),
        "replay": lambda: replay(engine, request.args, zone_at),
        "resume": lambda: resume(engine, request.args),
        "adopt": lambda: adopt(engine, request.args, zone_at),
        "verify": lambda: verify(engine, request.args, zone_at),
        "dead_letters_retry": lambda: dead_letters(engine, request.args, retry=True),
        "dead_letters_drop": lambda: dead_letters(engine, request.args, retry=False),
    }
    job = jobs.get(request.command)
    if job is None:
        return iter((Result(status=2, lines=(f"unknown request {request.command!r}",)),))
    return job()
