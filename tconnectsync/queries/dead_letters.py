"""`dead-letters list`: the documents that a receiver refused for good."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from tconnectsync.config.model import Config
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.dead_letters import letter_fields
from tconnectsync.runtime.data_dir import outbox_path


def read_dead_letters(config: Config, sink: str | None = None) -> list[dict[str, Any]]:
    """Return the dead letters of one sink or of all, oldest first."""
    found: list[dict[str, Any]] = []
    for name in sorted(config.sinks):
        path = outbox_path(config.data_dir, name)
        if (sink is None or sink == name) and path.exists():
            with closing(Outbox(path, writable=False)) as outbox:
                found.extend(letter_fields(name, letter) for letter in outbox.dead_letters.all())
    return found
