"""Two pumps overlap: the one in the drawer makes nothing, also when everything is folded again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs
from engine_world import BEGIN, SUMMER, World

from tconnectsync import Document, Event, document_id
from tconnectsync.events import BasalDelivered, ClockChanged, GlucoseReading


@attrs.frozen(kw_only=True)
class Worn:
    yes: bool = True


class WornFold:
    """A document for each word about basal, while the pump is worn."""

    name = "worn"
    version = 1
    kinds = frozenset({"basal.delivered", "wear.began", "wear.ended"})
    state_type = Worn

    def initial(self) -> Worn:
        return Worn()

    def step(self, state: Worn, event: Event) -> tuple[Worn, Sequence[Document]]:
        if event.kind != "basal.delivered":
            return Worn(yes=event.kind == "wear.began"), ()
        if not state.yes or event.at is None:
            return state, ()
        id_ = document_id(event.pump, str(event.seq))
        content = {"pump": event.pump}
        return state, (Document(id=id_, collection="things", slot="", at=event.at, content=content),)

    def running(self, state: Worn) -> Sequence[Document]:
        return ()


def told(world: World, pump: str, seq: int, kind: str, at: datetime, body: Any) -> Event:
    event = world.pump.event(seq, kind, at, body)
    return attrs.evolve(event, id=f"pump:{pump}:0:{seq}", pump=pump)


def test_a_pump_in_the_drawer_stays_there_when_other_options_make_everything_be_folded_again(world: World) -> None:
    """Its first word is about its clock, which no fold of the sink listens to: the hand-over lies there all the same."""
    hour = timedelta(hours=1)
    seen = GlucoseReading(mark="high", reading_time=(BEGIN + SUMMER).replace(tzinfo=None))
    set_at = BEGIN - timedelta(days=1)
    world.engine.close()
    world.folds = {"worn": WornFold()}
    world.open()
    world.engine.events.append(
        [
            told(world, "2", 1, "clock.changed", set_at, ClockChanged(part="time", step_s=3600.0)),
            *(told(world, "1", 11 + 60 * n, "glucose.reading", BEGIN + n * hour + hour / 60, seen) for n in range(12)),
            *(told(world, "2", 2000 + 10 * n, "basal.delivered", BEGIN + n * hour, BasalDelivered(rate_u_per_h=1.0)) for n in range(24)),
            *(told(world, "2", 2005 + 10 * n, "glucose.reading", BEGIN + n * hour + hour / 2, seen) for n in range(13, 24)),
        ]
    )
    assert world.ask("sync").status == 0
    before = dict(world.shelf.there)
    second = [document.at for document in before.values() if document.content["pump"] == "2"]
    assert min(second) == BEGIN + 14 * hour
    world.reopen(fingerprint="2")
    assert world.ask("sync").status == 0
    assert world.shelf.there == before
