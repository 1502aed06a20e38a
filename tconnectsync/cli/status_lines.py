"""The lines of ``status``: each step from the pump's phone to the receivers, made from what ``status --json`` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any

import attrs

from tconnectsync.health.newest_data import newest_data, uploads_without_pump
from tconnectsync.health.severity import Severity, severity
from tconnectsync.text.durations import parse_time, size_words, span_words, when_words
from tconnectsync.text.plural import counted

LATE_UPLOAD = timedelta(hours=3)
"""Phones upload about hourly. After this long without an upload the phone should be checked."""
AHEAD = timedelta(hours=1)
"""A pump's clock may be some minutes ahead. Data that is later than this shows that the clock of this computer is behind."""
PUMP_SILENT = "The phone gets nothing new from the pump. Look at the pump, then open its app on the phone: is it connected to the pump?"
LONG_SILENT = timedelta(days=3)
"""After this long without data a pump may have been replaced."""


@attrs.frozen(kw_only=True)
class StatusLine:
    """One step: ``lines`` say since when, what happened and what to do."""

    name: str
    level: Severity
    lines: tuple[str, ...]


def status_lines(status: Mapping[str, Any], now: datetime, zone: tzinfo) -> Sequence[StatusLine]:
    """Return every step, in the order in which data passes them."""
    steps: list[StatusLine] = []
    if "disk" in status:
        steps.append(_disk_line(status["disk"]))
    if "daemon" in status:
        steps.append(_daemon_line(status["daemon"], now, zone))
    for name, source in status.get("sources", {}).items():
        steps.extend(_source_lines(name, source, now, zone))
    if "log" in status:
        steps.append(_log_line(status["log"], now, zone))
    for name, sink in status.get("sinks", {}).items():
        steps.append(_sink_line(name, sink, now, zone))
    if "alerts" in status:
        steps.append(_alerts_line(status["alerts"], now, zone))
    if "heartbeat" in status:
        steps.append(_heartbeat_line(status["heartbeat"], now, zone))
    return steps


def verdict(lines: Sequence[StatusLine], status: Mapping[str, Any], now: datetime, zone: tzinfo) -> StatusLine:
    """Return the whole in one line: the worst level, and the names of the steps that have it. ``lines``: of ``status``."""
    for level, words in ((Severity.BAD, "needs you: {}. See what to do below."), (Severity.WAIT, "waiting: {}.")):
        names = list(dict.fromkeys(line.name for line in lines if line.level == level))
        if names:
            return StatusLine(name="", level=level, lines=(words.format(", ".join(names)),))
    newest = newest_data(status)
    age = f"; newest data {when_words(newest, now, zone)}" if newest else ""
    return StatusLine(name="", level=Severity.OK, lines=(f"everything works{age}.",))


def _disk_line(disk: Mapping[str, Any]) -> StatusLine:
    if disk.get("message"):
        lines = tuple(str(line) for line in (disk["message"], disk.get("remedy")) if line)
        return StatusLine(name="disk", level=Severity.BAD, lines=lines)
    return StatusLine(name="disk", level=Severity.OK, lines=(f"{size_words(int(disk.get('free_bytes') or 0))} free",))


def _daemon_line(daemon: Mapping[str, Any], now: datetime, zone: tzinfo) -> StatusLine:
    state, message = daemon.get("state", "off"), daemon.get("message") or ""
    since = parse_time(daemon.get("since"))
    if state == "ok":
        words = f"running since {when_words(since, now, zone)}" if since else "running"
        return StatusLine(name="daemon", level=Severity.OK, lines=(f"{words}, process {daemon.get('pid')}",))
    if since:
        message = f"since {when_words(since, now, zone)}: {message}"
    lines = tuple(str(line) for line in (message, daemon.get("remedy")) if line)
    return StatusLine(name="daemon", level=severity(daemon, now), lines=lines)


