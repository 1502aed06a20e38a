"""Watches the data folder and reports: a thread beside the daemon's loop, so that nothing it waits for delays the data."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import attrs

import tconnectsync
from tconnectsync.alerts.attempts import PUMP, REPORTS, STATUS, TITLES, WEARER, Attempts, with_failures
from tconnectsync.alerts.decisions import AlertReport, Known, ReportKind, decide, happened
from tconnectsync.alerts.heartbeat import Heartbeat, Pulse, cycle_of
from tconnectsync.alerts.notification_text import Notification, message_of, serial_numbers, without_personal_data
from tconnectsync.alerts.outgoing import AlertState, Deliverer, Waiting, address_id, load_state, queued, save_state
from tconnectsync.alerts.problems import Problem, problems_of
from tconnectsync.alerts.pump_records import read_pump
from tconnectsync.alerts.pump_watch import PumpWatch, WearerDecision
from tconnectsync.alerts.sending import AppriseSender, Attempt, SendResult, is_installed, service_of
from tconnectsync.alerts.wearer import PumpReading, WearerAlert, is_wanted
from tconnectsync.clock import Clock
from tconnectsync.config.alert_options import AlertOptions
from tconnectsync.config.model import Config
from tconnectsync.plugin.receiver import SupportsPresence

log = logging.getLogger("tconnectsync.alerts")
LOOK_EVERY_S = 60.0
MOST_WORK = 1 / 200
"""The share of its time that looking may take: with a slow disk it looks less often."""
SETTLED_S = 90.0
"""What was stored before the start may be old: missing data count only after this long, when the sources were asked."""
NUDGE_S = 1.0
STOP_S = 3.0
"""The time that a notification has when the daemon stops. One that takes longer is sent after the next start."""

CRASHED = Problem(
    key="crash",
    state="crashed",
    title="tconnectsync was restarted after it had ended unexpectedly",
    message="It crashed, was killed, or the power failed. Nothing is lost, and it works again.",
    remedy="If this happens often, see the reason: `journalctl -u tconnectsync -n 200`.",
)

_Judged: TypeAlias = "tuple[Mapping[str, Any], tuple[Problem, ...], Pulse]"


@attrs.define(kw_only=True)
class Watch:
    """Looks at the status, decides what is to be said, and says it. :meth:`look` is one look; not for several threads."""

    folder: Path
    read_status: Callable[[], Mapping[str, Any]]
    """Returns what ``status --json`` prints."""
    options: AlertOptions
    zone_at: Callable[[date], tzinfo]
    clock: Clock
    redact: Callable[[str], str] = str
    label: str = ""
    """Tells one person's installation from another's."""
    heartbeat: Heartbeat | None = None
    after_crash: bool = False
    settled_s: float = SETTLED_S
    read_pump: Callable[[], PumpReading] | None = None
    """Reads the pump's records for the wearer's alerts, if any of these is on."""
    deliverer: Deliverer | None = None
    presences: Sequence[SupportsPresence] = ()
    """Receivers that show the problems too."""
    state: AlertState = attrs.field(factory=AlertState)
    _started: float | None = None
    attempts: Attempts = attrs.field(init=False)
    _presence_failed: str = ""
    _pump: PumpWatch = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.attempts = Attempts(self.folder, self.clock)
        self._pump = PumpWatch(self.read_pump, self.options)
        self.state = load_state(self.folder)
        if self.heartbeat is not None:
            self.heartbeat.last_call = self.state.last_call

    def look(self) -> None:
        """Look once. If a part of it fails, the others are done all the same, and the heartbeat reports the failure."""
        self.attempts.do("look", self._look, None)

    def _look(self) -> None:
        if self._started is None:
            self._started = self.clock.monotonic()
        now = self.clock.now()
        nothing: _Judged = ({}, (), Pulse(number="", good=False))
        status, problems, cycle = self.attempts.do(STATUS, lambda: self._judge(now), nothing)
        if self._is_settled():
            self.attempts.do(PUMP, lambda: self._pump.read(status), None)
        problems = (*problems, *self.attempts.problems(now))
        titles = [each.title for each in problems if not each.consequence]
        if titles or not self.attempts.fails(STATUS):
            self._show(titles)
        if self.options.urls:
            self.attempts.do(REPORTS, lambda: self._report(status, problems, now), None)
        if self.heartbeat is not None:
            self.attempts.do("heartbeat", partial(self._beat, self.heartbeat, cycle, now), None)

    def _judge(self, now: datetime) -> _Judged:
        status = self.read_status()
        return status, self._problems(status, now), cycle_of(status, now)

    def _beat(self, heartbeat: Heartbeat, cycle: Pulse, now: datetime) -> None:
        heartbeat.beat(with_failures(cycle, self.attempts.problems(now)))
        self._keep(attrs.evolve(self.state, last_call=heartbeat.last_call))

    def _problems(self, status: Mapping[str, Any], now: datetime) -> tuple[Problem, ...]:
        problems = problems_of(status, now, self.options.no_data_span)
        if self._is_settled():
            return problems
        return tuple(attrs.evolve(each, consequence=each.consequence or each.key == "data") for each in problems)

    def _show(self, titles: Sequence[str]) -> None:
        for presence in self.presences:
            try:
                presence.show(titles)
            except Exception as error:
                # the border to plugins: notifications must go out whatever a receiver does
                if self._presence_failed != repr(error):
                    log.exception("presence_failed")
                self._presence_failed = repr(error)

    def leave(self) -> None:
        """The daemon shows no more problems."""
        for presence in self.presences:
            try:
                presence.leave()
            except Exception:
                # the border to plugins: the others have to leave too
                log.exception("presence_failed")

    def _report(self, status: Mapping[str, Any], problems: Sequence[Problem], now: datetime) -> None:
        known, reports = self._decide(problems, now)
        if self.after_crash:
            known, more = happened(known, CRASHED, now, self.options.repeat_span)
            reports, self.after_crash = [*more, *reports], False
        unread = WearerDecision(seen=self.state.seen, waiting=self.state.waiting)
        wearer = self.attempts.do(WEARER, lambda: self._pump.decide(self.state.seen, self.state.waiting, now), unread)
        waiting, urls = wearer.waiting, self.options.urls
        if reports:
            waiting = queued(waiting, self._message(reports, now, status), urls, now)
        for alert in wearer.due:
            waiting = queued(waiting, self._wearer_message(alert, now, status), urls, now, alert)
        self._keep(attrs.evolve(self.state, known=known, seen=wearer.seen, waiting=waiting))
        if self.deliverer is not None and waiting:
            # after a start, what was stored may be over
            held = () if self._is_settled() else tuple(each for each in waiting if each.alert)
            ready = [each for each in waiting if each not in held]
            words = partial(self._words, now=now, status=status)

            def keep(left: tuple[Waiting, ...]) -> None:
                self._keep(attrs.evolve(self.state, waiting=(*held, *left)))

            keep(self.deliverer.deliver(ready, urls, now, words, keep))

    def _words(self, each: Waiting, now: datetime, status: Mapping[str, Any]) -> Notification:
        return each.message if each.alert is None else self._wearer_message(each.alert, now, status)

    def _wearer_message(self, alert: WearerAlert, now: datetime, status: Mapping[str, Any]) -> Notification:
        title = alert.title(now, self.zone_at(now.date()))
        return self._message([AlertReport(kind=ReportKind.BEGAN, key="wearer", title=title)], now, status)

    def _decide(self, problems: Sequence[Problem], now: datetime) -> tuple[dict[str, Known], list[AlertReport]]:
        """Nothing is over only because the state cannot be read."""
        kept = {
            key: known for key, known in self.state.known.items() if self.attempts.fails(STATUS) and key not in TITLES
        }
        asked = {key: known for key, known in self.state.known.items() if key not in kept}
        fresh, reports = decide(asked, problems, now, self.options.repeat_span)
        return {**kept, **fresh}, reports

    def _is_settled(self) -> bool:
        return self._started is not None and self.clock.monotonic() - self._started >= self.settled_s

    def _message(self, reports: list[AlertReport], now: datetime, status: Mapping[str, Any]) -> Notification:
        said, serials = message_of(reports, now, self.zone_at(now.date()), self.label), serial_numbers(status)
        return Notification(
            title=without_personal_data(said.title, serials, self.redact),
            body=without_personal_data(said.body, serials, self.redact),
        )

    def keep_usable(self, usable: Mapping[str, bool]) -> None:
        """Store which addresses can be used, for ``status``."""
        self._keep(attrs.evolve(self.state, usable=usable))

    def _keep(self, fresh: AlertState) -> None:
        """Store what changed before anything is sent, so that a restart repeats nothing."""
        if fresh == self.state:
            return
        self.state = fresh
        try:
            save_state(self.folder, fresh)
        except OSError as error:
            log.warning('alert_state_not_saved reason="%s"', error.strerror)


@attrs.define
class WatchThread:
    """Runs a watch in a thread until :meth:`stop`."""

    watch: Watch
    sender: AppriseSender
    _wake: threading.Event = attrs.field(factory=threading.Event)
    _stopping: bool = False
    _thread: threading.Thread | None = None

    def start(self) -> WatchThread:
        """Start to watch."""
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
        self._thread.start()
        return self

    def nudge(self) -> None:
        """Something changed: look soon."""
        self._wake.set()

    def look_once(self) -> None:
        """Look without a thread, for a single cycle: what fails now counts, because the next cycle knows nothing of it."""
        self.watch.settled_s, self.watch.attempts.grace = 0.0, timedelta(0)
        self.watch.attempts.do("addresses", partial(self.look_at_addresses, seen=self.watch.state.usable), None)
        self.watch.look()

    def stop(self) -> None:
        """End the thread. A notification that is being sent has a few seconds."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(STOP_S)
            self.sender.stop()
        self.watch.leave()

    def _run(self) -> None:
        self.watch.attempts.do("addresses", self.look_at_addresses, None)
        while not self._stopping:
            begin = time.thread_time()
            self.watch.look()
            pause_s = max(LOOK_EVERY_S, (time.thread_time() - begin) / MOST_WORK)
            if self._wake.wait(pause_s) and not self._stopping:
                time.sleep(NUDGE_S)  # what belongs together, such as several sinks of one site, changes together
            if not self._stopping:
                self._wake.clear()

    def look_at_addresses(self, *, seen: Mapping[str, bool] | None = None) -> None:
        """Log and keep what is wrong with the configured addresses, at every start and reload.

        ``seen`` are the results of an earlier look: those that were usable are not looked at again.
        """
        if not self.watch.options.urls:
            return
        found: dict[str, bool] = {id_: usable for id_, usable in (seen or {}).items() if usable}
        if not is_installed():
            log.error('alerts_off reason="%s"', Attempt(result=SendResult.MISSING).words)
            return
        for number, url in enumerate(self.watch.options.urls, start=1):
            if address_id(url) in found:
                continue
            attempt = self.sender.look_at(url)
            if attempt.result is not SendResult.FAILED:
                found[address_id(url)] = attempt.result is SendResult.USABLE
            if attempt.result is not SendResult.USABLE and not self._stopping:
                log.error(
                    'alert_address_unusable number=%d kind=%s reason="%s"', number, service_of(url), attempt.words
                )
        configured = {address_id(url) for url in self.watch.options.urls}
        self.watch.keep_usable({id_: usable for id_, usable in found.items() if id_ in configured})


