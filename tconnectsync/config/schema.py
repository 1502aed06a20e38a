"""The tables of a configuration file as options classes, with a sentence for everything that is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from tconnectsync.config.alert_options import CORE_SECRETS
from tconnectsync.config.environment import ConfigSources, MergedTable, lay_over, variables_of
from tconnectsync.config.file import ConfigFile
from tconnectsync.config.messages import UNKNOWN_KEY, found_words, nearest, unknown_key_words
from tconnectsync.config.option_types import is_secret, key_of
from tconnectsync.config.validation import ValidationIssue, structure

if TYPE_CHECKING:
    from tconnectsync.plugin.manager import Plugins

T = TypeVar("T")


@attrs.define(kw_only=True)
class Tables:
    """One reading of the file; problems and notes gather on the way.

    Every problem is a sentence ``file: key.path: found X, expected Y``, or starts with the variable or credential that
    gave the value.
    """

    file: ConfigFile
    around: ConfigSources
    plugins: Plugins
    problems: list[str] = attrs.field(factory=list)
    passing: set[str] = attrs.field(factory=set)
    """Those of the problems that may pass without an edit: a file that cannot be read now."""
    notes: list[str] = attrs.field(factory=list)

    def fault(self, key: str, words: str) -> None:
        """Note a problem of the file."""
        self.problems.append(f"{self.file.name}: {key}: {words}")

    def variable(self, name: str) -> str:
        """An environment variable; empty where it is not set."""
        return self.around.environ.get(name, "").strip()

    def given(self, *names: str) -> Mapping[str, Any]:
        """The table of the file at ``names``; something else there is a problem."""
        table: Any = self.file.tables
        for depth, name in enumerate(names):
            table = table.get(name, {})
            if not isinstance(table, dict):
                self.fault(".".join(names[: depth + 1]), f"found {found_words(table)}, expected a table")
                return {}
        found: Mapping[str, Any] = table
        return found

    def build(
        self, options: type[T], given: Mapping[str, Any], name: str, *, required: bool = True
    ) -> tuple[T | None, MergedTable]:
        """``given`` with everything laid over it, as ``options``; None where that cannot be, with the problems noted.

        ``required`` false: missing keys are no problem (the part is off).
        """
        prefix = f"{name}." if name else ""
        overlay = lay_over(options, given, self.around, prefix=prefix)
        self.problems.extend(overlay.problems)
        self.notes.extend(overlay.notes)
        self.passing |= overlay.passing
        built, faults = structure(overlay.raw, options)
        overlay.faulty |= overlay.broken | {prefix + key for fault in faults for key in _keys_of(fault)}
        overlay.sound = built
        if built is None:
            rest = {key: value for key, value in overlay.raw.items() if prefix + key not in overlay.faulty}
            overlay.sound = structure(rest, options)[0]
        for fault in faults:
            key = (prefix + fault.path) if fault.path else name
            if fault.missing and (key in overlay.broken or not required):
                continue
            origin = overlay.origins.get(re.sub(r"\[.*", "", key))
            if origin is None:
                self.fault(key, fault.words + self._elsewhere(key, fault.words))
            else:
                self.problems.append(f"{origin}: {fault.words}")
        return (None if overlay.broken else built), overlay

    def top_level(self, known: Sequence[str]) -> None:
        """Problems with keys of the top level that are not ``known``."""
        for key, value in self.file.tables.items():
            if key not in known and not (isinstance(value, dict) and self._explained(key, key, known)):
                words = unknown_key_words(key, known)
                self.fault(key, words + self._elsewhere(key, words))

    def members(self, group: str, known: Sequence[str]) -> None:
        """Problems with tables below ``[group]`` that nothing brings."""
        for name, value in self.given(group).items():
            if name not in known and not (isinstance(value, dict) and self._explained(name, f"{group}.{name}", known)):
                meant = nearest(name, known)
                choices = f"one of {', '.join(known)}" if known else "none"
                expected = f'; did you mean "{meant}"?' if meant else f", expected {choices}"
                self.fault(f"{group}.{name}", f"found an unknown {group.removesuffix('s')}{expected}")

    def switch(self, table: Mapping[str, Any], name: str) -> bool | None:
        """The table's own ``enabled``."""
        given = table.get("enabled")
        if given is None or isinstance(given, bool):
            return given
        self.fault(f"{name}.enabled", f"found {found_words(given)}, expected true or false")
        return None

    def variables(self) -> Iterator[tuple[str, str]]:
        """Every variable that a plugin knows, with the dotted key that it sets."""
        for name, options in parts_of(self.plugins):
            yield from variables_of(options, f"{name}.")

    def _explained(self, name: str, key: str, known: Sequence[str]) -> bool:
        """Whether a table belongs, or may belong, to a plugin that is not running: then it is a note, not a problem."""
        absent = {
            **{problem.name: "has a problem: see `tconnectsync plugins`" for problem in self.plugins.problems},
            **dict.fromkeys(self.plugins.blocked, "is blocked"),
        }
        owner = next((plugin for plugin in absent if name == plugin or name.startswith(f"{plugin}-")), None)
        if owner is None and absent and nearest(name, known) is None:
            owner = next(iter(absent))
        if owner is None:
            return False
        self.notes.append(f'{self.file.name}: [{key}] means nothing now: plugin "{owner}" {absent[owner]}')
        return True

    def _elsewhere(self, key: str, words: str) -> str:
        """Where a misplaced key belongs: the same last part in another table, or the key that a variable's name sets."""
        if not words.startswith(UNKNOWN_KEY) or "did you mean" in words:
            return ""
        last = key.rpartition(".")[2]
        for variable, path in self.variables():
            if last.casefold() == variable.casefold() or last == path.rpartition(".")[2]:
                return f'; did you mean "{path}"?'
        return ""


def parts_of(plugins: Plugins) -> Iterator[tuple[str, type[Any]]]:
    """Every table that a plugin owns, with its options class."""
    yield from ((name, section.options) for name, section in plugins.sections().items())
    yield from ((f"sources.{name}", source.options) for name, source in plugins.sources().items())
    yield from ((f"sinks.{name}", sink.options) for name, sink in plugins.sinks().items())


def holds_secret(file: ConfigFile, plugins: Plugins) -> bool:
    """Whether the file itself holds a secret (not the path of one)."""
    for name, options in (*CORE_SECRETS.items(), *parts_of(plugins)):
        table: Any = file.tables
        for part in name.split("."):
            table = table.get(part) if isinstance(table, dict) else None
        attrs.resolve_types(options)
        if isinstance(table, dict) and any(
            is_secret(field.type) and table.get(key_of(field)) for field in attrs.fields(options)
        ):
            return True
    return False


def _keys_of(fault: ValidationIssue) -> list[str]:
    """The key of the table that a fault is about, and the one that was meant by a misspelt one."""
    meant = re.search(r'did you mean "([^"]*)"', fault.words) if fault.words.startswith(UNKNOWN_KEY) else None
    return [key for key in (re.split(r"[.\[]", fault.path, maxsplit=1)[0], meant and meant[1]) if key]
