"""Marks the log lines of a turn with the person's name."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from contextvars import ContextVar

_person: ContextVar[str] = ContextVar("person", default="")


@contextlib.contextmanager
def log_person(name: str) -> Iterator[None]:
    """Mark every line that this thread logs inside the block."""
    token = _person.set(name)
    try:
        yield
    finally:
        _person.reset(token)


def mark_lines() -> None:
    """Add ``person=NAME`` to the lines of turns, from now on, in every handler of the root logger."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(_marked)


def _marked(record: logging.LogRecord) -> bool:
    name = _person.get()
    if name and not getattr(record, "is_marked", False):
        record.msg, record.is_marked = f"person={name} {record.msg}", True
    return True
