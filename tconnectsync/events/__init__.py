"""The vocabulary of pump events, the same for every source; importable as ``tconnectsync.events``.

The names of :mod:`tconnectsync.events.vocabulary` are loaded when they are first used, so that commands that do not need them
start quickly on a Raspberry Pi.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tconnectsync.events.vocabulary import *  # noqa: F403 - the vocabulary is one list, kept in one place


_ENVELOPE = frozenset({"Body", "Event"})


def __getattr__(name: str) -> Any:
    found = _load(name)
    globals()[name] = found  # folds ask for these names at every event: the next look-up finds them here
    return found


def _load(name: str) -> Any:
    if name in _ENVELOPE:
        return getattr(import_module("tconnectsync.events.envelope"), name)
    vocabulary = import_module("tconnectsync.events.vocabulary")
    if name == "__all__" or name in vocabulary.__all__:
        return getattr(vocabulary, name)
    raise AttributeError(name)
