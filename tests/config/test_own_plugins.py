"""The folder of the user's own plugins."""

from __future__ import annotations

from pathlib import Path

import pytest

from tconnectsync.plugin.manager import load_plugins
from tests.config.fake_plugins import vendor_plugin

SINK = """
from __future__ import annotations
import attrs
from tconnectsync import SinkSpec, hookimpl, option

@attrs.frozen(kw_only=True)
class Options:
    path: str = option("out.txt")

@hookimpl
def tconnectsync_sinks():
    return [SinkSpec(name="my-file", options=Options, open=lambda options, context: None)]
"""


def test_a_file_of_the_folder_is_a_plugin_named_after_it(tmp_path: Path) -> None:
    (tmp_path / "my-sink.py").write_text(SINK)
    plugins = load_plugins([], tmp_path)
    plugins.call_all_hooks()
    assert plugins.problems == []
    assert list(plugins.sinks()) == ["my-file"]
    assert plugins.provided_by("my-sink")["sinks"] == ["my-file"]


def test_plugin_file_does_not_import(tmp_path: Path) -> None:
    """It is reported with its path."""
    (tmp_path / "broken.py").write_text("import nothing_like_this")
    (tmp_path / "fine.py").write_text(SINK)
    plugins = load_plugins([vendor_plugin()], tmp_path)
    assert [plugin.name for plugin in plugins.loaded] == ["tandem", "fine"]
    [(name, message)] = plugins.problems
    assert name == "broken"
    assert str(tmp_path / "broken.py") in message
    assert "nothing_like_this" in message


def test_a_syntax_error_is_one_line_of_words(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def (")
    [(_, message)] = load_plugins([], tmp_path).problems
    assert "SyntaxError" in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["_draft", "test_mine", "conftest"])
def test_files_that_are_no_plugins(tmp_path: Path, name: str) -> None:
    """Drafts, and the tests of a plugin, are left alone."""
    (tmp_path / f"{name}.py").write_text("raise RuntimeError")
    assert load_plugins([], tmp_path).problems == []


def test_a_file_can_be_blocked_by_name(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SINK)
    assert load_plugins([], tmp_path, ["mine"]).sinks() == {}


def test_a_folder_that_is_not_there_is_reported(tmp_path: Path) -> None:
    [(name, message)] = load_plugins([], tmp_path / "nowhere").problems
    assert name == "plugins_dir"
    assert "nowhere" in message


def test_a_file_named_like_an_installed_plugin_is_reported(tmp_path: Path) -> None:
    (tmp_path / "tandem.py").write_text(SINK)
    plugins = load_plugins([vendor_plugin()], tmp_path)
    assert plugins.sinks() == {}
    assert 'another plugin is named "tandem"' in plugins.problems[0].message


def test_plugins_that_others_may_write_are_not_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "fine.py").write_text(SINK)
    (folder / "open.py").write_text(SINK)
    (folder / "open.py").chmod(0o666)
    plugins = load_plugins([], folder)
    assert [plugin.name for plugin in plugins.loaded] == ["fine"]
    [(name, message)] = plugins.problems
    assert name == "open"
    assert f"chmod go-w {folder / 'open.py'}" in message
    folder.chmod(0o777)
    plugins = load_plugins([], folder)
    assert plugins.loaded == ()
    [(name, message)] = plugins.problems
    assert (name, f"chmod go-w {folder}" in message) == ("plugins_dir", True)
