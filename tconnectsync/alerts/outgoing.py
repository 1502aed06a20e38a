"""Notifications on their way: kept until each address took them, in a file that survives a restart."""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import attrs

from tconnectsync.alerts.decisions import Known
from tconnectsync.alerts.heartbeat import LastCall
from tconnectsync.alerts.notification_text import Notification
from tconnectsync.alerts.sending import Attempt, SendResult, service_of
from tconnectsync.alerts.wearer import WearerAlert
from tconnectsync.filesystem import Files, OsFiles, replace_file
from tconnectsync.json_converter import CONVERTER
from tconnectsync.plugin.options import Secret
from tconnectsync.retry.backoff import backoff_s
from tconnectsync.text.plural import counted

log = logging.getLogger("tconnectsync.alerts")
FILE_NAME = "alerts.json"
KEPT_FOR = timedelta(days=1)
"""A notification that no address has taken for this time is dropped."""
MOST_WAITING = 20
"""More than this drop the oldest ones."""


def address_id(url: Secret) -> str:
    """Return a name of an address that does not reveal it, for the file."""
    return hashlib.blake2b(url.reveal().encode(), digest_size=8).hexdigest()


@attrs.frozen(kw_only=True)
class Waiting:
    """One notification and the addresses that have not taken it.

    An ``alert`` for the wearer gets its words when it is sent, and waits as long as it is true.
    """

    at: datetime
    message: Notification
    addresses: tuple[str, ...]
    alert: WearerAlert | None = None
    taken: bool = False
    """Whether another address has taken it."""


@attrs.frozen(kw_only=True)
class AlertState:
    """Everything that is kept: what was reported of each problem, what waits to be sent, what was read of the log."""

    known: Mapping[str, Known] = attrs.field(factory=dict)
    waiting: tuple[Waiting, ...] = ()
    seen: Mapping[str, str] = attrs.field(factory=dict)
    """Wearer alerts that were sent: a name to a value, such as an alarm to its time."""
    last_call: LastCall | None = None
    """Of the heartbeat's address."""
    usable: Mapping[str, bool] = attrs.field(factory=dict)
    """Whether Apprise can use an address, for those that it looked at."""


def load_state(folder: Path, files: Files | None = None) -> AlertState:
    """Read the file. A missing or unreadable file gives a fresh start: at worst something is reported twice."""
    try:
        return CONVERTER.loads((files or OsFiles()).read(folder / FILE_NAME), AlertState)
    except Exception:  # noqa: BLE001 - the remedy is the same for every cause
        return AlertState()


def save_state(folder: Path, state: AlertState, files: Files | None = None) -> None:
    """Write the file, all or nothing. Errors: OSError."""
    replace_file(files or OsFiles(), folder / FILE_NAME, CONVERTER.dumps(state).encode())


def queued(
    waiting: Sequence[Waiting],
    message: Notification,
    urls: Sequence[Secret],
    now: datetime,
    alert: WearerAlert | None = None,
) -> tuple[Waiting, ...]:
    """Return the queue with one more notification, for every address."""
    fresh = Waiting(at=now, message=message, addresses=tuple(address_id(url) for url in urls), alert=alert)
    return (*waiting, fresh)[-MOST_WAITING:]


def still_wanted(waiting: Sequence[Waiting], urls: Sequence[Secret], now: datetime) -> tuple[Waiting, ...]:
    """Return the queue without what is too old, and without addresses that are not configured any more."""
    known = {address_id(url) for url in urls}
    kept = [
        attrs.evolve(each, addresses=left)
        for each in waiting
        if (each.alert or now - each.at < KEPT_FOR) and (left := tuple(id_ for id_ in each.addresses if id_ in known))
    ]
    return tuple(kept)


@attrs.define
class Deliverer:
    """Sends what waits: everything for one address in one notification. A failing address has its own back-off."""

    send: Callable[[Secret, Notification], Attempt]
    monotonic: Callable[[], float]
    rng: random.Random = attrs.field(factory=random.Random)
    _failures: dict[str, int] = attrs.field(factory=dict)
    _not_before: dict[str, float] = attrs.field(factory=dict)

    def deliver(
        self,
        waiting: Sequence[Waiting],
        urls: Sequence[Secret],
        now: datetime,
        words: Callable[[Waiting], Notification] = lambda each: each.message,
        taken: Callable[[tuple[Waiting, ...]], None] = lambda _: None,
    ) -> tuple[Waiting, ...]:
        """Try each address that is due; return what still waits. ``words`` says what is sent of each.

        ``taken`` is called with what still waits after each address that took something: the next one may hang for a minute.
        """
        waiting = still_wanted(waiting, urls, now)
        for url in urls:
            id_ = address_id(url)
            mine = [each for each in waiting if id_ in each.addresses]
            if mine and self.monotonic() >= self._not_before.get(id_, 0.0) and self._sent(url, list(map(words, mine))):
                waiting = tuple(
                    attrs.evolve(each, addresses=left, taken=each.taken or id_ in each.addresses)
                    for each in waiting
                    if (left := tuple(other for other in each.addresses if other != id_))
                )
                taken(waiting)
        return waiting

    def _sent(self, url: Secret, mine: Sequence[Notification]) -> bool:
        id_, service = address_id(url), service_of(url)
        try:
            attempt = self.send(url, joined(mine))
        except Exception as error:  # noqa: BLE001 - the other addresses must get it all the same
            attempt = Attempt(result=SendResult.FAILED, why=f"it failed unexpectedly ({type(error).__name__})")
        if attempt.result is SendResult.SENT:
            self._failures.pop(id_, None)
            log.info('alert_sent to=%s title="%s"', service, mine[-1].title)
            return True
        failures = self._failures.get(id_, 0) + 1
        wait_s = backoff_s(failures, after_s=None, rng=self.rng)
        self._failures[id_], self._not_before[id_] = failures, self.monotonic() + wait_s
        log.warning('alert_not_sent to=%s next_try_s=%.0f reason="%s"', service, wait_s, attempt.words)
        return False


def joined(messages: Sequence[Notification]) -> Notification:
    """Return several notifications as one, oldest first. The newest gives the title."""
    if len(messages) == 1:
        return messages[0]
    title = f"{messages[-1].title} (and {counted(len(messages) - 1, 'more', 'more')})"
    return Notification(title=title, body="\n\n".join(message.body for message in messages))
