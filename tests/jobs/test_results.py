"""What a command says at its end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tconnectsync.clock import SystemClock
from tconnectsync.exit_status import ExitStatus
from tconnectsync.health.states import Health
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
