"""How a plugin declares its part of the configuration: an attrs class whose fields know their other spellings.

``option()`` is ``attrs.field`` with the names under which the environment and systemd credentials may give the same value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs


class Secret:
    """A secret text. It never shows itself: not in repr, not in logs, not in errors."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text, for the one place that must send it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('…')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


def option(
    default: Any = attrs.NOTHING,
    *,
    env: Sequence[str] = (),
    credential: str | None = None,
    parse_env: Callable[[str], Any] | None = None,
    default_with_env: Mapping[str, Any] | None = None,
    check: Callable[[Any], str | None] | None = None,
    clean: Callable[[str], str] | None = None,
    help: str = "",  # noqa: A002 - the word people search for
) -> Any:
    """A field of an options class.

    ``env``: environment variables, first found wins over the file. ``credential``: name of a systemd credential, wins over
    both. ``parse_env`` turns the variable's text into the value that the file would hold (ValueError: what was expected).
    ``default_with_env`` maps variables to the value to take when the option is given nowhere but that variable is set.
    ``clean`` makes the text that is meant of the one that was typed or pasted, wherever it comes from. ``check`` answers what
    was expected when a value is no good. A field of type ``Secret | None`` named ``x`` also accepts the key ``x_file``.
    """
    metadata = {
        "env": tuple(env),
        "credential": credential,
        "parse_env": parse_env,
        "default_with_env": dict(default_with_env or {}),
        "check": check,
        "clean": clean,
        "help": help,
    }
    if isinstance(default, (list, dict)):
        value = default
        return attrs.field(factory=lambda: type(value)(value), metadata=metadata)
    return attrs.field(default=default, metadata=metadata)
