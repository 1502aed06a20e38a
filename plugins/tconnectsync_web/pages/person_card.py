"""What the page with everybody shows of one person: glucose, its age, and what is wrong."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from tconnectsync_web.languages import Texts
from tconnectsync_web.pages import chain, wording
from tconnectsync_web.pages.overview import CurrentGlucose, overview
from tconnectsync_web.pages.reader import PageReader

CARD_HOURS = 3


@attrs.frozen(kw_only=True)
class PersonCard:
    """One card. ``broken``: why the configuration cannot be used; ``unread``: why the data cannot be read.

    ``reading``, ``units`` and ``age`` are the newest glucose in words. ``problems`` begin with the worst.
    """

    name: str
    broken: str | None = None
    unread: str | None = None
    glucose: CurrentGlucose | None = None
    glucose_zone: str = ""
    reading: str = ""
    units: str = ""
    age: str = ""
    level: chain.Level = chain.Level.UNKNOWN
    problems: Sequence[chain.Link] = ()


def person_card(name: str, reader: PageReader, hours: int, texts: Texts) -> PersonCard:
    """Return the card of a person whose data can be read. Errors: LogCorrupt, OSError."""
    found = overview(reader, hours)
    links = chain.chain(reader.status(), texts, found.now)
    card = PersonCard(
        name=name, level=chain.worst(links), problems=list(chain.problems(links)), units=reader.units.label
    )
    if found.glucose is None:
        return card
    return attrs.evolve(
        card,
        glucose=found.glucose,
        glucose_zone=wording.zone_of(found.glucose.point.glucose_mg_dl),
        reading=wording.reading(texts, reader.units, found.glucose.point),
        age=wording.ago(texts, found.glucose.point.at, found.now),
    )
