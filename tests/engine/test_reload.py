"""A reload never leaves the daemon without an engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from tconnectsync.daemon.loop import LoadedConfig, _Running
from tconnectsync.errors import ConfigError


@attrs.define
class FakeEngine:
    name: str
    closed: bool = False

    def close(self) -> None:
        self.closed = True


def loaded(open_engine: Callable[[], Any]) -> LoadedConfig:
    return LoadedConfig(open_engine, lambda day: None)


def test_reload_new_configuration() -> None:
    """The new configuration is in force after a reload."""
    old, new = FakeEngine("old"), FakeEngine("new")
    fresh = loaded(lambda: new)
    running = _Running(loaded(lambda: old), old)  # type: ignore[arg-type]
    running.reload(lambda: fresh)
    assert running.engine is new  # type: ignore[comparison-overlap]
    assert running.loaded is fresh
    assert old.closed


def test_reload_wrong_configuration() -> None:
    """A wrong configuration changes nothing."""

    def refuse() -> LoadedConfig:
        raise ConfigError(("timezone: found nothing",))

    old = FakeEngine("old")
    running = _Running(loaded(lambda: old), old)  # type: ignore[arg-type]
    running.reload(refuse)
    assert running.engine is old  # type: ignore[comparison-overlap]
    assert not old.closed


def test_reload_refused_by_plugin() -> None:
    """If a plugin refuses the new configuration, the old one is opened again."""

    def fail() -> Any:
        raise ValueError("a plugin's own")

    old, again = FakeEngine("old"), FakeEngine("again")
    before = loaded(lambda: again)
    running = _Running(before, old)  # type: ignore[arg-type]
    running.reload(lambda: loaded(fail))
    assert running.engine is again  # type: ignore[comparison-overlap]
    assert running.loaded is before
    assert old.closed