def open_watch(
    config: Config,
    read_status: Callable[[], Mapping[str, Any]],
    *,
    clock: Clock,
    redact: Callable[[str], str] = str,
    after_crash: bool = False,
    presences: Sequence[SupportsPresence] = (),
) -> WatchThread:
    """Return the watch of a configuration, not started."""
    sender = AppriseSender()
    watch = Watch(
        folder=config.data_dir,
        read_status=read_status,
        options=config.alerts,
        zone_at=config.zones.zone_at,
        clock=clock,
        redact=redact,
        label=label_of(config.origin),
        heartbeat=open_heartbeat(config, clock=clock, redact=redact),
        after_crash=after_crash,
        read_pump=partial(read_pump, config.data_dir, config.zones, config.alerts, clock=clock)
        if config.alerts.urls and is_wanted(config.alerts)
        else None,
        deliverer=Deliverer(send=sender.send, monotonic=clock.monotonic),
        presences=presences,
    )
    return WatchThread(watch, sender)


def open_heartbeat(config: Config, *, clock: Clock, redact: Callable[[str], str] = str) -> Heartbeat | None:
    """Return the heartbeat of a configuration, if there is one."""
    if config.heartbeat.url is None:
        return None
    return Heartbeat(
        options=config.heartbeat,
        clock=clock,
        version=tconnectsync.__version__,
        clean=lambda text: without_personal_data(text, (), redact),
    )


def label_of(origin: Path | None) -> str:
    """Return what tells this installation from another one here: ``anna`` for ``/etc/tconnectsync/anna.toml``."""
    return "" if origin is None or origin.stem == "config" else origin.stem
