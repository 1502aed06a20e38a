"""A file that is not TOML: the hint fits the mistake, and shows nothing of the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tconnectsync.config.config_file import read_file
from tconnectsync.errors import ConfigError

STRAIGHT = "Write straight quotes"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[web]\nport = 1\n[alerts]\n[web]\nport = 2", "delete the second [web]"),
        ("[sinks.file]\n[sinks.file]", "put your lines below the first [sinks.file]"),
        ("[[zones]]\n[zones]", "[[zones]] with two brackets"),
        ("[zones]\n[zones]", "[[zones]] with two brackets"),
        ("[web]\nport = 1\nport = 2\n\n", "twice: keep one"),
        ("[web]\n[sinks.file]\nenabled = True\n", "Write true"),
        ("[sinks.file]\n  enabled =False # not now", "Write false"),
        ("password = “secret-4711”", STRAIGHT),
        ("x = 1\nurls = [„secret-4711“]", STRAIGHT),
        ('region: "US"', 'region = "US"'),
        ("email = me@example.org", "Put text in quotes"),
        ("email = ", "Put text in quotes"),
        ("password = secret-4711{0}", "Put text in quotes"),
    ],
)
def test_the_hint_fits_the_mistake(tmp_path: Path, text: str, hint: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_file(path)
    assert hint in (caught.value.remedy or "")
    assert "4711" not in f"{caught.value.remedy} {caught.value.problems}"
