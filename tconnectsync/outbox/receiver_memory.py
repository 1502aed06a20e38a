"""What a receiver learned about its place, such as a site that drops our identifiers: kept in the outbox over restarts."""

from __future__ import annotations

from tconnectsync.outbox import Outbox
from tconnectsync.outbox.stored_values import RECEIVER_MEMORY
from tconnectsync.plugin.receiver import SupportsMemory, SupportsReplay


def recall(outbox: Outbox, receiver: object) -> None:
    """Give the receiver what it learned before. Needed before its first delivery, and before it is compared with the log."""
    if isinstance(receiver, SupportsMemory):
        receiver.recall(outbox.values.get(RECEIVER_MEMORY))


def memory_of(receiver: object) -> str | None:
    """Return what the receiver knows now; None if it has nothing to keep."""
    return receiver.memory() if isinstance(receiver, SupportsMemory) else None


def begin_replay(outbox: Outbox, receiver: object) -> None:
    """Tell the receiver, which recalled already, that everything is delivered again."""
    if isinstance(receiver, SupportsReplay):
        receiver.begin_replay()
        remember(outbox, memory_of(receiver))


def remember(outbox: Outbox, memory: str | None) -> None:
    """Keep what :func:`memory_of` returned."""
    if memory is not None and memory != outbox.values.get(RECEIVER_MEMORY):
        outbox.values.put(RECEIVER_MEMORY, memory)
