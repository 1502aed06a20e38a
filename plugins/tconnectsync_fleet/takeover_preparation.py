"""Before a takeover: if a worker is silent, those that would get its people copy their logs while its lease still holds.

Copying needs no claim and changes nothing in NATS. When the lease has ended, the takeover itself has less to do.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import attrs
from nats.errors import Error as NatsError

from tconnectsync import Retryable, TconnectsyncError
from tconnectsync_fleet.lease import WorkerLease, live_reports, serving, worker_for
from tconnectsync_fleet.log_person import log_person
from tconnectsync_fleet.schedule import ScheduledPerson
from tconnectsync_fleet.servers import WORKERS, Entry, Servers

log = logging.getLogger("tconnectsync.fleet")
SILENT_SHARE = 0.5
"""After this share of a lease's life without a renewal, a worker is silent. It may be alive and renew again."""
LOOK_S = 1.0


@attrs.define
class TakeoverPreparation:
    """The thread that prepares, for one worker, from :meth:`start` until :meth:`finish`."""

    servers: Servers
    worker: str
    lease: Callable[[], WorkerLease | None]
    people: Mapping[str, ScheduledPerson]
    monotonic: Callable[[], float] = time.monotonic
    _renewed: dict[str, tuple[int, float]] = attrs.field(factory=dict)
    """The newest renewal of each worker, and when it was seen first."""
    _prepared: set[str] = attrs.field(factory=set)
    """Who was prepared since all workers were heard."""
    _is_finished: threading.Event = attrs.field(factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Look for silent workers from now on."""
        self._thread = threading.Thread(target=self._run, name="preparation", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Prepare nobody else. The copy of a long log may go on for a while: whoever is given back waits for their own only."""
        self._is_finished.set()
        if self._thread is not None:
            self._thread.join(LOOK_S)

    def _run(self) -> None:
        while not self._is_finished.wait(LOOK_S):
            try:
                self.look(self.servers.newest(WORKERS))
            except (Retryable, NatsError):
                pass  # the main loop, which asks the same, reports it
            except Exception:
                log.exception("not_prepared")  # a takeover without preparation takes longer, and is right

    def look(self, workers: Mapping[str, Entry]) -> None:
        """Prepare whoever would come to this worker. ``workers``: the newest entries of the bucket of workers."""
        lease = self.lease()
        if lease is None or not lease.holds():
            return
        reports, now = live_reports(workers), self.monotonic()
        renewals = {name: (workers[name].revision, now) for name in reports}
        for name, (revision, seen) in self._renewed.items():
            if name in renewals and renewals[name][0] == revision:
                renewals[name] = (revision, seen)
        self._renewed = renewals
        silent = {name for name, (_, seen) in renewals.items() if now - seen >= lease.life_s * SILENT_SHARE}
        if not silent:
            self._prepared.clear()
        elif self.worker not in silent:  # else it is the NATS servers that store no renewals
            for scheduled in self._coming(serving(reports), silent):
                self._prepare(scheduled)
                if self._is_finished.is_set() or self.monotonic() - now >= LOOK_S:
                    return  # the next look continues, unless the silent worker was heard

    def _coming(self, workers: set[str], silent: set[str]) -> Iterator[ScheduledPerson]:
        """Yield each person once who works with a silent worker now, and comes to this one without it."""
        for name, scheduled in list(self.people.items()):
            if (
                name not in self._prepared
                and worker_for(name, workers) in silent
                and worker_for(name, workers - silent) == self.worker
            ):
                self._prepared.add(name)
                yield scheduled

    def _prepare(self, scheduled: ScheduledPerson) -> None:
        if not scheduled.lock.acquire(blocking=False):
            return  # their turn runs
        try:
            if not (scheduled.removed or scheduled.runner.person.paused or scheduled.is_wanted):
                with log_person(scheduled.runner.person.name):
                    scheduled.runner.copy_log()
        except (TconnectsyncError, NatsError, OSError) as error:
            log.info('not_prepared message="%s"', error)  # the turn meets it, too, and deals with it
        finally:
            scheduled.lock.release()
