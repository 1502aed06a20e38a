"""Finds and loads plugins. A faulty plugin does not affect the others: its problem is reported.

Plugins come from entry points (group ``tconnectsync``) and from a folder with the user's own ``.py`` files. Examples of
problems: an import error, a misspelt hook, an exception in a hook, a result of a wrong type, a name that is already used.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import attrs
import pluggy

from tconnectsync.folder_owner import who_else_may_write
from tconnectsync.plugin import spec as hookspecs
from tconnectsync.plugin.spec import Importer, Section, SinkSpec, SourceSpec

if TYPE_CHECKING:
    import click

GROUP = "tconnectsync"
_NO_PLUGIN = re.compile(r"_|test_|conftest\.py$")
"""The entry point group, and the prefix of every hook."""

RESERVED_TABLES = frozenset(
    {
        "alerts",
        "blocked_plugins",
        "daemon",
        "data_dir",
        "glucose_units",
        "heartbeat",
        "limits",
        "log_level",
        "plugins_dir",
        "sinks",
        "sources",
        "timezone",
        "zones",
    }
)
"""Top-level names of the configuration that a plugin's section cannot have."""

T = TypeVar("T")


class EntryPointLike(Protocol):
    """The used part of ``importlib.metadata.EntryPoint``."""

    @property
    def name(self) -> str: ...

    @property
    def value(self) -> str: ...

    def load(self) -> Any: ...


class PluginProblem(NamedTuple):
    """A problem of the plugin ``name``, in words."""

    name: str
    message: str


@attrs.frozen(kw_only=True)
class LoadedPlugin:
    """A loaded plugin. ``origin`` is the module of its entry point, or the path of its file."""

    name: str
    origin: str
    plugin: object = attrs.field(repr=False)


