"""The vocabulary of pump events, the same for every source; importable as ``tconnectsync.events``.

:mod:`tconnectsync.events.vocabulary` lists the names. Each is loaded when it is first used, so that commands start quickly on a
Raspberry Pi.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tconnectsync.events.vocabulary import *  # noqa: F403 - the vocabulary is one list, kept in one place


_ENVELOPE = frozenset({"Body", "Event"})
_KINDS = frozenset({"ACCOUNT_KINDS", "BODIES", "FACTS", "PUMP_KINDS", "WEAR_SIGNS"})
_FORMER_NAMES = {"WEAR_MARKS": "WEAR_SIGNS"}
"""Names of earlier releases, which keep working."""


def __getattr__(name: str) -> Any:
    now = _FORMER_NAMES.get(name, name)
    found = getattr(import_module(f"{__name__}.{_home_of(now)}"), now)
    globals()[name] = found  # folds ask for these names at every event: the next look-up finds them here
    return found


def _home_of(name: str) -> str:
    if name in _ENVELOPE:
        return "envelope"
    if name in _KINDS:
        return "kinds"
    if name == "__all__":
        return "vocabulary"
    modules: dict[str, str] = import_module(f"{__name__}.kinds").MODULE_OF_CLASS
    if name in modules:
        return modules[name]
    raise AttributeError(name)
