"""The short way to write a sink: ``each`` and ``BaseReceiver``."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tconnectsync import Accepted, BaseReceiver, Delivery, Document, Event, Outcome, document_id, each, events
from tconnectsync.plugin.fold import NAMESPACE

NOON = datetime(2026, 5, 14, 12, tzinfo=timezone.utc)
FILL = Event(
    id="t:1:0:7", kind="cannula.filled", pump="1", group=0, seq=7, pump_time=NOON.replace(tzinfo=None), source="t",
    received_at=NOON, body=events.CannulaFilled(prime_u=0.3), at=NOON,
)  # fmt: skip


def document(event: Event, role: str) -> Document:
    return Document(id=document_id(event.pump, event.seq or 0, role), collection="sites", at=NOON, content={})


def test_a_function_of_an_event_is_a_fold() -> None:
    """The decorator adds name, version, kinds and an empty state."""

    @each("cannula.filled", name="sites", version=3)
    def sites(event: Event) -> Document:
        return document(event, "site")

    assert (sites.name, sites.version, sites.kinds) == ("sites", 3, frozenset({"cannula.filled"}))
    state, finished = sites.step(sites.initial(), FILL)
    assert list(finished) == [document(FILL, "site")]
    assert state == sites.initial()
    assert sites.running(state) == ()


@pytest.mark.parametrize("roles", [(), ("a",), ("a", "b")])
def test_an_event_may_make_any_number_of_documents(roles: tuple[str, ...]) -> None:
    fold = each("cannula.filled", name="sites")(lambda event: (document(event, role) for role in roles))
    assert [known.id for known in fold.step(fold.initial(), FILL)[1]] == [document(FILL, role).id for role in roles]


def test_none_is_no_document() -> None:
    fold = each("cannula.filled", name="sites")(lambda event: None)
    assert list(fold.step(fold.initial(), FILL)[1]) == []


@pytest.mark.parametrize("kinds", [("cannula.fill",), ("cannula.filled", "nonsense"), ()])
def test_a_misspelt_kind_is_refused(kinds: tuple[str, ...]) -> None:
    """A fold that would never see an event is an error when the plugin is loaded."""
    with pytest.raises(ValueError, match="sites: no such kind"):
        each(*kinds, name="sites")


class Printer(BaseReceiver):
    def deliver(self, batch: Sequence[Delivery]) -> Sequence[Outcome]:
        return [Accepted(receiver_key="") for _ in batch]


class LaserPrinter(Printer):
    address = "lpt1"


def test_a_receiver_needs_deliver_only() -> None:
    """All other members have defaults."""
    printer = Printer()
    assert (printer.address, LaserPrinter().address) == ("Printer", "lpt1")
    assert printer.batch_size > 0
    assert printer.inspect(NOON, NOON) is None
    assert list(printer.read_back(NOON, NOON)) == []
    assert [found.good for found in printer.check()] == [True]


def test_a_receiver_without_deliver_cannot_be_made() -> None:
    class Silent(BaseReceiver):
        pass

    with pytest.raises(TypeError, match="deliver"):
        Silent()  # type: ignore[abstract]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.integers(), max_size=4))
def test_identities_are_those_of_uuid5(parts: list[str | int]) -> None:
    """An identity never changes: it is the UUIDv5 of its parts in this product's namespace."""
    assert document_id(*parts) == str(uuid.uuid5(NAMESPACE, "\x1f".join(str(part) for part in parts)))
