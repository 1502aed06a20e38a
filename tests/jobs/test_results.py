"""What a command says at its end."""

from __future__ import annotations

import errno
import os
import sqlite3
from types import SimpleNamespace
from typing import Any

import pytest

from tconnectsync.clock import SystemClock
from tconnectsync.exit_status import ExitStatus
from tconnectsync.health.states import Health
from tconnectsync.jobs.dispatch import next_step
from tconnectsync.jobs.messages import Job, Result
from tconnectsync.jobs.results import problems


def engine_with(health: Health, waiting: int) -> Any:
    """An engine with one sink that has documents to send."""
    runner = SimpleNamespace(
        name="light",
        health=health,
        outbox=SimpleNamespace(queue=SimpleNamespace(waiting=lambda now: waiting)),
        fold_runner=SimpleNamespace(blocked={}),
        folding=SimpleNamespace(is_behind=lambda: False),
        counts=lambda: SimpleNamespace(dead=0),
    )
    return SimpleNamespace(
        clock=SystemClock(), pollers={}, runners={"light": runner}, unusable={}, log_problem=None
    )  # fmt: skip


@pytest.mark.parametrize(
    ("message", "end"), [("", "56 documents are waiting."), ("a document failed", "waiting. a document failed.")]
)
def test_waiting_documents(message: str, end: str) -> None:
    """If nothing is wrong, because the rest is sent in the next turn, no reason is named."""
    [(status, words)] = problems(engine_with(Health(message=message), 56))
    assert status is ExitStatus.WAITING
    assert words.endswith(end)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (sqlite3.OperationalError("database or disk is full"), "The disk cannot be used: No space left on device. Free some space"),
        (OSError(errno.EIO, os.strerror(errno.EIO)), "dmesg"),
        (ValueError("x"), "failed unexpectedly (ValueError)"),
    ],
)  # fmt: skip
def test_request_on_a_full_disk(error: Exception, words: str) -> None:
    """The answer to a command names what the user does about the disk, also if the daemon does the work."""

    def job() -> Job:
        raise error
        yield

    result = next_step(job())
    assert isinstance(result, Result)
    assert result.status == ExitStatus.FAILED
    assert words in result.lines[0]
