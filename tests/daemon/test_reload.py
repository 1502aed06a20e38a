"""A reload never leaves the daemon without an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import pytest

from tconnectsync.daemon import loop
from tconnectsync.daemon.loop import LoadedConfig, _RunningDaemon
from tconnectsync.errors import ConfigError


@attrs.define
class ClosableEngine:
    name: str
    closed: bool = False
    runners: Mapping[str, object] = attrs.field(factory=dict)

    def finish_sending(self, alive: Callable[[], None]) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def loaded(open_engine: Callable[[], Any]) -> LoadedConfig:
    return LoadedConfig(open_engine, lambda day: None)


def test_reload_new_configuration() -> None:
    """The new configuration is in force after a reload."""
    old, new = ClosableEngine("old"), ClosableEngine("new")
    fresh = loaded(lambda: new)
    running = _RunningDaemon(loaded(lambda: old), old)  # type: ignore[arg-type]
    running.reload(lambda: fresh)
    assert running.engine is new  # type: ignore[comparison-overlap]
    assert running.loaded is fresh
    assert old.closed


def test_reload_wrong_configuration() -> None:
    """A wrong configuration changes nothing."""

    def refuse() -> LoadedConfig:
        raise ConfigError(("timezone: found nothing",))

    old = ClosableEngine("old")
    running = _RunningDaemon(loaded(lambda: old), old)  # type: ignore[arg-type]
    running.reload(refuse)
    assert running.engine is old  # type: ignore[comparison-overlap]
    assert not old.closed


def test_reload_refused_by_plugin() -> None:
    """If a plugin refuses the new configuration, the old one is opened again."""

    def fail() -> Any:
        raise ValueError("a plugin's own")

    old, again = ClosableEngine("old"), ClosableEngine("again")
    before = loaded(lambda: again)
    running = _RunningDaemon(before, old)  # type: ignore[arg-type]
    running.reload(lambda: loaded(fail))
    assert running.engine is again  # type: ignore[comparison-overlap]
    assert running.loaded is before
    assert old.closed


def test_failed_reload_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret is readable again, but a plugin refuses it: the daemon tries again when something changed."""
    monkeypatch.setattr(loop, "LOOK_AGAIN_S", 0.0)

    def fail() -> Any:
        raise ValueError("a plugin's own")

    old = ClosableEngine("old")
    before = attrs.evolve(loaded(lambda: old), unusable=("mqtt: lost",), config_id="1")
    wrong = attrs.evolve(loaded(fail), config_id="2")
    running = _RunningDaemon(before, old)  # type: ignore[arg-type]
    assert running.has_news(lambda: wrong)
    running.reload(lambda: wrong)
    assert not running.has_news(lambda: wrong)
    assert running.has_news(lambda: attrs.evolve(wrong, config_id="3")), "another secret"
    assert not running.has_news(lambda: before)
    assert running.has_news(lambda: wrong), "it was lost in between"


class Watching:
    """What watches the daemon with one configuration."""

    def __init__(self, world: list[str], name: str) -> None:
        self.world, self.name = world, name
        world.append(f"{name} begins")

    def nudge(self) -> None:
        self.world.append(f"{self.name} looks")

    def stop(self) -> None:
        self.world.append(f"{self.name} ends")


def test_what_watches_follows_the_configuration() -> None:
    """A reload ends the old watch and begins a new one; a refused configuration changes nothing."""
    world: list[str] = []

    def config(name: str) -> LoadedConfig:
        watch = lambda after_crash, _presences: Watching(world, f"{name}{' after a crash' if after_crash else ''}")  # noqa: E731
        return LoadedConfig(lambda: ClosableEngine(name), lambda day: None, watch=watch)  # type: ignore[arg-type,return-value]

    def refuse() -> LoadedConfig:
        raise ConfigError(("timezone: found nothing",))

    running = _RunningDaemon(config("old"), ClosableEngine("old"))  # type: ignore[arg-type]
    running.watch(after_crash=True)
    running.reload(refuse)
    running.reload(lambda: config("new"))
    running.stop_watching()
    assert world == ["old after a crash begins", "old after a crash ends", "new begins", "new ends"]
