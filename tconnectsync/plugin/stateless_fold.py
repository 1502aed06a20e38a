"""Folds without state: ``@each("cannula.filled")`` on a function that returns an event's documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import attrs

from tconnectsync.events import BODIES, Event
from tconnectsync.plugin.fold import Document

DocumentsOf: TypeAlias = Callable[[Event], Document | Iterable[Document] | None]


@attrs.frozen(kw_only=True)
class NoState:
    """The state of a fold that remembers nothing."""


@attrs.define(kw_only=True)
class StatelessFold:
    """A :class:`tconnectsync.Fold` in which each event stands alone: its documents are finished at once."""

    name: str
    version: int
    kinds: frozenset[str]
    documents_of: DocumentsOf
    state_type = NoState

    def initial(self) -> NoState:
        """Return the only state there is."""
        return NoState()

    def step(self, state: NoState, event: Event) -> tuple[NoState, Sequence[Document]]:
        """Return the documents of ``event``."""
        documents = self.documents_of(event)
        if documents is None:
            return state, ()
        return state, (documents,) if isinstance(documents, Document) else tuple(documents)

    def running(self, state: NoState) -> Sequence[Document]:  # noqa: ARG002 - the protocol's signature
        """Return nothing: no document can still change."""
        return ()


def each(*kinds: str, name: str, version: int = 1) -> Callable[[DocumentsOf], StatelessFold]:
    """Turn a function of one event into a fold that sees the events of these ``kinds``.

    The function returns one document, several, or None. ``name`` is unique within the sink. Raise ``version`` when the same
    event gives other documents. Raises ValueError if there is no such kind of event.
    """
    unknown = sorted(set(kinds) - BODIES.keys())
    if unknown or not kinds:
        raise ValueError(f"fold {name}: no such kind of event: {', '.join(unknown) or 'none given'}")

    def fold(documents_of: DocumentsOf) -> StatelessFold:
        return StatelessFold(name=name, version=version, kinds=frozenset(kinds), documents_of=documents_of)

    return fold