@attrs.define(kw_only=True)
class Plugins:
    """The plugins that were found, and what they provide.

    A hook is called only when its result is needed, so that ``--help`` stays fast. Each call can add to ``problems``;
    :meth:`call_all_hooks` makes the list complete.
    """

    loaded: tuple[LoadedPlugin, ...]
    blocked: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    """The names of all plugins that were found, also of those that are not loaded."""
    problems: list[PluginProblem] = attrs.field(factory=list)
    _hooks: pluggy.PluginManager = attrs.field(repr=False)
    _by_kind: dict[str, dict[str, tuple[str, Any]]] = attrs.field(factory=dict, repr=False)
    """"sources", "sinks" and so on: each thing by its name, with the plugin that provides it."""

    @property
    def blocked_in_vain(self) -> tuple[str, ...]:
        """Blocked names that no plugin has."""
        return tuple(name for name in self.blocked if name not in self.known)

    def sources(self) -> dict[str, SourceSpec]:
        """Return every source that can be configured, by name."""
        return self._provided("sources", SourceSpec)

    def sinks(self) -> dict[str, SinkSpec]:
        """Return every sink that can be configured, by name."""
        return self._provided("sinks", SinkSpec)

    def sections(self) -> dict[str, Section]:
        """Return every shared table of the configuration, by name."""
        return self._provided("sections", Section, reserved=RESERVED_TABLES)

    def importers(self) -> dict[str, Importer]:
        """Return every kind of file that can be imported, by name."""
        return self._provided("importers", Importer)

    def commands(self) -> dict[str, click.Command]:
        """Return every command that a plugin adds, by name."""
        import click

        return self._provided("commands", click.Command)

    def command_variables(self) -> set[str]:
        """Return the variables that options of the plugins' commands can be set with."""
        from tconnectsync.plugin.command_variables import variables_of_command

        return {variable for command in self.commands().values() for variable in variables_of_command(command)}

    def provided_by(self, name: str) -> dict[str, list[str]]:
        """Return what the plugin ``name`` provides: names by "sources", "sinks", "sections", "importers" and "commands"."""
        self.call_all_hooks()
        return {
            kind: [thing for thing, (owner, _) in found.items() if owner == name]
            for kind, found in self._by_kind.items()
        }

    def owner_of(self, kind: str, thing: str) -> str:
        """Return the plugin that provides ``thing`` of the ``kind`` "sources", "sinks", "sections", "importers" or "commands"."""
        return self._by_kind[kind][thing][0]

    def call_all_hooks(self) -> None:
        """Call every hook now, so that ``problems`` is complete."""
        for hook in (self.sources, self.sinks, self.sections, self.importers, self.commands):
            hook()

    def problem(self, name: str, message: str) -> None:
        """Report something about the plugin ``name``, once."""
        entry = PluginProblem(name, message)
        if entry not in self.problems:
            self.problems.append(entry)

    def _provided(self, kind: str, of_type: type[T], *, reserved: frozenset[str] = frozenset()) -> dict[str, T]:
        """Call the hook for ``kind`` once, and return the usable results by name. ``reserved`` names are not usable."""
        if kind not in self._by_kind:
            found: dict[str, tuple[str, Any]] = {}
            word = kind.removesuffix("s")
            for loaded in self.loaded:
                for thing in self._call(loaded, f"{GROUP}_{kind}", of_type):
                    name = getattr(thing, "name", None)
                    fault = _options_fault(thing)
                    if not name or not isinstance(name, str):
                        self.problem(loaded.name, f"a {word} without a name; it is not used")
                        continue
                    if name in reserved:
                        fault = "this name is reserved"
                    elif name in found:
                        fault = f'plugin "{found[name][0]}" already provides this name'
                    if fault:
                        self.problem(loaded.name, f'{word} "{name}": {fault}; it is not used')
                    else:
                        found[name] = (loaded.name, thing)
            self._by_kind[kind] = found  # only now: another thread must never see a part
        return {name: thing for name, (_, thing) in self._by_kind[kind].items()}

    def _call(self, loaded: LoadedPlugin, hook: str, kind: type[T]) -> list[T]:
        """Return one plugin's results for ``hook``. A result that is not a ``kind`` is a problem of the plugin."""
        others = [other.plugin for other in self.loaded if other is not loaded]
        caller = self._hooks.subset_hook_caller(hook, remove_plugins=others)
        try:
            answers = [list(answer) for answer in caller() if answer is not None]
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the border to a plugin
            self.problem(loaded.name, f"{hook}() failed: {_words(error)}")
            return []
        things: list[T] = []
        for thing in (thing for answer in answers for thing in answer):
            if isinstance(thing, kind):
                things.append(thing)
            else:
                self.problem(loaded.name, f"{hook}() returned {thing!r:.80}, expected {kind.__name__}")
        return things


def load_plugins(
    entry_points: Iterable[EntryPointLike] | None = None,
    folder: Path | None = None,
    blocked: Sequence[str] = (),
) -> Plugins:
    """Import and register every plugin that is not blocked.

    ``entry_points``: None means the installed ones of :data:`GROUP`. ``folder`` has the user's own ``*.py`` files; tests and
    names that start with ``_`` are skipped. A plugin's name is that of its entry point, or of its file without ``.py``.
    """
    hooks = pluggy.PluginManager(GROUP)
    hooks.add_hookspecs(hookspecs)
    plugins = Plugins(loaded=(), blocked=tuple(dict.fromkeys(blocked)), hooks=hooks)
    loaded: list[LoadedPlugin] = []
    found = [*_installed(entry_points), *_own_files(folder, plugins)]
    plugins.known = tuple(dict.fromkeys(name for name, _, _ in found))
    for name, origin, load in found:
        if name in plugins.blocked:
            continue
        try:
            plugin = load()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the border to a plugin
            plugins.problem(name, f"{origin} cannot be imported: {_words(error)}")
            continue
        fault = _registration_fault(hooks, plugin, name)
        if fault:
            plugins.problem(name, f"{origin}: {fault}")
            continue
        loaded.append(LoadedPlugin(name=name, origin=origin, plugin=plugin))
        for hook in _unmarked_hooks(plugin):
            plugins.problem(name, f"{origin}: {hook}() lacks @tconnectsync.hookimpl, so it is never called")
    for name, message in _unknown_hooks(hooks):
        plugins.problem(name, message)
    plugins.loaded = tuple(entry for entry in loaded if hooks.is_registered(entry.plugin))
    return plugins


