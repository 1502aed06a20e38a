"""What a command asks of the engine, and what it answers step by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import attrs


@attrs.frozen(kw_only=True)
class Request:
    """A command for whoever owns the data folder. ``args`` are JSON values.

    ``mark`` stands for the configuration that the asker has read; one who has none is not told of a difference.
    """

    command: str
    args: Mapping[str, Any] = attrs.field(factory=dict)
    mark: str = ""


@attrs.frozen(kw_only=True)
class Progress:
    """How far it is; ``total`` 0: not known."""

    message: str
    done: int = 0
    total: int = 0


@attrs.frozen(kw_only=True)
class Result:
    """The end of a request: the exit status and words for the user."""

    status: int
    lines: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Notice:
    """Something that the user is to know before it goes on."""

    words: str


Step: TypeAlias = Progress | Notice | Result


Job: TypeAlias = Iterator[Step]
