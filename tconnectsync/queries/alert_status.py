"""The part of ``status`` about notifications: kinds of addresses without their secrets, what waits to be sent, the heartbeat."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from tconnectsync.config.model import Config
from tconnectsync.config.unusable_parts import REMEDY
from tconnectsync.text.durations import iso_time
from tconnectsync.text.plural import counted

if TYPE_CHECKING:
    from tconnectsync.alerts.heartbeat import LastCall
    from tconnectsync.alerts.outgoing import AlertState

_OFF = {"state": "off", "since": None, "message": "", "remedy": None}
_TEST = "Run `tconnectsync alerts test`: it says what is wrong with each address."


def alert_status(config: Config, now: datetime) -> dict[str, Any]:
    """Return the keys ``alerts`` and ``heartbeat`` of ``status --json``. No code of alerts is imported if both are off."""
    alerts: dict[str, Any] = {**_OFF, "addresses": [], "waiting": 0}
    heartbeat: dict[str, Any] = {**_OFF, "kind": None, "last_called": None, "reported": ""}
    for found, name in ((alerts, "alerts"), (heartbeat, "heartbeat")):
        problem = config.problem_of(name)
        if problem is not None:
            found |= {"state": "halted", "message": problem, "remedy": REMEDY}
    if config.alerts.urls or config.heartbeat.url is not None:
        from tconnectsync.alerts.outgoing import load_state

        state = load_state(config.data_dir)
        if config.alerts.urls:
            alerts |= _alerts(config, state, now)
        if config.heartbeat.url is not None:
            heartbeat |= _heartbeat(config, state.last_call)
    return {"alerts": alerts, "heartbeat": heartbeat}


def _alerts(config: Config, state: AlertState, now: datetime) -> dict[str, Any]:
    from tconnectsync.alerts.outgoing import address_id, still_wanted
    from tconnectsync.alerts.sending import Attempt, SendResult, is_installed, service_of

    urls, wrong_lines = config.alerts.urls, config.problem_of("alerts")
    found: dict[str, Any] = {"state": "ok", "addresses": [service_of(url) for url in urls]}
    waiting = still_wanted(state.waiting, urls, now)
    unusable = [
        f"{number} ({service_of(url)})"
        for number, url in enumerate(urls, start=1)
        if state.usable.get(address_id(url)) is False
    ]
    if not is_installed():
        found |= {
            "state": "halted",
            "message": "nobody can be notified",
            "remedy": Attempt(result=SendResult.MISSING).words,
        }
    elif unusable:
        which = f"{'address' if len(unusable) == 1 else 'addresses'} {', '.join(unusable)} cannot be used"
        nobody = len(unusable) == len(urls)
        words = f"nobody can be notified: {which}" if nobody else f"{which}; the others get the notifications"
        found |= {"state": "halted" if nobody else "waiting", "message": words, "remedy": _TEST}
    elif wrong_lines:
        found |= {"state": "waiting", "message": wrong_lines, "remedy": REMEDY}
    elif waiting:
        words = f"{counted(len(waiting), 'notification')} could not be sent yet"
        found |= {"state": "backing_off", "since": iso_time(waiting[0].at), "message": words, "remedy": _TEST}
    return {**found, "waiting": len(waiting)}


def _heartbeat(config: Config, last: LastCall | None) -> dict[str, Any]:
    from tconnectsync.alerts.heartbeat import kind_of

    found: dict[str, Any] = {"state": "waiting", "kind": kind_of(config.heartbeat)}
    if last is None:
        return {**found, "message": "not called yet"}
    found |= {"last_called": iso_time(last.answered_at), "reported": last.reason}
    if last.trouble:
        return {
            **found,
            "state": "backing_off",
            "since": iso_time(last.failing_since),
            "message": last.trouble,
            "remedy": _TEST,
        }
    return {**found, "state": "ok"}
