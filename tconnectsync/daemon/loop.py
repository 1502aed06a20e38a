"""The daemon: the engine's loop with signals, systemd's readiness and watchdog, requests and reload."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

import attrs

from tconnectsync.daemon.control import ControlServer
from tconnectsync.daemon.state import DaemonRecord
from tconnectsync.daemon.systemd import Notifier
from tconnectsync.errors import TconnectsyncError
from tconnectsync.jobs.dispatch import perform
from tconnectsync.jobs.messages import Job, Notice, Request
from tconnectsync.runtime.engine import Engine

log = logging.getLogger("tconnectsync.daemon")
GRACE_S = 5.0
"""A stop that is asked for waits so long for the network; then the call is cut short, which costs nothing but a repeat."""
LAST_S = 8.0
"""A call that not even a signal gets out of (a name server that does not answer) is left behind with the process."""


class ForcedStop(BaseException):
    """Raised in the middle of whatever runs when a stop has waited long enough; everything is crash-safe."""


@attrs.define
class Signals:
    """SIGTERM and SIGINT ask for a stop, SIGHUP for a reload; each ends a wait at once."""

    stop: bool = False
    reload: bool = False
    last_words: Callable[[], None] = lambda: None
    """Called before a process that does not come back from some call is ended."""

    @contextlib.contextmanager
    def installed(self) -> Iterator[socket.socket]:
        """Handle signals inside; gives the socket that becomes readable when one came."""
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM)
        before = {number: signal.getsignal(number) for number in numbers}
        told, outer = socket.socketpair()
        wake, waker = socket.socketpair()
        for each in (outer, wake, waker):
            each.setblocking(False)
        watcher = threading.Thread(target=_watch, args=(told, waker, self), name="signals", daemon=True)
        watcher.start()
        wakeup = signal.set_wakeup_fd(outer.fileno(), warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, self._handle)
        try:
            yield wake
        finally:
            no_more_alarms()
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            outer.close()  # ends the watcher
            watcher.join()
            for each in (told, wake, waker):
                each.close()

    def _handle(self, number: int, _frame: object) -> None:
        if number == signal.SIGALRM:
            raise ForcedStop
        if number == signal.SIGHUP:
            self.reload = True
        elif not self.stop:
            self.stop = True
            # again every second: an exception may be lost where Python swallows it, as in a destructor
            signal.setitimer(signal.ITIMER_REAL, GRACE_S, 1.0)


def no_more_alarms() -> None:
    """From here on nothing is cut short."""
    signal.setitimer(signal.ITIMER_REAL, 0.0)


def _watch(told: socket.socket, waker: socket.socket, signals: Signals) -> None:
    """Wake the loop at each signal; end the process where the loop does not come back from some call after a stop."""
    deadline: float | None = None
    while True:
        told.settimeout(None if deadline is None else max(0.01, deadline - time.monotonic()))
        try:
            numbers = told.recv(64)
        except TimeoutError:
            log.warning("left_behind a call that does not end; nothing is lost")
            signals.last_words()
            os._exit(0)
        if not numbers:
            return
        with contextlib.suppress(OSError):
            waker.send(b"\0")
        if deadline is None and (signal.SIGTERM in numbers or signal.SIGINT in numbers):
            deadline = time.monotonic() + LAST_S


@attrs.frozen
class LoadedConfig:
    """A configuration in force: what opens the engine under it, the zone of each day, its mark, and its name in words."""

    open: Callable[[], Engine]
    zone_at: Callable[[date], Any]
    mark: str = ""
    name: str = ""


@attrs.define
class _Running:
    """The engine at work, and the configuration that it was opened under."""

    loaded: LoadedConfig
    engine: Engine
    record: DaemonRecord | None = None

    def begin(self, request: Request) -> Job:
        """The job for a request."""
        log.info("request command=%s", request.command)
        job = perform(self.engine, request, self.loaded.zone_at)
        if not request.mark or request.mark == self.loaded.mark:
            return job
        words = (
            f"The running daemon does this, under its own configuration ({self.loaded.name}), which differs from the one given"
            " here. For another one, stop it first; what changed in its file it reads at `systemctl reload` (SIGHUP)."
        )
        return chain((Notice(words=words),), job)

    def reload(self, load: Callable[[], LoadedConfig]) -> None:
        """Go on under the configuration as it is now; under the old one where that cannot be used."""
        try:
            fresh = load()
        except TconnectsyncError as error:
            log.error('reload_refused the old configuration stays in force: message="%s"', error.message)
            self._refused(error.message)
            return
        self.engine.close()
        try:
            self.engine = fresh.open()
        except Exception as error:
            # whatever a plugin finds wrong with its options now: the old ones worked
            log.exception("reload_failed the old configuration stays in force")
            self.engine = self.loaded.open()
            self._refused(f"it cannot be opened under it ({type(error).__name__}); the daemon's log has the details")
        else:
            self.loaded = fresh
            log.info("reloaded")
            if self.record is not None:
                self.record.reloaded()

    def _refused(self, message: str) -> None:
        if self.record is not None:
            self.record.reload_refused(message)


@attrs.define
class Daemon:
    """Runs until it is told to stop.

    ``load`` reads the configuration as it is now. Errors: ConfigError.
    """

    load: Callable[[], LoadedConfig]
    control_path: Path
    environ: Mapping[str, str]

    def run(self) -> int:
        """The exit status: 0 after a stop that was asked for."""
        notifier = Notifier.from_environment(self.environ)
        signals = Signals()
        with signals.installed() as wake:
            try:
                loaded = self.load()
                running = _Running(loaded, loaded.open())
                running.record = DaemonRecord(self.control_path.parent, os.getpid(), running.engine.clock.now)
                signals.last_words = running.record.stopped
                try:
                    self._serve(running, signals, notifier, wake)
                finally:
                    no_more_alarms()
                    notifier.stopping()
                    if signals.stop:
                        running.record.stopped()
                    running.engine.close()
            except ForcedStop:
                log.info("cut_short")
        log.info("stopped")
        return 0

    def _serve(self, running: _Running, signals: Signals, notifier: Notifier, wake: socket.socket) -> None:
        control = ControlServer(self.control_path, running.begin)
        try:
            control.start(wake)
            if running.record is not None:
                running.record.started()
            notifier.ready()
            log.info("started records=%d", running.engine.events.end)
            while not signals.stop:
                if signals.reload and not control.busy:
                    signals.reload = False
                    notifier.reloading()
                    running.reload(self.load)
                    notifier.ready()
                notifier.alive()
                control.step()
                worked = running.engine.run_once()
                notifier.status(_summary(running.engine))
                control.wait(0.0 if worked or control.busy else _nap_s(running.engine, notifier))
        finally:
            no_more_alarms()
            control.close()


def _nap_s(engine: Engine, notifier: Notifier) -> float:
    nap_s = engine.next_due()
    return nap_s if notifier.watchdog_s is None else min(nap_s, notifier.watchdog_s / 3)


def _summary(engine: Engine) -> str:
    troubles = [
        f"{name}: {condition.state} ({condition.message})"
        for name, condition in (
            *((name, poller.health) for name, poller in engine.pollers.items()),
            *((name, runner.health) for name, runner in engine.runners.items()),
        )
        if not condition.is_ok
    ]
    return "; ".join(troubles) or "all is well"
