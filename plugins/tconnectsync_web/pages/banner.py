"""The lines at the top of a page: what is wrong and since when, whether the pump is affected, what to do and whether it can wait."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, time

import attrs

from tconnectsync import Zones
from tconnectsync_web.languages import Texts, msg
from tconnectsync_web.pages.chain import Level, Link, problems, worst
from tconnectsync_web.pages.faults import FAULTS, Fault, Urgency
from tconnectsync_web.pages.value_words import duration, moment

NIGHT_FROM, NIGHT_UNTIL = time(20), time(7)
PUMP_UNAFFECTED = msg("This problem does not change what the pump does.")
PUMP_WORDS: Mapping[Fault, str] = {
    Fault.PUMP_SILENT: msg("This page cannot see whether the pump works."),
    Fault.PHONE_SILENT: msg("The pump delivers insulin without the phone too."),
}
"""What is known of the pump, if it is not that it is unaffected."""
WAIT_WORDS: Mapping[Urgency, tuple[str, str]] = {
    Urgency.NOW: (msg("Do not wait until morning."), msg("Do not wait.")),
    Urgency.IF_WATCHED: (
        msg("This can wait until morning if you look at the glucose on the pump or in the sensor's app."),
        msg("This is not urgent if you look at the glucose on the pump or in the sensor's app."),
    ),
    Urgency.UNLESS_WATCHED: (
        msg("This can wait until morning, unless somebody relies on it tonight. This page is not affected."),
        msg("This is not urgent, unless somebody relies on it now. This page is not affected."),
    ),
    Urgency.NONE: (msg("This can wait."), msg("This can wait.")),
}
"""Whether a fault can wait: at night, and by day."""
WAIT_IF_UNREAD = WAIT_WORDS[Urgency.IF_WATCHED][1]
"""What is said if stored data cannot be read: the last glucose is not known then, and may be low."""
LAST_WAS_LOW = msg("Do not wait: the last known glucose was low. Look at the pump or the sensor's app now.")
CANNOT_WAIT: Mapping[str, str] = {
    "very-low": LAST_WAS_LOW,
    "low": LAST_WAS_LOW,
    "very-high": msg("Do not wait: the last known glucose was very high. Look at the pump or the sensor's app now."),
}
"""What is said instead if no newer glucose arrives after one of these zones."""


@attrs.frozen(kw_only=True)
class PlainProblem:
    """One problem in the reader's words. ``commands``: for the computer that runs tconnectsync; ``reports``: what it reported."""

    level: Level
    what: str
    since: str
    step: str
    commands: Sequence[str]
    reports: Sequence[str]


@attrs.frozen(kw_only=True)
class Banner:
    """The state of everything. ``pump`` and ``wait`` are about the worst problem; empty without one.

    ``arrives``: whether new data is expected. If not, no newer glucose than the present one will be shown.
    """

    level: Level
    problems: Sequence[PlainProblem]
    pump: str = ""
    wait: str = ""
    arrives: bool = True


def banner(links: Sequence[Link], texts: Texts, zones: Zones, now: datetime, last_zone: str = "") -> Banner:
    """Return the lines for this chain, in the wearer's local time. ``last_zone``: that of the newest glucose, however old."""
    found = _groups(problems(links))
    if not found:
        return Banner(level=worst(links), problems=())
    first = found[0][0]
    urgency = FAULTS[first].urgency
    at_night, by_day = WAIT_WORDS[urgency]
    if urgency is Urgency.IF_WATCHED and last_zone in CANNOT_WAIT:
        at_night = by_day = CANNOT_WAIT[last_zone]
    local = zones.wall_of(now).time()
    return Banner(
        level=worst(links),
        problems=[_problem(fault, group, texts, zones, now) for fault, group in found],
        pump=texts.gettext(PUMP_WORDS.get(first, PUMP_UNAFFECTED)),
        wait=texts.gettext(at_night if local >= NIGHT_FROM or local < NIGHT_UNTIL else by_day),
        arrives=urgency not in (Urgency.NOW, Urgency.IF_WATCHED),
    )


def _groups(links: Iterable[Link]) -> Sequence[tuple[Fault, Sequence[Link]]]:
    """The parts of one site that have the same fault are one problem. The most urgent comes first."""
    groups: dict[tuple[Level, Fault, str], list[Link]] = {}
    for link in links:
        if link.fault is not None:
            groups.setdefault((link.level, link.fault, _family(link)), []).append(link)
    found = [(fault, group) for (_, fault, _), group in groups.items()]
    return sorted(found, key=lambda each: list(Urgency).index(FAULTS[each[0]].urgency))


def _family(link: Link) -> str:
    """The name before what a part of a site is for: ``Nightscout`` of ``Nightscout (profiles)``."""
    return link.title.partition(" (")[0]


def _problem(fault: Fault, group: Sequence[Link], texts: Texts, zones: Zones, now: datetime) -> PlainProblem:
    words, name = FAULTS[fault], {"name": group[0].title if len(group) == 1 else _family(group[0])}
    since, begun = min((each.since for each in group if each.since is not None), default=None), ""
    if since is not None:
        times = {"time": moment(texts, zones, since, now), "length": duration(texts, now - since)}
        begun = texts.gettext("Since %(time)s (%(length)s).") % times
    return PlainProblem(
        level=group[0].level,
        what=texts.gettext(words.what) % name,
        since=begun,
        step=texts.gettext(words.step) % name,
        commands=list(dict.fromkeys(each.command for each in group if each.command)),
        reports=list(dict.fromkeys(each.report for each in group if each.report)),
    )
