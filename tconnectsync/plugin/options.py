"""How a plugin declares its part of the configuration: an attrs class with :func:`option` fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs


class Secret:
    """A secret text. Its repr and str do not show it, so it does not appear in logs and errors."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text. Call it only where the secret is sent."""
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
    clean: Callable[[str], str | None] | None = None,
    help: str = "",  # noqa: A002 - the word people search for
) -> Any:
    """Return a field of an options class: ``attrs.field`` with the other places that can give its value.

    - ``env``: environment variables. The first that is set wins over the file.
    - ``credential``: the name of a systemd credential, which wins over both.
    - ``parse_env(text)``: the value of a variable's text, as the file would have it. Raises ValueError with what was expected.
    - ``default_with_env``: the default if the variable (key) is set and the option is not given.
    - ``clean(text)``: the text that is meant, from the text that was typed or pasted; None: nothing is set.
    - ``check(value)``: what was expected, or None if the value is good.

    A field ``x`` of type ``Secret | None`` also accepts the key ``x_file``.
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
