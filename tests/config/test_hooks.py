"""One test per hook, named after it."""

from __future__ import annotations

import threading

import click
import pytest

from tconnectsync import Importer, Section, SourceSpec
from tconnectsync.plugin import spec as hookspecs
from tconnectsync.plugin.manager import load_plugins
from tests.config.fake_plugins import (
    FakeEntryPoint,
    SiteOptions,
    VendorOptions,
    make_plugin,
    site_plugin,
    vendor_plugin,
)


def test_tconnectsync_sources() -> None:
    """A source of a plugin can be configured under its name."""
    plugins = load_plugins([vendor_plugin()])
    assert list(plugins.sources()) == ["tandem"]
    assert plugins.sources()["tandem"].options is VendorOptions
    assert plugins.problems == []


def test_tconnectsync_sinks() -> None:
    """A sink of a plugin can be configured under its name."""
    plugins = load_plugins([site_plugin()])
    assert list(plugins.sinks()) == ["nightscout-treatments", "nightscout-profile"]
    assert plugins.problems == []


def test_tconnectsync_sections() -> None:
    """A section of a plugin is a top-level table."""
    plugins = load_plugins([site_plugin()])
    assert plugins.sections() == {"nightscout": Section(name="nightscout", options=SiteOptions)}


def test_tconnectsync_importers() -> None:
    """The kinds of files that a plugin can import are known by name."""
    papers = Importer(name="papers", recognises=lambda head: head == b"paper", read=lambda stream, options: iter(()))
    plugins = load_plugins([make_plugin("reader", tconnectsync_importers=lambda: [papers])])
    assert plugins.importers() == {"papers": papers}
    assert plugins.provided_by("reader")["importers"] == ["papers"]


def test_tconnectsync_commands() -> None:
    """A command of a plugin is offered beside the engine's own."""
    hello = click.Command("hello")
    plugins = load_plugins([make_plugin("greeter", tconnectsync_commands=lambda: [hello])])
    assert plugins.commands() == {"hello": hello}


def test_threads_see_every_plugin() -> None:
    """While one thread calls the hooks for the first time, another one gets everything too, not the plugins called so far."""
    seen: list[list[str]] = []

    def slow() -> list[object]:
        if not seen:  # in the middle of the first call, another thread asks
            seen.append([])
            other = threading.Thread(target=lambda: seen.append(list(plugins.sinks())))
            other.start()
            other.join(60)
        return []

    plugins = load_plugins([make_plugin("a", tconnectsync_sinks=slow), site_plugin()])
    assert list(plugins.sinks()) == ["nightscout-treatments", "nightscout-profile"]
    assert seen == [[], ["nightscout-treatments", "nightscout-profile"]]


def test_every_hook_has_its_test() -> None:
    hooks = {name for name in vars(hookspecs) if name.startswith("tconnectsync_")}
    assert {f"test_{hook}" for hook in hooks} <= set(globals())


def nothing() -> list[object]:
    return []


def broken_source() -> list[SourceSpec]:
    raise KeyError("boom")


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        pytest.param(FakeEntryPoint("bad", ImportError("no module named foo")), "no module named foo", id="import"),
        pytest.param(FakeEntryPoint("bad", SystemExit(3)), "cannot be imported", id="exits"),
        pytest.param(FakeEntryPoint("bad", None), "found None", id="nothing"),
        pytest.param(
            make_plugin("bad", tconnectsync_sources=broken_source), "tconnectsync_sources() failed", id="raises"
        ),
        pytest.param(make_plugin("bad", tconnectsync_sources=lambda: [42]), "expected SourceSpec", id="wrong type"),
        pytest.param(
            make_plugin("bad", tconnectsync_sources=lambda: 42), "tconnectsync_sources() failed", id="no list"
        ),
        pytest.param(
            make_plugin("bad", tconnectsync_sink=nothing), 'did you mean "tconnectsync_sinks"?', id="misspelt"
        ),
        pytest.param(
            make_plugin("bad", tconnectsync_sources=lambda wrong: []), "PluginValidationError", id="wrong argument"
        ),
    ],
)
def test_a_broken_plugin_is_reported_and_the_rest_runs(broken: FakeEntryPoint, words: str) -> None:
    plugins = load_plugins([broken, vendor_plugin()])
    plugins.call_all_hooks()
    assert list(plugins.sources()) == ["tandem"]
    [(name, message)] = plugins.problems
    assert name == "bad"
    assert words in message


def test_a_misspelt_hook_takes_its_plugin_out() -> None:
    plugins = load_plugins(
        [make_plugin("half", tconnectsync_sources=nothing, tconnectsync_snks=nothing), vendor_plugin()]
    )
    assert [plugin.name for plugin in plugins.loaded] == ["tandem"]


def test_a_hook_without_its_marker_is_reported() -> None:
    def unmarked() -> list[object]:
        return []

    entry = make_plugin("bare")
    entry.plugin.tconnectsync_sinks = unmarked
    assert "lacks @tconnectsync.hookimpl" in load_plugins([entry]).problems[0].message


def test_source_name_is_taken() -> None:
    """It is reported, and the first source stays."""
    plugins = load_plugins([vendor_plugin(), make_plugin("zzz", tconnectsync_sources=lambda: [spec_like_tandem()])])
    assert plugins.sources()["tandem"].options is VendorOptions
    assert plugins.problems[0].name == "zzz"
    assert 'plugin "tandem" already provides' in plugins.problems[0].message


def spec_like_tandem() -> SourceSpec:
    return SourceSpec(name="tandem", options=SiteOptions, open=lambda o, c: None, enabled=bool)  # type: ignore[arg-type,return-value]


def test_a_section_may_not_take_a_name_of_the_engine() -> None:
    taken = Section(name="daemon", options=SiteOptions)
    plugins = load_plugins([make_plugin("greedy", tconnectsync_sections=lambda: [taken])])
    assert plugins.sections() == {}
    assert "reserved" in plugins.problems[0].message


def test_options_that_are_no_attrs_class_are_reported() -> None:
    wrong = Section(name="odd", options=dict)
    plugins = load_plugins([make_plugin("odd", tconnectsync_sections=lambda: [wrong])])
    assert plugins.sections() == {}
    assert "expected an attrs class" in plugins.problems[0].message


def test_a_blocked_plugin_is_not_even_imported() -> None:
    plugins = load_plugins([FakeEntryPoint("bad", RuntimeError("imported")), vendor_plugin()], blocked=["bad"])
    plugins.call_all_hooks()
    assert plugins.problems == []
    assert plugins.blocked == ("bad",)


def test_the_same_entry_point_listed_twice_counts_once() -> None:
    entry = vendor_plugin()
    assert load_plugins([entry, entry]).problems == []
