"""The daemon: the engine's loop with signals, systemd's readiness and watchdog, requests and reload."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import attrs

from tconnectsync.control import ControlServer
from tconnectsync.engine import Engine
from tconnectsync.errors import TconnectsyncError
from tconnectsync.jobs import Job, Request, perform
from tconnectsync.notify import Notifier

log = logging.getLogger("tconnectsync.daemon")
GRACE_S = 5
"""A stop that is asked for waits so long for the network; then the call is cut short, which costs nothing but a repeat."""


class CutShort(BaseException):
    """Raised in the middle of whatever runs when a stop has waited long enough; everything is crash-safe."""


@attrs.define
class Signals:
    """SIGTERM and SIGINT ask for a stop, SIGHUP for a reload; each ends a wait at once."""

    stop: bool = False
    reload: bool = False

    @contextlib.contextmanager
    def installed(self) -> Iterator[socket.socket]:
        """Handle signals inside; gives the socket that becomes readable when one came."""
        inner, outer = socket.socketpair()
        outer.setblocking(False)
        inner.setblocking(False)
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM)
        before = {number: signal.getsignal(number) for number in numbers}
        wakeup = signal.set_wakeup_fd(outer.fileno(), warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, self._handle)
        try:
            yield inner
        finally:
            signal.alarm(0)
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            inner.close()
            outer.close()

    def _handle(self, number: int, _frame: object) -> None:
        if number == signal.SIGALRM:
            raise CutShort
        if number == signal.SIGHUP:
            self.reload = True
            return
        self.stop = True
        signal.alarm(GRACE_S)


@attrs.define
class Daemon:
    """Runs until it is told to stop.

    ``load`` reads the configuration (errors: ConfigError) and answers what opens the engine under it, with its zones.
    """

    load: Callable[[], tuple[Callable[[], Engine], Callable[[date], Any]]]
    control_path: Path
    environ: Mapping[str, str]

    def run(self) -> int:
        """The exit status: 0 after a stop that was asked for."""
        notifier = Notifier.from_environment(self.environ)
        signals = Signals()
        open_engine, zone_at = self.load()
        engine = open_engine()
        with contextlib.ExitStack() as stack:
            wake = stack.enter_context(signals.installed())
            control: ControlServer | None = None
            try:
                control = ControlServer(self.control_path, lambda request: self._begin(engine, request, zone_at))
                control.start(wake)
                notifier.ready()
                log.info("started records=%d", engine.events.end)
                while not signals.stop:
                    if signals.reload and not control.busy:
                        signals.reload = False
                        notifier.reloading()
                        engine, zone_at = self._reload(engine, zone_at)
                        notifier.ready()
                    notifier.alive()
                    control.step()
                    worked = engine.turn()
                    notifier.status(_summary(engine))
                    control.wait(0.0 if worked or control.busy else self._nap(engine, notifier))
            except CutShort:
                log.info("cut_short")
            finally:
                notifier.stopping()
                signal.alarm(0)
                if control is not None:
                    control.close()
                engine.close()
        log.info("stopped")
        return 0

    def _nap(self, engine: Engine, notifier: Notifier) -> float:
        nap_s = engine.next_due()
        return nap_s if notifier.watchdog_s is None else min(nap_s, notifier.watchdog_s / 3)

    def _begin(self, engine: Engine, request: Request, zone_at: Callable[[date], Any]) -> Job:
        log.info("request command=%s", request.command)
        return perform(engine, request, zone_at)

    def _reload(self, engine: Engine, zone_at: Callable[[date], Any]) -> tuple[Engine, Callable[[date], Any]]:
        try:
            open_engine, fresh_zone_at = self.load()
        except TconnectsyncError as error:
            log.error('reload_refused the old configuration stays in force: message="%s"', error.message)
            return engine, zone_at
        engine.close()
        log.info("reloaded")
        return open_engine(), fresh_zone_at


def _summary(engine: Engine) -> str:
    troubles = [
        f"{name}: {condition.state} ({condition.message})"
        for name, condition in (
            *((name, poller.condition) for name, poller in engine.pollers.items()),
            *((name, keeper.condition) for name, keeper in engine.keepers.items()),
        )
        if condition.state != "ok"
    ]
    return "; ".join(troubles) or "all is well"