def _source_lines(name: str, source: Mapping[str, Any], now: datetime, zone: tzinfo) -> Iterator[StatusLine]:
    state = source.get("state", "ok")
    if state == "off":
        yield StatusLine(name=name, level=Severity.OFF, lines=("",))
        return
    yield _upload_line(name, source, now, zone)
    fetched = parse_time(source.get("last_fetch"))
    accepted = fetched or parse_time(source.get("last_upload")) or parse_time(source.get("newest_event"))
    last = f"last read {when_words(fetched, now, zone)}" if fetched else "never read completely"
    trouble = _problem_lines(source, now, zone)
    if state == "refused":
        yield StatusLine(name=f"{name} login", level=Severity.BAD, lines=trouble)
        yield StatusLine(
            name=f"{name} data", level=Severity.WAIT, lines=(f"not read while the login is refused; {last}",)
        )
        return
    login = "accepted" if accepted else "not tried yet"
    yield StatusLine(name=f"{name} login", level=Severity.OK if accepted else Severity.WAIT, lines=(login,))
    if state == "ok" and not source.get("message"):
        due = parse_time(source.get("next_poll"))
        coming = f"; next {when_words(due, now, zone)}" if due and due > now else ""
        yield StatusLine(
            name=f"{name} data",
            level=Severity.OK if fetched else Severity.WAIT,
            lines=(last + coming, *_unreadable_records(source)),
        )
    else:
        yield StatusLine(
            name=f"{name} data", level=severity(source, now), lines=(*trouble, last, *_unreadable_records(source))
        )
    for serial, pump in source.get("pumps", {}).items():
        yield _pump_line(serial, pump, parse_time(source.get("last_upload")), now, zone)


def _upload_line(name: str, source: Mapping[str, Any], now: datetime, zone: tzinfo) -> StatusLine:
    title = f"phone to {name}"
    uploaded = parse_time(source.get("last_upload"))
    if uploaded is None:
        return StatusLine(name=title, level=Severity.WAIT, lines=("no upload seen yet",))
    words = f"last upload {when_words(uploaded, now, zone)}"
    fetched = parse_time(source.get("last_fetch"))
    # the phone counts as silent only if the source was read since
    if now - uploaded <= LATE_UPLOAD or (fetched is not None and fetched - uploaded <= LATE_UPLOAD):
        return StatusLine(name=title, level=Severity.OK, lines=(words,))
    if source.get("state") == "changed":
        return StatusLine(
            name=title, level=Severity.WAIT, lines=(f"{words}; unknown since then, because the data cannot be read",)
        )
    remedy = "Open the pump's app on the phone: is it logged in, connected to the pump, and on the internet?"
    return StatusLine(name=title, level=Severity.BAD, lines=(words, remedy))


def _pump_line(
    serial: str, pump: Mapping[str, Any], uploaded: datetime | None, now: datetime, zone: tzinfo
) -> StatusLine:
    newest = parse_time(pump.get("newest_event"))
    words = f"newest data {when_words(newest, now, zone)}" if newest else "no data yet"
    offset = pump.get("clock_offset_minutes")
    clock = "its clock offset is not known yet" if offset is None else f"clock {_offset_words(offset)}"
    basis = pump.get("clock_basis")
    worn = "worn" if pump.get("worn") else "not worn"
    if pump.get("worn") and newest is not None and now - newest > LONG_SILENT:
        worn = "the last one that was worn, as far as known"
    parts = [words, worn, f"{clock}, by {str(basis).replace('_', ' ')}" if basis else clock]
    title, line = f"pump {serial}", "; ".join(parts)
    if pump.get("worn") and uploads_without_pump(uploaded, newest):
        return StatusLine(name=title, level=Severity.BAD, lines=(line, PUMP_SILENT))
    return StatusLine(name=title, level=Severity.OK if newest else Severity.WAIT, lines=(line,))


def _offset_words(minutes: float) -> str:
    hours, rest = divmod(abs(round(minutes)), 60)
    return f"UTC{'-' if minutes < 0 else '+'}{hours:02}:{rest:02}"


def _log_line(log: Mapping[str, Any], now: datetime, zone: tzinfo) -> StatusLine:
    positions, size = int(log.get("positions") or 0), int(log.get("bytes") or 0)
    if log.get("damaged"):
        what = log["damaged"] if isinstance(log["damaged"], str) else "some records are corrupt"
        return StatusLine(
            name="event log",
            level=Severity.BAD,
            lines=(
                f"corrupt: {what}",
                log.get("remedy") or "Run `tconnectsync log check`, then `tconnectsync log repair`.",
            ),
        )
    if not positions:
        return StatusLine(name="event log", level=Severity.WAIT, lines=("empty",))
    year = int(log.get("bytes_a_year") or 0)
    typical = " (estimate)" if log.get("bytes_a_year_basis") == "typical" else ""
    grows = f"; a year adds about {size_words(year)}{typical}" if year else ""
    verified = parse_time(log.get("verified_at"))
    checked = f"; checked {when_words(verified, now, zone)}" if verified else ""
    words = f"{counted(positions, 'record')}, {size_words(size)}{grows}{checked}"
    return StatusLine(name="event log", level=Severity.OK, lines=(words,))