def _installed(entry_points: Iterable[EntryPointLike] | None) -> list[tuple[str, str, Callable[[], Any]]]:
    if entry_points is None:
        from importlib.metadata import entry_points as installed

        entry_points = installed(group=GROUP)
    # with an editable and a built install, the same entry point is listed twice
    unique = {(point.name, point.value): point for point in entry_points}
    return [(name, value, unique[name, value].load) for name, value in sorted(unique)]


def _own_files(folder: Path | None, plugins: Plugins) -> list[tuple[str, str, Callable[[], Any]]]:
    if folder is None:
        return []
    try:
        others = who_else_may_write(folder)
        files = sorted(path for path in folder.iterdir() if path.suffix == ".py" and not _NO_PLUGIN.match(path.name))
    except OSError as error:
        plugins.problem("plugins_dir", f"{folder} cannot be read: {error.strerror or error}")
        return []
    if others is not None and files:
        plugins.problem("plugins_dir", f"{folder}: no plugin in it was loaded, because {others}")
        return []
    return [(path.stem, str(path), _file_loader(path)) for path in files]


def _file_loader(path: Path) -> Callable[[], Any]:
    def load() -> Any:
        from importlib.util import module_from_spec, spec_from_file_location

        others = who_else_may_write(path)
        if others is not None:
            raise PermissionError(f"it was not loaded, because {others}")
        module_name = f"{GROUP}_own_{path.stem}"
        spec = spec_from_file_location(module_name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is not a Python file")
        module = module_from_spec(spec)
        # attrs and cattrs look up a class's module by name
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[module_name]
            raise
        return module

    return load


def _registration_fault(hooks: pluggy.PluginManager, plugin: object, name: str) -> str | None:
    """Register ``plugin``. Return the problem if that is not possible."""
    if hooks.has_plugin(name):
        return f'another plugin is named "{name}"; this one is not used'
    if plugin is None:
        return "found None, expected a module or an object with hooks"
    try:
        hooks.register(plugin, name=name)
    except (pluggy.PluginValidationError, ValueError) as error:
        if hooks.get_plugin(name) is plugin:
            hooks.unregister(plugin)
        return f"{_words(error)}; the plugin is not used"
    return None


def _unmarked_hooks(plugin: object) -> list[str]:
    return [
        name
        for name, value in getattr(plugin, "__dict__", {}).items()
        if name.startswith(f"{GROUP}_") and inspect.isfunction(value) and not hasattr(value, f"{GROUP}_impl")
    ]


def _unknown_hooks(hooks: pluggy.PluginManager) -> list[PluginProblem]:
    """Unregister plugins with unknown hooks, because such a plugin would work only in part. Return their problems."""
    problems: list[PluginProblem] = []
    known = [name for name in vars(hookspecs) if name.startswith(f"{GROUP}_")]
    while True:
        try:
            hooks.check_pending()
        except pluggy.PluginValidationError as error:
            name = hooks.get_name(error.plugin) or "?"
            wrong = [caller.name for caller in hooks.get_hookcallers(error.plugin) or () if not caller.has_spec()]
            hooks.unregister(error.plugin)
            words = ", ".join(f"there is no hook {hook}{_nearest(hook, known)}" for hook in wrong)
            problems.append(PluginProblem(name, f"{words}; the plugin is not used"))
        else:
            return problems


def _options_fault(thing: object) -> str | None:
    """Return why the options class of a source, sink or section cannot be used; else None."""
    options = getattr(thing, "options", None)
    if options is None:
        return None
    if not (isinstance(options, type) and attrs.has(options)):
        return f"its options are {options!r:.80}, expected an attrs class"
    try:
        attrs.resolve_types(options)
    except (NameError, AttributeError, TypeError) as error:
        return f"the types of {options.__name__} cannot be resolved ({error}); import them outside of TYPE_CHECKING"
    return None


def _nearest(word: str, known: Sequence[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word, known, n=1)
    return f' (did you mean "{near[0]}"?)' if near else ""


def _words(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
