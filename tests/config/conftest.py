"""Loading a configuration text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tconnectsync.config.load import load_config
from tconnectsync.config.model import Config
from tconnectsync.errors import ConfigError
from tests.config.fake_plugins import usual_plugins

Load = Callable[..., Config]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads a text as ``config.toml`` (None: no file) under an environment."""

    def run(text: str | None, environ: Mapping[str, str] | None = None, **more: Any) -> Config:
        path = None
        if text is not None:
            path = tmp_path / "config.toml"
            path.write_text(text)
            path.chmod(0o600)
        plugins = more.pop("plugins", None) or usual_plugins()
        surroundings = {"HOME": str(tmp_path / "home"), **(environ or {})}
        return load_config(path, surroundings, plugins, system_file=tmp_path / "no-such-file", **more)

    return run


@pytest.fixture
def problems(load: Load) -> Callable[..., tuple[str, ...]]:
    """The problems of a text, which must have some; the file's path in them is cut to ``config.toml``."""

    def run(text: str | None, environ: Mapping[str, str] | None = None, **more: Any) -> tuple[str, ...]:
        with pytest.raises(ConfigError) as caught:
            load(text, environ, **more)
        return tuple(
            "config.toml" + p.partition("config.toml")[2] if "config.toml" in p else p for p in caught.value.problems
        )

    return run
