"""Maps each request to its job. A job runs in steps, between the engine's other work."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import date
from typing import Any

from tconnectsync.errors import IndexCorrupt, TconnectsyncError
from tconnectsync.exit_status import ExitStatus
from tconnectsync.jobs.messages import Job, Request, Result, Step
from tconnectsync.jobs.sync import backfill, dead_letters, import_job, list_dead_letters, replay, resume, sync
from tconnectsync.runtime.engine import Engine
from tconnectsync.storage_errors import disk_steps, storage_error

log = logging.getLogger("tconnectsync.jobs")


def next_step(job: Job) -> Step:
    """Return the job's next step. An error in the job becomes its result and does not affect other work."""
    try:
        return next(job, None) or Result(status=ExitStatus.FAILED, lines=("the request ended without a result",))
    except IndexCorrupt:
        raise  # everything must be opened again
    except TconnectsyncError as error:
        return Result.of_error(error)
    except Exception as error:
        # the outermost border: one failed request must not stop the daemon
        found = storage_error(error)
        steps = None if found is None else disk_steps(found)
        if found is not None and steps is not None:
            log.warning('request_failed reason="%s"', found.strerror)
            return Result(status=ExitStatus.FAILED, lines=(f"The disk cannot be used: {found.strerror}. {steps}",))
        log.exception("request_failed")
        words = f"the request failed unexpectedly ({type(error).__name__}); the daemon's log has the details"
        return Result(status=ExitStatus.FAILED, lines=(f"{words}. No stored data is lost.",))


def perform(engine: Engine, request: Request, zone_at: Callable[[date], Any]) -> Job:
    """Return the job for a request. Its last step is the Result."""
    jobs: dict[str, Callable[[], Job]] = {
        "sync": lambda: sync(engine),
        "backfill": lambda: backfill(engine, request.args),
        "import": lambda: import_job(engine, request.args),
        "replay": lambda: replay(engine, request.args, zone_at),
        "resume": lambda: resume(engine, request.args),
        "adopt": lambda: _adopt(engine, request, zone_at),
        "verify": lambda: _verify(engine, request, zone_at),
        "dead_letters_list": lambda: list_dead_letters(engine, request.args),
        "dead_letters_retry": lambda: dead_letters(engine, request.args, retry=True),
        "dead_letters_drop": lambda: dead_letters(engine, request.args, retry=False),
    }
    job = jobs.get(request.command)
    if job is None:
        return iter((Result(status=ExitStatus.USAGE, lines=(f"unknown request {request.command!r}",)),))
    return job()


# the comparison with receivers is imported when it is asked for


def _adopt(engine: Engine, request: Request, zone_at: Callable[[date], Any]) -> Job:
    from tconnectsync.jobs.adopt import adopt

    return adopt(engine, request.args, zone_at)


def _verify(engine: Engine, request: Request, zone_at: Callable[[date], Any]) -> Job:
    from tconnectsync.jobs.verify import verify

    return verify(engine, request.args, zone_at)
