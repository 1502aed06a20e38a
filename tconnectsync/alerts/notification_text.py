"""Notifications in words: titles and texts for people, without secrets, serial numbers and e-mail addresses."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any

import attrs

from tconnectsync.alerts.decisions import AlertReport, ReportKind
from tconnectsync.text.durations import span_words
from tconnectsync.text.plural import counted
from tconnectsync.text.printable import printable

HIDDEN = "…"
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_LONG_NUMBER = re.compile(r"(?<![\d.])\d{6,}(?![\d.])")
"""As long as a pump's serial number, and no part of a time or an amount."""


@attrs.frozen(kw_only=True)
class Notification:
    """One notification."""

    title: str
    body: str


def serial_numbers(status: Mapping[str, Any]) -> frozenset[str]:
    """Return the serial numbers of the pumps in ``status``."""
    return frozenset(serial for source in status.get("sources", {}).values() for serial in source.get("pumps", {}))


def without_personal_data(text: str, serials: Iterable[str], redact: Callable[[str], str]) -> str:
    """Return the text without serial numbers, e-mail addresses, and what ``redact`` removes. Topics may be public."""
    text = redact(text)
    for serial in sorted(serials, key=len, reverse=True):
        text = text.replace(serial, HIDDEN)
    return printable(_LONG_NUMBER.sub(HIDDEN, _MAIL.sub(HIDDEN, text)))


def message_of(reports: Sequence[AlertReport], now: datetime, zone: tzinfo, label: str = "") -> Notification:
    """Return one notification for all reports of a moment. ``label`` tells one person's installation from another's."""
    first, *others = [_heading(report, now, zone) for report in reports]
    title = f"{first} (and {counted(len(others), 'more', 'more')})" if others else first
    parts = [_text(report, heading, now, zone) for report, heading in zip(reports, (first, *others), strict=True)]
    return Notification(title=f"{label}: {title}" if label else title, body="\n\n".join(parts))


def time_words(at: datetime, now: datetime, zone: tzinfo) -> str:
    """Format a time as ``02:10``, or ``Tue 18 Nov 02:10`` if it is not today."""
    local = at.astimezone(zone)
    return f"{local:%H:%M}" if local.date() == now.astimezone(zone).date() else f"{local:%a %d %b %H:%M}"


def _heading(report: AlertReport, now: datetime, zone: tzinfo) -> str:
    since = f" since {time_words(report.began, now, zone)}" if report.began else ""
    if report.kind is ReportKind.OVER:
        return report.title
    if report.kind is ReportKind.UNSTEADY:
        return f"{report.title}, on and off"
    if report.key == "crash":
        return report.title
    return f"{'Still: ' if report.kind is ReportKind.LASTS else ''}{report.title}{since}"


def _text(report: AlertReport, heading: str, now: datetime, zone: tzinfo) -> str:
    lines = [_sentence(heading)]
    began = report.began and time_words(report.began, now, zone)
    if report.kind is ReportKind.OVER and report.began:
        lines.append(f"The problem began at {began} and lasted {span_words(now - report.began)}.")
    if report.kind in (ReportKind.OVER, ReportKind.UNSTEADY) and report.changes > 2:
        lines.append(f"It came and went: {counted(report.changes, 'change')} since the last notification.")
    if report.key == "crash" and report.changes > 1:
        lines.append(f"This happened {counted(report.changes, 'time')} since the last notification.")
    if report.kind is ReportKind.UNSTEADY:
        lines.append("At the moment " + ("there is a problem." if report.problem else "all is well."))
    problem = report.problem
    if problem is not None:
        lines += [_sentence(problem.message)] if problem.message else []
        lines += [_step(problem.remedy)] if problem.remedy else []
    if problem is not None and report.kind is not ReportKind.OVER and report.key != "crash":
        lines.append("Details: tconnectsync status")
    return "\n".join(lines)


def _step(remedy: str) -> str:
    return remedy if remedy.startswith("Nothing to do") else f"What to do: {remedy}"


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?", ":")) else f"{text}."
