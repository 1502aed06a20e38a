"""The daemon's main loop: the engine, signals, systemd's readiness and watchdog, requests, and reload."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import attrs

from tconnectsync.daemon.control_socket import ControlServer
from tconnectsync.daemon.state import DaemonRecord, load_state
from tconnectsync.daemon.systemd import Notifier
from tconnectsync.errors import TconnectsyncError
from tconnectsync.jobs.dispatch import perform
from tconnectsync.jobs.messages import Job, Notice, Request
from tconnectsync.plugin.receiver import SupportsPresence
from tconnectsync.runtime.engine import Engine

log = logging.getLogger("tconnectsync.daemon")
GRACE_S = 5.0
"""A stop waits this long for a network call, then interrupts it. The call is repeated after the next start."""
LAST_S = 8.0
"""After this long the process ends even if a call cannot be interrupted, such as a name server that does not answer."""


LOOK_AGAIN_S = 50.0
"""How often at most the configuration is read again, between two naps of the loop, while a part of it, such as a secret's file, cannot be used."""


class ForcedStop(BaseException):
    """Raised in the middle of a call when a stop has waited long enough. Safe, because all storage is crash-safe."""


@attrs.define
class Signals:
    """Signal handling: SIGTERM and SIGINT request a stop, SIGHUP a reload. Each ends a wait at once."""

    stop: bool = False
    reload: bool = False
    last_words: Callable[[], None] = lambda: None
    """Called before the process is ended because a call does not return."""

    @contextlib.contextmanager
    def installed(self) -> Iterator[socket.socket]:
        """Handle signals inside the block; give the socket that becomes readable when a signal arrives."""
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM)
        before = {number: signal.getsignal(number) for number in numbers}
        received, outer = socket.socketpair()
        wake, waker = socket.socketpair()
        for each in (outer, wake, waker):
            each.setblocking(False)
        watcher = threading.Thread(target=_watch, args=(received, waker, self), name="signals", daemon=True)
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
            for each in (received, wake, waker):
                each.close()

    def _handle(self, number: int, _frame: object) -> None:
        if number == signal.SIGALRM:
            raise ForcedStop
        if number == signal.SIGHUP:
            self.reload = True
        elif not self.stop:
            self.stop = True
            # repeated every second: Python may swallow the exception, for example in a destructor
            signal.setitimer(signal.ITIMER_REAL, GRACE_S, 1.0)


def no_more_alarms() -> None:
    """Stop interrupting calls from now on."""
    signal.setitimer(signal.ITIMER_REAL, 0.0)


def _watch(received: socket.socket, waker: socket.socket, signals: Signals) -> None:
    """Wake the loop at each signal. After a stop, end the process if the loop does not return from a call."""
    deadline: float | None = None
    while True:
        received.settimeout(None if deadline is None else max(0.01, deadline - time.monotonic()))
        try:
            numbers = received.recv(64)
        except TimeoutError:
            log.warning("forced_exit a call does not return; nothing is lost")
            signals.last_words()
            os._exit(0)
        if not numbers:
            return
        with contextlib.suppress(OSError):
            waker.send(b"\0")
        if deadline is None and (signal.SIGTERM in numbers or signal.SIGINT in numbers):
            deadline = time.monotonic() + LAST_S


class Watcher(Protocol):
    """Something that watches the daemon's work from its own thread, such as the alerts."""

    def nudge(self) -> None:
        """Something changed. Returns at once."""
        ...

    def stop(self) -> None:
        """End it, within seconds."""
        ...


@attrs.frozen
class LoadedConfig:
    """A configuration in use: how to open the engine with it, the zone of each day, its id, and its file name.

    ``unusable``: the parts that do not work, in words, such as a sink whose secret cannot be read. ``watch`` starts what watches the daemon. Its arguments: whether the daemon before this one ended unexpectedly, and the receivers
    that show whether this one works.
    """

    open: Callable[[], Engine]
    zone_at: Callable[[date], Any]
    config_id: str = ""
    name: str = ""
    watch: Callable[[bool, Sequence[SupportsPresence]], Watcher | None] = lambda _after_crash, _presences: None
    unusable: tuple[str, ...] = ()


