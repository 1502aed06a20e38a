"""Builds options classes from the tables of a configuration file, with a sentence for every problem."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from tconnectsync.config.alert_options import CORE_SECRETS
from tconnectsync.config.config_file import ConfigFile
from tconnectsync.config.environment import ConfigSources, MergedTable, merge_sources, variables_of
from tconnectsync.config.error_words import UNKNOWN_KEY, did_you_mean, found_words, nearest, unknown_key_words
from tconnectsync.config.option_types import is_secret, key_of
from tconnectsync.config.validation import ValidationIssue, structure

if TYPE_CHECKING:
    from tconnectsync.plugin.manager import Plugins

T = TypeVar("T")


@attrs.define(kw_only=True)
class Tables:
    """Reads one file and collects problems and notes.

    A problem is a sentence ``file: key.path: found X, expected Y``. It starts with the variable or credential instead of the
    file if the value came from there.
    """

    file: ConfigFile
    sources: ConfigSources
    plugins: Plugins
    problems: list[str] = attrs.field(factory=list)
    temporary: set[str] = attrs.field(factory=set)
    """The problems that may disappear without an edit: a file that cannot be read now."""
    notes: list[str] = attrs.field(factory=list)

    def add_problem(self, key: str, words: str) -> None:
        """Add a problem with a key of the file."""
        self.problems.append(f"{self.file.name}: {key}: {words}")

    def variable(self, name: str) -> str:
        """Return an environment variable; empty if it is not set."""
        return self.sources.environ.get(name, "").strip()

    def table_at(self, *names: str) -> Mapping[str, Any]:
        """Return the table of the file at ``names``; add a problem if the value there is not a table."""
        table: Any = self.file.tables
        for depth, name in enumerate(names):
            table = table.get(name, {})
            if not isinstance(table, dict):
                self.add_problem(".".join(names[: depth + 1]), f"found {found_words(table)}, expected a table")
                return {}
        found: Mapping[str, Any] = table
        return found

    def build(
        self,
        options: type[T],
        given: Mapping[str, Any],
        name: str,
        *,
        required: bool = True,
        without_secrets: bool = False,
    ) -> tuple[T | None, MergedTable]:
        """Return ``given`` as ``options``, after the merge with the other sources; None if there are problems.

        ``required`` False: the part is off, so missing keys are no problem. ``without_secrets``: a secret whose file cannot be
        used is no problem here, but an entry in ``unread_secrets``, and the options lack it.
        """
        prefix = f"{name}." if name else ""
        overlay = merge_sources(options, given, self.sources, prefix=prefix)
        unread = overlay.unread_secrets if without_secrets else {}
        self.problems.extend(problem for problem in overlay.problems if problem not in unread.values())
        self.notes.extend(overlay.notes)
        self.temporary |= overlay.temporary
        built, faults = structure(overlay.raw, options)
        overlay.bad_keys |= overlay.unusable | {prefix + key for fault in faults for key in _keys_of(fault)}
        overlay.valid_options = built
        if built is None:
            rest = {key: value for key, value in overlay.raw.items() if prefix + key not in overlay.bad_keys}
            overlay.valid_options = structure(rest, options)[0]
        for fault in faults:
            key = (prefix + fault.path) if fault.path else name
            if fault.missing and (key in overlay.unusable or not required):
                continue
            origin = overlay.origins.get(re.sub(r"\[.*", "", key))
            if origin is None:
                self.add_problem(key, fault.words + self._right_place_hint(key, fault.words))
            else:
                self.problems.append(f"{origin}: {fault.words}")
        return (None if overlay.unusable - unread.keys() else built), overlay

    def check_top_level(self, known: Sequence[str]) -> None:
        """Add problems for keys of the top level that are not ``known``."""
        for key, value in self.file.tables.items():
            if key not in known and not (isinstance(value, dict) and self._is_of_inactive_plugin(key, key, known)):
                words = unknown_key_words(key, known)
                self.add_problem(key, words + self._right_place_hint(key, words))

    def check_members(self, group: str, known: Sequence[str]) -> None:
        """Add problems for tables below ``[group]`` that no plugin provides."""
        for name, value in self.table_at(group).items():
            if name not in known and not (
                isinstance(value, dict) and self._is_of_inactive_plugin(name, f"{group}.{name}", known)
            ):
                words = f"found an unknown {group.removesuffix('s')}{did_you_mean(name, known)}"
                self.add_problem(f"{group}.{name}", words)

    def enabled_in(self, table: Mapping[str, Any], name: str) -> bool | None:
        """Return the table's ``enabled`` key; None if it is missing or wrong."""
        given = table.get("enabled")
        if given is None or isinstance(given, bool):
            return given
        self.add_problem(f"{name}.enabled", f"found {found_words(given)}, expected true or false")
        return None

    def variables(self) -> Iterator[tuple[str, str]]:
        """Yield every variable of a plugin, with the dotted key that it sets."""
        for name, options in plugin_tables(self.plugins):
            yield from variables_of(options, f"{name}.")

    def _is_of_inactive_plugin(self, name: str, key: str, known: Sequence[str]) -> bool:
        """Whether a table belongs, or may belong, to a plugin that is not loaded: then it is a note, not a problem."""
        absent = {
            **{problem.name: "has a problem: see `tconnectsync plugins`" for problem in self.plugins.problems},
            **dict.fromkeys(self.plugins.blocked, "is blocked"),
        }
        owner = next((plugin for plugin in absent if name == plugin or name.startswith(f"{plugin}-")), None)
        if owner is None and absent and nearest(name, known) is None:
            owner = next(iter(absent))
        if owner is None:
            return False
        self.notes.append(f'{self.file.name}: [{key}] is ignored: plugin "{owner}" {absent[owner]}')
        return True

    def _right_place_hint(self, key: str, words: str) -> str:
        """Return a hint if the same key exists in another table, or if the key is the name of a variable; else ""."""
        if not words.startswith(UNKNOWN_KEY) or "did you mean" in words:
            return ""
        last = key.rpartition(".")[2]
        for variable, path in self.variables():
            if last.casefold() == variable.casefold() or last == path.rpartition(".")[2]:
                return f'; did you mean "{path}"?'
        return ""


def plugin_tables(plugins: Plugins) -> Iterator[tuple[str, type[Any]]]:
    """Yield every table of a plugin, with its options class."""
    yield from ((name, section.options) for name, section in plugins.sections().items())
    yield from ((f"sources.{name}", source.options) for name, source in plugins.sources().items())
    yield from ((f"sinks.{name}", sink.options) for name, sink in plugins.sinks().items())


def has_secret(file: ConfigFile, plugins: Plugins) -> bool:
    """Whether the file itself contains a secret, not only the path of a secret file."""
    for name, options in (*CORE_SECRETS.items(), *plugin_tables(plugins)):
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
    """Return the key that an issue is about, and the key that was probably meant."""
    meant = re.search(r'did you mean "([^"]*)"', fault.words) if fault.words.startswith(UNKNOWN_KEY) else None
    return [key for key in (re.split(r"[.\[]", fault.path, maxsplit=1)[0], meant and meant[1]) if key]
