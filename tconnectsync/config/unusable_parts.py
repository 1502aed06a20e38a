"""Parts that cannot be used while everything else works: a sink without its secret, notifications, a command's table.

A secret's file can disappear without anybody editing the configuration. That must not stop what does not need the secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from tconnectsync.config.environment import MergedTable
    from tconnectsync.plugin.manager import Plugins

REMEDY = (
    "Correct it, or who may read its file. A running daemon notices within a minute; a service that gets it from systemd or a variable needs"
    " `systemctl restart tconnectsync`. `tconnectsync check` tests it."
)
_CORE = {
    "alerts": "Nobody is notified until this is corrected. Everything else works",
    "heartbeat": "The heartbeat's monitor is not called until this is corrected. Everything else works",
}
_OTHERS_WORK = "The other addresses get the notifications. Everything else works"


class UnusablePart(msgspec.Struct, frozen=True, kw_only=True):
    """``name``: its table, or the sinks; ``problems``: a sentence for each; ``consequence``: what does not work until then."""

    name: str
    problems: tuple[str, ...]
    consequence: str

    @property
    def words(self) -> str:
        """Everything in one line."""
        return ". ".join((*self.problems, self.consequence)) + "."


def core_parts(core: MergedTable) -> Iterator[UnusablePart]:
    """Yield ``alerts`` and ``heartbeat`` if their secret cannot be read, or a part of it is wrong."""
    for key, problem in core.unread_secrets.items():
        name = key.partition(".")[0]
        words = _CORE[name] if key in core.unusable else _OTHERS_WORK
        yield UnusablePart(name=name, problems=(problem,), consequence=words)


def section_part(name: str, problems: Sequence[str], plugins: Plugins) -> UnusablePart:
    """Return the section of a plugin that has neither sources nor sinks: only its commands need it."""
    commands = plugins.provided_by(plugins.owner_of("sections", name))["commands"]
    words = " and ".join(f"`tconnectsync {command}`" for command in commands) or f"Whatever needs [{name}]"
    return UnusablePart(
        name=name,
        problems=tuple(problems),
        consequence=f"{words} does not start until this is corrected. Everything else works",
    )


def sink_parts(unread: Mapping[str, Sequence[str]]) -> Iterator[UnusablePart]:
    """Yield the sinks whose secrets cannot be read; ``unread`` has their problems. Sinks with the same problems are together."""
    for problems in dict.fromkeys(map(tuple, unread.values())):
        names = [name for name, theirs in unread.items() if tuple(theirs) == problems]
        yield UnusablePart(
            name=", ".join(names),
            problems=problems,
            consequence=f"Nothing is delivered to {', '.join(names)} until this is corrected. Nothing is lost, and everything else works",
        )


def only_for_commands(section: str, plugins: Plugins) -> bool:
    """Whether the section's plugin has neither sources nor sinks, so that only its commands can need the section."""
    sources = {plugins.owner_of("sources", name) for name in plugins.sources()}
    sinks = {plugins.owner_of("sinks", name) for name in plugins.sinks()}
    return plugins.owner_of("sections", section) not in sources | sinks
