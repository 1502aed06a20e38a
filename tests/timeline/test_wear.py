"""Which pump is worn, compared with a rule that looks at every sign."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from tconnectsync.timeline.spans import Span, any_contains, difference, union
from tconnectsync.timeline.wear import BEFORE_ALL, WearRange, active_spans, wear_changes
from tests.timeline.harness import utc

DAY = utc("2025-06-01")


def hour(number: float) -> datetime:
    return DAY + timedelta(hours=number)


def marks(*hours: float, asked: list[str] | None = None) -> list[WearRange]:
    times = sorted(hour(number) for number in hours)

    def between(begin: datetime, end: datetime) -> Iterable[datetime]:
        if asked is not None:
            asked.append("between")
        return [at for at in times if begin <= at <= end]

    return [
        WearRange(
            first=times[0],
            last=times[-1],
            between=between,
            after=lambda at: next((each for each in times if each > at), None),
        )
    ]


def test_a_pump_alone_is_always_worn() -> None:
    assert active_spans({"a": marks(1, 2)}) == {"a": (Span(),)}
    assert active_spans({"a": []}) == {"a": (Span(),)}
    assert active_spans({}) == {}


def test_new_pump_takes_over_at_first_sign() -> None:
    """At its first wear sign."""
    asked: list[str] = []
    found = active_spans({"a": marks(1, 2, 3, asked=asked), "b": marks(10, 11, asked=asked)})
    assert found == {"a": (Span(end=hour(10)),), "b": (Span(begin=hour(10)),)}
    assert asked == []


def test_overlapping_pumps_hand_over_at_each_others_marks() -> None:
    found = active_spans({"a": marks(1, 5, 6), "b": marks(4, 7, 8)})
    assert found == {
        "a": (Span(end=hour(4)), Span(begin=hour(5), end=hour(7))),
        "b": (Span(begin=hour(4), end=hour(5)), Span(begin=hour(7))),
    }


def test_pump_tried_for_a_moment() -> None:
    """The other pump takes over again at its next wear sign."""
    found = active_spans({"a": marks(1, 2, 9, 10), "b": marks(4)})
    assert found["b"] == (Span(begin=hour(4), end=hour(9)),)


def test_a_pump_without_a_mark_is_not_worn_beside_one_with() -> None:
    assert active_spans({"a": [], "b": marks(3)}) == {"a": (), "b": (Span(),)}


def test_of_two_pumps_without_marks_only_one_counts() -> None:
    found = active_spans({"a": [], "b": []})
    assert sorted(map(bool, found.values())) == [False, True]


def test_of_marks_at_one_instant_the_later_stream_wins() -> None:
    assert active_spans({"a": marks(1, 2), "b": marks(2)}) == {"a": (Span(end=hour(2)),), "b": (Span(begin=hour(2)),)}
    assert active_spans({"a": marks(1), "b": marks(1)}) == {"a": (), "b": (Span(),)}


def test_changes_begin_with_an_end() -> None:
    """If the pump is not worn at first."""
    assert wear_changes((Span(),)) == ()
    assert wear_changes((Span(end=hour(4)),)) == ((hour(4), "wear.ended"),)
    assert wear_changes((Span(begin=hour(4)),)) == ((BEFORE_ALL, "wear.ended"), (hour(4), "wear.began"))
    assert wear_changes(()) == ((BEFORE_ALL, "wear.ended"),)


def worn_by_all_signs(streams: Mapping[str, Sequence[int]], at: float) -> str:
    """The rule itself."""
    known = [(number, name) for name, numbers in streams.items() for number in numbers]
    earlier = [each for each in known if each[0] <= at]
    return max(earlier)[1] if earlier else max(name for number, name in known if number == min(known)[0])


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), st.sets(st.integers(0, 30), min_size=1, max_size=8), min_size=1))
def test_the_spans_are_what_every_mark_says(streams: dict[str, set[int]]) -> None:
    ordered = {name: sorted(streams[name]) for name in sorted(streams)}
    found = active_spans({name: marks(*numbers) for name, numbers in ordered.items()})
    for step in range(-2, 66):
        worn = {name for name, spans in found.items() if any_contains(spans, hour(step / 2))}
        assert worn == {worn_by_all_signs(ordered, step / 2)}


# --- spans ----------------------------------------------------------------------------------------------------------

bounds = st.one_of(st.none(), st.integers(0, 12).map(hour))
span_lists = st.lists(
    st.tuples(bounds, bounds)
    .map(lambda pair: Span(begin=pair[0], end=pair[1]))
    .filter(lambda span: span.begin is None or span.end is None or span.begin < span.end),
    max_size=4,
)


@settings(max_examples=100, deadline=None)
@given(span_lists, span_lists)
def test_sets_of_time_behave_as_sets(these: list[Span], those: list[Span]) -> None:
    joined, differing = union(these), difference(these, those)
    for step in range(-2, 28):
        at = hour(step / 2)
        assert any_contains(joined, at) == any_contains(these, at)
        assert any_contains(differing, at) == (any_contains(these, at) != any_contains(those, at))


@given(span_lists)
def test_spans_survive_json(these: list[Span]) -> None:
    assert [Span.from_json(span.to_json()) for span in these] == these
