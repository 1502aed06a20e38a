"""The links of the chain from the pump's phone to the receivers, told apart from what ``status --json`` says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any

import attrs

from tconnectsync.cli.ages import parse_time, size_words, when_words

LATE_UPLOAD = timedelta(hours=3)
"""Phones upload about hourly; after this a silent one is worth a look."""
LONG_SILENT = timedelta(days=3)
"""A pump without newer data may have been replaced."""

_MARKS = {"ok": "ok", "off": "off", "waiting": "wait", "backing_off": "wait"}


@attrs.frozen(kw_only=True)
class Link:
    """One link: ``mark`` is "ok", "wait", "bad" or "off"; ``lines`` say since when, what happened and what to do."""

    name: str
    mark: str
    lines: tuple[str, ...]


def links_of(status: Mapping[str, Any], now: datetime, zone: tzinfo) -> Sequence[Link]:
    """Every link, in the order in which data passes them."""
    links: list[Link] = []
    for name, source in status.get("sources", {}).items():
        links.extend(_source_links(name, source, now, zone))
    links.append(_log_link(status.get("log", {}), now, zone))
    for name, sink in status.get("sinks", {}).items():
        links.append(_sink_link(name, sink, now, zone))
    return links


def _source_links(name: str, source: Mapping[str, Any], now: datetime, zone: tzinfo) -> Iterator[Link]:
    state = source.get("state", "ok")
    if state == "off":
        yield Link(name=name, mark="off", lines=("",))
        return
    yield _upload_link(name, source, now, zone)
    fetched = parse_time(source.get("last_fetch"))
    accepted = fetched or parse_time(source.get("last_upload")) or parse_time(source.get("newest_event"))
    last = f"last read {when_words(fetched, now, zone)}" if fetched else "never read to its end"
    trouble = _trouble(source, now, zone)
    if state == "refused":
        yield Link(name=f"{name} login", mark="bad", lines=trouble)
        yield Link(name=f"{name} data", mark="wait", lines=(f"not asked while the login is refused; {last}",))
        return
    login = "accepted" if accepted else "no answer to it so far"
    yield Link(name=f"{name} login", mark="ok" if accepted else "wait", lines=(login,))
    if state == "ok" and not source.get("message"):
        due = parse_time(source.get("next_poll"))
        coming = f"; next {when_words(due, now, zone)}" if due and due > now else ""
        yield Link(name=f"{name} data", mark="ok" if fetched else "wait", lines=(last + coming, *_odd(source)))
    else:
        mark = _MARKS.get(state, "bad")
        yield Link(name=f"{name} data", mark=mark, lines=(*trouble, last, *_odd(source)))
    for serial, pump in source.get("pumps", {}).items():
        yield _pump_link(serial, pump, now, zone)


def _upload_link(name: str, source: Mapping[str, Any], now: datetime, zone: tzinfo) -> Link:
    title = f"phone to {name}"
    uploaded = parse_time(source.get("last_upload"))
    if uploaded is None:
        return Link(name=title, mark="wait", lines=("no upload seen yet",))
    words = f"last upload {when_words(uploaded, now, zone)}"
    fetched = parse_time(source.get("last_fetch"))
    # a phone is silent only if somebody asked since
    if now - uploaded <= LATE_UPLOAD or (fetched is not None and fetched - uploaded <= LATE_UPLOAD):
        return Link(name=title, mark="ok", lines=(words,))
    if source.get("state") == "changed":
        return Link(name=title, mark="wait", lines=(f"{words}; newer ones cannot be told while data cannot be read",))
    remedy = "Open the pump's app on the phone: is it logged in, connected to the pump, and on the internet?"
    return Link(name=title, mark="bad", lines=(words, remedy))


def _pump_link(serial: str, pump: Mapping[str, Any], now: datetime, zone: tzinfo) -> Link:
    newest = parse_time(pump.get("newest_event"))
    words = f"newest data {when_words(newest, now, zone)}" if newest else "no data yet"
    offset = pump.get("clock_offset_minutes")
    clock = "its clock is not anchored yet" if offset is None else f"clock {_offset_words(offset)}"
    basis = pump.get("clock_basis")
    worn = "worn" if pump.get("worn") else "not worn"
    if pump.get("worn") and newest is not None and now - newest > LONG_SILENT:
        worn = "the last one that was worn, as far as is known"
    parts = [words, worn, f"{clock}, by {str(basis).replace('_', ' ')}" if basis else clock]
    return Link(name=f"pump {serial}", mark="ok" if newest else "wait", lines=("; ".join(parts),))


def _offset_words(minutes: float) -> str:
    hours, rest = divmod(abs(round(minutes)), 60)
    return f"UTC{'-' if minutes < 0 else '+'}{hours:02}:{rest:02}"


def _log_link(log: Mapping[str, Any], now: datetime, zone: tzinfo) -> Link:
    positions, size = int(log.get("positions") or 0), int(log.get("bytes") or 0)
    if log.get("damaged"):
        what = log["damaged"] if isinstance(log["damaged"], str) else "some of it is not what was written"
        return Link(
            name="event log",
            mark="bad",
            lines=(f"damaged: {what}", "Run `tconnectsync log check`, then `tconnectsync log repair`."),
        )
    if not positions:
        return Link(name="event log", mark="wait", lines=("empty",))
    year = int(log.get("bytes_a_year") or 0)
    typical = " as pumps go" if log.get("bytes_a_year_basis") == "typical" else ""
    grows = f"; a year adds about {size_words(year)}{typical}" if year else ""
    verified = parse_time(log.get("verified_at"))
    checked = f"; read through {when_words(verified, now, zone)}" if verified else ""
    words = f"{positions:,} records, {size_words(size)}{grows}{checked}"
    return Link(name="event log", mark="ok", lines=(words,))


def _sink_link(name: str, sink: Mapping[str, Any], now: datetime, zone: tzinfo) -> Link:
    state = sink.get("state", "ok")
    if state == "off":
        return Link(name=name, mark="off", lines=("",))
    delivered = parse_time(sink.get("last_delivered"))
    words = [f"last delivered {when_words(delivered, now, zone)}" if delivered else "nothing delivered yet"]
    if sink.get("behind"):
        words.append(f"{sink['behind']:,} records to read")
    if sink.get("pending"):
        words.append(f"{sink['pending']:,} documents waiting")
    lines = list(_trouble(sink, now, zone)) if state != "ok" or sink.get("message") else []
    lines.append(", ".join(words))
    mark = _MARKS.get(state, "bad")
    if sink.get("dead"):
        mark = "bad" if mark == "ok" else mark
        lines.append(f"what was set aside: `tconnectsync dead-letters list {name}`")
    return Link(name=name, mark=mark, lines=tuple(lines))


def _trouble(part: Mapping[str, Any], now: datetime, zone: tzinfo) -> tuple[str, ...]:
    """What happened and since when, and what to do."""
    since = parse_time(part.get("since"))
    state = str(part.get("state", "ok")).replace("_", " ")
    words = "" if state == "ok" else state
    if since and words:
        words += f" since {when_words(since, now, zone)}"
    message = part.get("message") or ""
    first = f"{words}: {message}" if words and message else words or message
    return tuple(line for line in (first, part.get("remedy")) if line)


def _odd(source: Mapping[str, Any]) -> tuple[str, ...]:
    """What was kept although nobody knows what it means."""
    codes = source.get("unknown_codes") or {}
    lines = []
    if codes:
        listed = ", ".join(f"{code} ({count} times)" for code, count in list(codes.items())[:5])
        lines.append(f"kept without knowing what they mean: record types {listed}")
    if source.get("set_aside"):
        lines.append(f"kept but not understood: {source['set_aside']} records")
    return tuple(lines)
