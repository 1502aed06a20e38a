"""What the page with everybody shows of one person: glucose, its age, and what is wrong."""

from __future__ import annotations

import attrs

from tconnectsync_web.languages import Texts
from tconnectsync_web.pages import chain, value_words
from tconnectsync_web.pages.banner import Banner, banner
from tconnectsync_web.pages.overview import CurrentGlucose, overview
from tconnectsync_web.pages.reader import PageReader

CARD_HOURS = 3
NOTHING_KNOWN = Banner(level=chain.Level.UNKNOWN, problems=())


@attrs.frozen(kw_only=True)
class PersonCard:
    """One card. ``broken``: why the configuration cannot be used; ``unread``: why the data cannot be read.

    ``reading``, ``units`` and ``age`` are the newest glucose in words. ``state`` begins with the worst problem; ``calm_words`` are
    for a state without one.
    """

    name: str
    broken: str | None = None
    unread: str | None = None
    glucose: CurrentGlucose | None = None
    glucose_zone: str = ""
    reading: str = ""
    units: str = ""
    age: str = ""
    calm_words: str = ""
    state: Banner = NOTHING_KNOWN


def person_card(name: str, reader: PageReader, hours: int, texts: Texts) -> PersonCard:
    """Return the card of a person whose data can be read. Errors: LogCorrupt, OSError."""
    found = overview(reader, hours)
    links = chain.chain(reader.status(), texts, found.now)
    state = banner(links, texts, reader.zones, found.now, found.last_zone)
    card = PersonCard(name=name, state=state, units=reader.units.label)
    if found.glucose is None:
        return card
    at = found.glucose.point.at
    return attrs.evolve(
        card,
        glucose=found.glucose,
        glucose_zone=found.glucose_zone,
        calm_words=found.calm_words,
        reading=value_words.reading(texts, reader.units, found.glucose.point),
        age=f"{value_words.ago(texts, at, found.now)} ({value_words.moment(texts, reader.zones, at, found.now)})",
    )