def _sink_line(name: str, sink: Mapping[str, Any], now: datetime, zone: tzinfo) -> StatusLine:
    state = sink.get("state", "ok")
    if state == "off":
        return StatusLine(name=name, level=Severity.OFF, lines=("",))
    delivered = parse_time(sink.get("last_delivered"))
    nothing = "nothing to send: everything is there already" if sink.get("had_everything") else "nothing delivered yet"
    words = [f"last delivered {when_words(delivered, now, zone)}" if delivered else nothing]
    if sink.get("behind"):
        words.append(f"{counted(sink['behind'], 'record')} to read")
    if sink.get("pending"):
        words.append(f"{counted(sink['pending'], 'document')} waiting")
    lines = list(_problem_lines(sink, now, zone)) if state != "ok" or sink.get("message") else []
    lines.append(", ".join(words))
    level = severity(sink, now)
    if sink.get("dead"):
        level = Severity.BAD if level is Severity.OK else level
        lines.append(f"List the refused documents: `tconnectsync dead-letters list {name}`")
    return StatusLine(name=name, level=level, lines=tuple(lines))


def _alerts_line(alerts: Mapping[str, Any], now: datetime, zone: tzinfo) -> StatusLine:
    """Who is notified, as kinds: an address is a secret."""
    state, kinds = alerts.get("state", "off"), alerts.get("addresses") or []
    if state == "off":
        return StatusLine(name="notifications", level=Severity.OFF, lines=("",))
    words = f"{counted(len(kinds), 'address', 'addresses')}: {', '.join(dict.fromkeys(kinds))}"
    lines = (*_problem_lines(alerts, now, zone), *([words] if kinds else []))
    return StatusLine(name="notifications", level=severity(alerts, now), lines=lines)


def _heartbeat_line(heartbeat: Mapping[str, Any], now: datetime, zone: tzinfo) -> StatusLine:
    state, called = heartbeat.get("state", "off"), parse_time(heartbeat.get("last_called"))
    if state == "off":
        return StatusLine(name="heartbeat", level=Severity.OFF, lines=("",))
    words = f"{heartbeat.get('kind')}; last called {when_words(called, now, zone)}" if called else ""
    if words and heartbeat.get("reported"):
        words += f", to report: {heartbeat['reported']}"
    lines = (*_problem_lines(heartbeat, now, zone), words)
    return StatusLine(name="heartbeat", level=severity(heartbeat, now), lines=tuple(line for line in lines if line))


def _problem_lines(part: Mapping[str, Any], now: datetime, zone: tzinfo) -> tuple[str, ...]:
    """Return lines that say what happened, since when, and what to do."""
    since = parse_time(part.get("since"))
    state = str(part.get("state", "ok")).replace("_", " ")
    words = "" if state == "ok" else state
    if since and words:
        words += f" since {when_words(since, now, zone)}"
    message = part.get("message") or ""
    first = f"{words}: {message}" if words and message else words or message
    due = parse_time(part.get("next_try"))
    again = f"next try {when_words(due, now, zone)}" if due and due > now else ""
    return tuple(line for line in (first, part.get("remedy"), again) if line)


def _unreadable_records(source: Mapping[str, Any]) -> tuple[str, ...]:
    """Return lines about records that were stored but not understood."""
    codes = source.get("unknown_codes") or {}
    lines = []
    if codes:
        listed = ", ".join(f"{code} ({counted(count, 'time')})" for code, count in list(codes.items())[:5])
        lines.append(f"stored, but of an unknown type: {listed}")
    if source.get("set_aside"):
        lines.append(f"stored, but not readable: {counted(source['set_aside'], 'record')}")
    return tuple(lines)


def too_old(status: Mapping[str, Any], now: datetime, max_age: timedelta) -> str | None:
    """Return a message if the newest data of the worn pumps is older than ``max_age`` or missing; else None."""
    newest = newest_data(status)
    if newest is None:
        return f"There is no pump data yet (limit {span_words(max_age)})."
    age = now - newest
    if age < -AHEAD:
        return f"The newest pump data is {span_words(-age)} in the future: is this computer's clock right?"
    return f"The newest pump data is {span_words(age)} old (limit {span_words(max_age)})." if age > max_age else None
