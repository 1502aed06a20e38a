"""The rooms of the product, and which room may import which."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GROUND = frozenset(
    {
        "errors",
        "exit_status",
        "clock",
        "waits",
        "filesystem",
        "folder_owner",
        "linux_capabilities",
        "disk_check",
        "storage_errors",
        "json_converter",
        "text",
    }
)
"""Everything may use these, and they use nothing but each other."""

ALLOWED: dict[str, frozenset[str]] = {
    "exit_status": frozenset(),
    "errors": frozenset({"text", "exit_status"}),
    "clock": frozenset({"waits"}),
    "waits": frozenset(),
    "text": frozenset(),
    "disk_check": frozenset({"storage_errors"}),
    "storage_errors": frozenset(),
    "json_converter": frozenset(),
    "linux_capabilities": frozenset(),
    "folder_owner": frozenset({"linux_capabilities", "errors"}),
    "filesystem": frozenset({"errors", "folder_owner"}),
    "events": frozenset(),
    "retry": frozenset(),
    "health": frozenset({"retry"}),
    "plugin": frozenset({"events", "retry"}),
    "eventlog": frozenset({"events"}),
    "timeline": frozenset({"events", "eventlog"}),
    "statistics": frozenset({"events", "eventlog", "timeline"}),
    "outbox": frozenset({"events", "retry", "health", "plugin"}),
    "projection": frozenset({"events", "plugin", "eventlog", "timeline", "outbox"}),
    "ingest": frozenset({"events", "retry", "health", "plugin", "eventlog"}),
    "config": frozenset({"plugin", "timeline", "events"}),
    "reconcile": frozenset({"events", "retry", "plugin", "eventlog", "timeline", "outbox", "projection"}),
    "runtime": frozenset(
        {
            "events",
            "retry",
            "health",
            "plugin",
            "eventlog",
            "timeline",
            "outbox",
            "projection",
            "ingest",
            "config",
            "reconcile",
        }
    ),
    "alerts": frozenset({"events", "retry", "health", "plugin", "eventlog", "timeline", "config"}),
}
"""In addition to the ground: the rooms that each room may import. One that is missing here may import all before it."""
TESTING = frozenset({"events", "plugin", "eventlog", "outbox", "projection"})
"""What ``testing`` may import: the contracts for plugin authors. No room imports it, so that nobody needs pytest."""
UPPER = ("python_api", "jobs", "daemon", "queries", "cli")
"""From the bottom up; each may import all that lies below it."""


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "face"


def modules(folder: Path) -> dict[str, Path]:
    """Every module below the folder by its dotted name."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        name = ".".join(path.relative_to(folder.parent).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules that this one imports, also inside functions and for type checking only."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in known else node.module


def allowed_for(room: str) -> frozenset[str]:
    if room == "testing":
        return GROUND | TESTING
    if room in ALLOWED:
        return ALLOWED[room] | (frozenset() if room in GROUND else GROUND)
    below = frozenset(UPPER[: UPPER.index(room)]) if room in UPPER else frozenset()
    return GROUND | frozenset(ALLOWED) | below


ENGINE = modules(ROOT / "tconnectsync")
PLUGINS = sorted((ROOT / "plugins").glob("tconnectsync_*"))


def test_rooms_import_what_the_table_allows() -> None:
    """Every import between rooms is in the table, and a new room needs a row."""
    wrong = []
    for name, path in ENGINE.items():
        room = room_of(name)
        if room in ("face", "__main__"):
            continue
        assert room in ALLOWED or room in (*UPPER, "testing"), f"the room {room!r} has no row in the table"
        others = [
            target for target in imports(path, ENGINE) if target in ENGINE and room_of(target) not in (room, "face")
        ]
        wrong += [f"{name} imports {target}" for target in others if room_of(target) not in allowed_for(room)]
    assert not wrong, "\n".join(wrong)


def test_the_table_has_no_circle() -> None:
    """A room may never import a room that may import it, directly or through others."""

    def reachable(room: str, seen: set[str]) -> set[str]:
        for other in allowed_for(room) - seen:
            seen.add(other)
            reachable(other, seen)
        return seen

    assert [room for room in (*ALLOWED, *UPPER) if room in reachable(room, set())] == []


def test_no_circle_between_modules() -> None:
    """No module imports itself through others, lazily or not."""
    arrows = {name: {t for t in imports(path, ENGINE) if t in ENGINE and t != name} for name, path in ENGINE.items()}
    arrows["tconnectsync"] = set()  # the face names its homes for type checkers and loads them when first used
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for target in arrows[name]:
                visit(target, (*trail, name))
            done.add(name)

    for name in arrows:
        visit(name, ())


def test_each_class_has_its_own_name() -> None:
    """No two classes of the engine and the plugins have one name, so that a search for a name finds one class."""
    homes: dict[str, list[str]] = {}
    for name, path in (ENGINE | {name: path for plugin in PLUGINS for name, path in modules(plugin).items()}).items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(name)
    assert {name: modules for name, modules in homes.items() if len(modules) > 1} == {}


def test_names_of_tests_are_short() -> None:
    """At most 55 characters; a docstring has the rest."""
    names = [
        name
        for path in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r"^ *def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert len(names) > 2000
    assert [name for name in names if len(name) > 55] == []


def test_each_class_of_the_tests_has_its_own_name() -> None:
    """No class of a module of tests or benchmarks has the name of another one, or of one of the product."""
    helpers = [path for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    product = [*ENGINE.values(), *(path for plugin in PLUGINS for path in modules(plugin).values())]
    homes: dict[str, list[str]] = {}
    for path in (*helpers, *product):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}


def test_modules_and_functions_are_short() -> None:
    """No module of the engine or a plugin is longer than 350 lines, and no function than 60."""
    long = []
    for path in (*ENGINE.values(), *(path for plugin in PLUGINS for path in modules(plugin).values())):
        text = path.read_text(encoding="utf-8")
        where = path.relative_to(ROOT)
        if len(text.splitlines()) > 350:
            long.append(f"{where}: {len(text.splitlines())} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                long += [f"{where}: {node.name} has {lines}"] if lines > 60 else []
    assert not long, "\n".join(long)


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_plugins_import_the_public_face_only(plugin: Path) -> None:
    """A plugin of this repository uses what every plugin may use, and no other plugin."""
    faces = {"tconnectsync", "tconnectsync.testing"} | {name for name in ENGINE if room_of(name) == "events"}
    own = modules(plugin)
    wrong = []
    for name, path in own.items():
        for target in imports(path, own | ENGINE):
            inside = target.split(".")[0]
            if inside.startswith("tconnectsync") and inside != plugin.name and target not in faces:
                wrong.append(f"{name} imports {target}")
    assert not wrong, "\n".join(wrong)


def test_the_document_has_the_same_table() -> None:
    """The rooms in ``docs/engineering/architecture.md`` are these, with the same arrows."""
    text = (ROOT / "docs" / "engineering" / "architecture.md").read_text(encoding="utf-8")
    table = text.partition("| room | holds | may import |\n|---|---|---|\n")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]
    ground, *others = [([name.strip("`/") for name in rooms.split(", ")], arrows) for rooms, _, arrows in rows]
    assert set(ground[0]) == GROUND
    assert [name for names, _ in others for name in names] == [
        *(room for room in ALLOWED if room not in GROUND),
        *UPPER,
        "testing",
    ]
    for (name, *_), arrows in others:
        if name in ALLOWED and arrows != "every room above":
            assert set(arrows.split(", ")) - {"ground"} == ALLOWED[name], name
        if name == "testing":
            assert set(arrows.split(", ")) == TESTING
