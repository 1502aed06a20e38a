"""What every fold must do, as a pytest class to inherit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tconnectsync.events import BODIES, Event
from tconnectsync.plugin.fold import Fold, times_of
from tconnectsync.testing.events import example_events
from tconnectsync.testing.fold_checks import check_arrival, check_fold, require
from tconnectsync.testing.strategies import bodies_of, event_runs


class FoldContract:
    """Inherit this, and list your ``folds``::

        class TestSiteChanges(FoldContract):
            folds = (site_changes,)

    ``bodies`` is a Hypothesis strategy of event bodies, for events that belong together more often than by chance. The
    default draws any values that a log can hold. ``max_examples`` is the number of random runs for each property.
    """

    folds: ClassVar[Sequence[Fold[Any]]] = ()
    bodies: ClassVar[st.SearchStrategy[Any] | None] = None
    max_examples: ClassVar[int] = 40

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test once for each fold."""
        if "fold" in metafunc.fixturenames:
            metafunc.parametrize("fold", self.folds, ids=lambda fold: fold.name)

    def runs(self, fold: Fold[Any]) -> st.SearchStrategy[list[Event]]:
        """Random events of one pump, in its own order."""
        return event_runs(bodies_of(fold.kinds) if self.bodies is None else self.bodies)

    def test_declaration(self, fold: Fold[Any]) -> None:
        """Name, version, kinds and state type say what the engine needs to know."""
        require(bool(fold.name), "the fold has no name")
        require(fold.version >= 1, "versions start at 1")
        require(bool(fold.kinds), "the fold sees no kind of event")
        require(fold.kinds <= BODIES.keys(), f"no such kinds of events: {sorted(fold.kinds - BODIES.keys())}")
        require(times_of(fold) <= fold.kinds, "only_times has kinds that the fold does not see")
        is_value = attrs.has(fold.state_type) or issubclass(fold.state_type, msgspec.Struct)
        require(is_value, "state_type is neither an attrs class nor a struct of msgspec")
        require(isinstance(fold.initial(), fold.state_type), "initial() returns something else than state_type")

    def test_example(self, fold: Fold[Any]) -> None:
        """The example events can be folded, from a saved state before each of them."""
        events = example_events(fold.kinds)
        check_fold(fold, events, range(len(events)))

    def test_checkpoints(self, fold: Fold[Any]) -> None:
        """A run from saved states makes the documents of one pass; each is JSON, made once, and final once finished."""
        cuts = st.lists(st.integers(0, 25), max_size=4)
        self._hold(check_fold, st.just(fold), self.runs(fold), cuts)

    def test_order_of_arrival(self, fold: Fold[Any]) -> None:
        """Events that arrive in any order, in batches, late or twice, and a replay, end in the documents of one pass."""

        @st.composite
        def arrivals(draw: st.DrawFn) -> list[list[Event]]:
            events = draw(self.runs(fold))
            again = draw(st.lists(st.sampled_from(events), max_size=3))
            coming = draw(st.permutations([*events, *again]))
            cuts = sorted(draw(st.lists(st.integers(0, len(coming)), max_size=3)))
            return [coming[first:last] for first, last in zip([0, *cuts], [*cuts, len(coming)], strict=True)]

        def check(batches: Sequence[Sequence[Event]], replay: bool) -> None:
            check_arrival(fold, batches, replay=replay)

        self._hold(check, arrivals(), st.booleans(), max_examples=max(1, self.max_examples // 3))

    def _hold(
        self, check: Callable[..., object], *drawn: st.SearchStrategy[Any], max_examples: int | None = None
    ) -> None:
        @settings(max_examples=max_examples or self.max_examples, deadline=None)
        @given(st.tuples(*drawn))
        def hold(values: tuple[Any, ...]) -> None:
            check(*values)

        hold()