@attrs.define
class _RunningDaemon:
    """The running engine and its configuration."""

    loaded: LoadedConfig
    engine: Engine
    record: DaemonRecord | None = None
    notifier: Notifier = attrs.field(factory=Notifier)
    watcher: Watcher | None = None
    _failed: tuple[object, ...] | None = None
    """The configuration with which the last reload failed: its unusable parts and its id."""
    _pulse: str = ""
    _next_look: float = attrs.field(factory=lambda: time.monotonic() + LOOK_AGAIN_S)

    def watch(self, *, after_crash: bool = False) -> None:
        """Start to watch with the current configuration, instead of an earlier one."""
        self.stop_watching()
        presences = []
        for runner in self.engine.runners.values():
            receiver = runner.sender.receiver
            if isinstance(receiver, SupportsPresence):
                runner.sender.recall()  # it may show what it delivered last
                presences.append(receiver)
        self.watcher = self.loaded.watch(after_crash, presences)

    def stop_watching(self) -> None:
        watcher, self.watcher = self.watcher, None
        if watcher is not None:
            watcher.stop()

    def summary(self, *, idle: bool) -> str:
        """Return the state in one line. Watchers get it when it has changed and nothing is under way."""
        words = _summary(self.engine)
        pulse = f"{words} {[poller.state.last_fetch for poller in self.engine.pollers.values()]}"
        if idle and pulse != self._pulse and self.watcher is not None:
            self._pulse = pulse
            self.watcher.nudge()
        return words

    def alive(self) -> None:
        """Reset systemd's watchdog, unless a receiver is stuck: then systemd may end the process."""
        if not self.engine.is_stuck:
            self.notifier.alive()

    def begin(self, request: Request) -> Job:
        """Return the job for a request."""
        log.info("request command=%s", request.command)
        job = self.without_sending(perform(self.engine, request, self.loaded.zone_at))
        if not request.config_id or request.config_id == self.loaded.config_id:
            return job
        words = (
            f"The running daemon does this with its own configuration ({self.loaded.name}), which differs from the one given"
            " here. If you changed its file, run `systemctl reload tconnectsync`. To use another file, stop the daemon first."
        )
        return chain((Notice(words=words),), job)

    def without_sending(self, job: Job) -> Job:
        """Take each step of a job while no batch is on its way: a step may use receivers and outboxes."""
        self.engine.finish_sending(self.alive)
        for step in job:
            yield step
            self.engine.finish_sending(self.alive)

    def has_news(self, load: Callable[[], LoadedConfig]) -> bool:
        """Whether other parts are unusable than at the last load, or none. While there are any, it looks about once a minute."""
        if not self.loaded.unusable or time.monotonic() < self._next_look:
            return False
        self._next_look = time.monotonic() + LOOK_AGAIN_S
        try:
            found = load()
        except TconnectsyncError:
            return False  # the file is being edited: a reload would be refused
        if _identity(found) == self._failed:
            return False  # each attempt interrupts what is under way
        self._failed = None
        return found.unusable != self.loaded.unusable

    def reload(self, load: Callable[[], LoadedConfig]) -> None:
        """Load the current configuration; keep the old one if the new one cannot be used."""
        try:
            fresh = load()
        except TconnectsyncError as error:
            log.error('reload_refused the old configuration is still used: message="%s"', error.message)
            self._refused(error.message)
            return
        self.engine.finish_sending(self.alive)
        self.stop_watching()
        self.engine.close()
        try:
            self.engine = fresh.open()
        except Exception as error:
            # the border to plugins, which may refuse their new options: the old ones worked
            log.exception("reload_failed the old configuration is still used")
            self._failed = _identity(fresh)
            self.engine = self.loaded.open()
            self._refused(f"a plugin cannot use it ({type(error).__name__}); the daemon's log has the details")
        else:
            self.loaded, self._failed = fresh, None
            log.info("reloaded")
            if self.record is not None:
                self.record.reloaded()
        self.watch()

    def _refused(self, message: str) -> None:
        if self.record is not None:
            self.record.reload_refused(message)


def _identity(loaded: LoadedConfig) -> tuple[object, ...]:
    return loaded.unusable, loaded.config_id


@attrs.define
class Daemon:
    """The daemon. It runs until a signal stops it. ``load`` reads the current configuration. Errors: ConfigError."""

    load: Callable[[], LoadedConfig]
    control_path: Path
    environ: Mapping[str, str]

    def run(self) -> int:
        """Run until a stop is requested; return the exit status 0."""
        notifier = Notifier.from_environment(self.environ)
        signals = Signals()
        with signals.installed() as wake:
            try:
                loaded = self.load()
                running = _RunningDaemon(loaded, loaded.open(), notifier=notifier)
                running.record = DaemonRecord(self.control_path.parent, os.getpid(), running.engine.clock.now)
                signals.last_words = running.record.stopped
                after_crash = load_state(self.control_path.parent) is not None
                try:
                    running.watch(after_crash=after_crash)
                    self._serve(running, signals, wake)
                finally:
                    no_more_alarms()
                    notifier.stopping()
                    if signals.stop:
                        running.record.stopped()
                    running.stop_watching()
                    running.engine.close()
            except ForcedStop:
                log.info("interrupted")
        log.info("stopped")
        return 0

    def _serve(self, running: _RunningDaemon, signals: Signals, wake: socket.socket) -> None:
        control, notifier = ControlServer(self.control_path, running.begin), running.notifier
        try:
            control.start(wake)
            if running.record is not None:
                running.record.started()
            notifier.ready()
            log.info("started records=%d", running.engine.events.end)
            while not signals.stop:
                if not control.busy and (signals.reload or running.has_news(self.load)):
                    signals.reload = False
                    notifier.reloading()
                    running.reload(self.load)
                    notifier.ready()
                running.alive()
                control.step()
                worked = running.engine.run_once()
                notifier.status(running.summary(idle=not worked))
                control.wait(0.0 if worked or control.busy else _nap_s(running.engine, notifier))
            running.engine.finish_sending(running.alive)
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
            *engine.unusable.items(),
        )
        if not condition.is_ok
    ]
    return "; ".join(troubles) or "all is well"
