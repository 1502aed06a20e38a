"""The heartbeat: an outside monitor is called after each good cycle, and told of bad ones. It notices if the calls stop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import attrs

from tconnectsync.alerts.problems import GRACE
from tconnectsync.clock import Clock
from tconnectsync.config.alert_options import HeartbeatOptions
from tconnectsync.health.newest_data import sources_on
from tconnectsync.plugin.http import HttpClient, HttpLimits
from tconnectsync.plugin.http_failures import HttpFailed
from tconnectsync.text.durations import parse_time

log = logging.getLogger("tconnectsync.heartbeat")
LIMITS = HttpLimits(connect_s=10.0, silence_s=10.0, whole_s=20.0, most_bytes=1 << 16)
BAD_AFTER = timedelta(minutes=5)
"""Passing trouble of less than this is no bad cycle: the next attempt mostly succeeds."""
FAIL_AGAIN = timedelta(minutes=30)
_LONGEST_REASON = 500


@attrs.frozen(kw_only=True)
class Pulse:
    """What the status says of the last cycle. ``number`` changes with each read of the sources.

    ``reason`` is empty if nothing is wrong; ``parts`` names what is in trouble. A cycle that is neither good nor bad is still
    under way.
    """

    number: str
    good: bool
    reason: str = ""
    parts: tuple[str, ...] = ()


def cycle_of(status: Mapping[str, Any], now: datetime) -> Pulse:
    """Judge the last cycle: good if every source was read to its end and nothing waits to be delivered."""
    sources = sources_on(status)
    sinks = [sink for sink in status.get("sinks", {}).values() if sink.get("state") != "off"]
    troubles = dict(_troubles(status, now))
    reason = "; ".join(troubles.values())
    good = (
        not reason
        and bool(sources)
        and all(part.get("state") == "ok" for part in (*sources, *sinks))
        and all(source.get("last_fetch") for source in sources)
        and not any(sink.get("behind") or sink.get("pending") for sink in sinks)
    )
    return Pulse(
        number=" ".join(str(source.get("last_fetch")) for source in sources),
        good=good,
        reason=reason,
        parts=tuple(troubles),
    )


def _troubles(status: Mapping[str, Any], now: datetime) -> Iterator[tuple[str, str]]:
    disk, events = status.get("disk") or {}, status.get("log") or {}
    if disk.get("message"):
        yield "disk", f"disk: {disk['message']}"
    if events.get("damaged"):
        yield "log", "the event log is corrupt"
    for group in ("sources", "sinks"):
        for name, part in status.get(group, {}).items():
            state, since = str(part.get("state")), parse_time(part.get("since"))
            temporary = state in ("waiting", "backing_off") and (since is None or now - since < BAD_AFTER)
            if state in GRACE and not temporary:
                yield f"{name} {state}", f"{name}: {state.replace('_', ' ')}: {part.get('message') or ''}".rstrip(": ")


def kind_of(options: HeartbeatOptions) -> str:
    """Return the kind of monitor, guessed from the address if it is not configured."""
    if options.kind is not None or options.url is None:
        return options.kind or "plain"
    parts = urlsplit(options.url.reveal())
    if "/api/push/" in parts.path:
        return "uptime-kuma"
    return "healthchecks" if parts.hostname == "hc-ping.com" or parts.path.startswith("/ping/") else "plain"


def address_for(options: HeartbeatOptions, reason: str) -> str | None:
    """Return the address to call; None if this kind of monitor cannot be told of a failure."""
    if options.url is None:
        return None
    url, kind = options.url.reveal(), kind_of(options)
    scheme, host, path, query, _ = urlsplit(url)
    if kind == "uptime-kuma":
        words = {"status": "down" if reason else "up", "msg": reason or "OK"}
        return urlunsplit((scheme, host, path, urlencode(words), ""))
    if not reason:
        return url
    return urlunsplit((scheme, host, f"{path.rstrip('/')}/fail", query, "")) if kind == "healthchecks" else None


@attrs.frozen(kw_only=True)
class LastCall:
    """What came of the calls, kept for ``status``.

    ``answered_at``: the last call that the monitor took. ``reason``: the failure that was reported to it then; empty: all was good.
    ``trouble``: why calls fail since ``failing_since``; empty: they do not.
    """

    answered_at: datetime | None = None
    reason: str = ""
    trouble: str = ""
    failing_since: datetime | None = None


@attrs.define
class Heartbeat:
    """Calls the monitor when the status changes. Not for several threads. ``clean`` removes personal data from reasons."""

    options: HeartbeatOptions
    clock: Clock
    version: str
    clean: Callable[[str], str]
    last_call: LastCall | None = None
    _client: HttpClient = attrs.field(init=False)
    _called_for: str = ""
    _failed_for: tuple[str, ...] = ()
    _failed_at: datetime | None = None
    _trouble: str = ""

    def __attrs_post_init__(self) -> None:
        self._client = HttpClient(clock=self.clock, limits=LIMITS)

    def beat(self, cycle: Pulse) -> None:
        """Call the monitor if there is news for it. Never raises for what the network or the monitor does."""
        now = self.clock.now()
        if cycle.good and cycle.number != self._called_for:
            if self.call("") is None:
                self._called_for, self._failed_for = cycle.number, ()
        elif cycle.reason:
            again = self._failed_at is None or not timedelta(0) <= now - self._failed_at < FAIL_AGAIN
            if (again or cycle.parts != self._failed_for) and self.call(cycle.reason) is None:
                self._failed_for, self._failed_at, self._called_for = cycle.parts, now, ""

    def call(self, reason: str) -> str | None:
        """Call the monitor; return None if it answered well, else what went wrong."""
        reason = self.clean(reason)[:_LONGEST_REASON]
        address = address_for(self.options, reason)
        if address is None:
            return None
        trouble = self._request(address, reason)
        self._remember(reason, trouble)
        if trouble and trouble != self._trouble:
            log.warning('heartbeat_failed reason="%s"', trouble)
        elif not trouble and self._trouble:
            log.info("heartbeat_ok")
        self._trouble = trouble
        return trouble or None

    def _remember(self, reason: str, trouble: str) -> None:
        """Change nothing while the trouble lasts: the file is written for each change."""
        before = self.last_call or LastCall()
        if not trouble:
            self.last_call = LastCall(answered_at=self.clock.now(), reason=reason)
        elif trouble != before.trouble:
            since = before.failing_since or self.clock.now()
            self.last_call = attrs.evolve(before, trouble=trouble, failing_since=since)

    def _request(self, address: str, reason: str) -> str:
        headers = {"User-Agent": f"tconnectsync/{self.version}"}
        body = reason.encode() if reason and kind_of(self.options) == "healthchecks" else None
        try:
            answer = self._client.request(
                "POST" if body else "GET", address, what="the heartbeat", headers=headers, body=body
            )
        except HttpFailed as error:
            return error.message
        finally:
            self._client.close()
        if answer.status >= 300:
            moved = "; use the address that it redirects to" if answer.status < 400 else ""
            return f"the monitor answered with status {answer.status}{moved}"
        return ""
