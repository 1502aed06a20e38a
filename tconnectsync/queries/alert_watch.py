"""Starts the watch over the status, and tests where it reports to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from tconnectsync.clock import Clock
from tconnectsync.config.model import Config
from tconnectsync.plugin.receiver import CheckResult, SupportsPresence

if TYPE_CHECKING:
    from tconnectsync.alerts.watch import WatchThread

NOT_ALERTED = "Nobody is notified when data stops. To change that, see docs/user/alerts.md."


def start_watch(
    config: Config,
    *,
    clock: Clock,
    redact: Callable[[str], str],
    after_crash: bool,
    presences: Sequence[SupportsPresence] = (),
) -> WatchThread | None:
    """Start to watch if there are alerts, a heartbeat, or receivers that show problems. Nothing is imported if not."""
    if not config.alerts.urls and config.heartbeat.url is None and not presences:
        return None
    from tconnectsync.alerts.watch import open_watch
    from tconnectsync.queries.status import read_status

    return open_watch(
        config,
        lambda: read_status(config, clock=clock),
        clock=clock,
        redact=redact,
        after_crash=after_crash,
        presences=presences,
    ).start()


def look_once(config: Config, *, clock: Clock, redact: Callable[[str], str]) -> None:
    """Report what a single cycle, such as a cron job's, left behind. If the daemon runs, it does that itself."""
    if not config.alerts.urls and config.heartbeat.url is None:
        return
    from tconnectsync.alerts.watch import open_watch
    from tconnectsync.queries.status import machine_status, read_status

    if machine_status(config.data_dir)["daemon"]["pid"] is None:
        opened = open_watch(config, lambda: read_status(config, clock=clock), clock=clock, redact=redact)
        opened.look_once()


def alert_findings(config: Config) -> Iterator[CheckResult]:
    """Look at the configured addresses. Nothing is sent: `alerts test` does that."""
    urls = config.alerts.urls
    if (
        not urls
        and config.heartbeat.url is None
        and not (config.problem_of("alerts") or config.problem_of("heartbeat"))
    ):
        yield CheckResult(good=True, what=f"alerts: not configured. {NOT_ALERTED}")
    if not urls:
        return
    from tconnectsync.alerts.sending import AppriseSender, SendResult, service_of

    sender = AppriseSender()
    for number, url in enumerate(urls, start=1):
        attempt = sender.look_at(url)
        if attempt.result is SendResult.USABLE:
            yield CheckResult(good=True, what=f"alerts: address {number} ({service_of(url)}) can be used")
            continue
        what = f"alerts: address {number} ({service_of(url)}) cannot be used: {attempt.words}"
        yield CheckResult(
            good=False, what=what, remedy="Correct `urls` under [alerts], then run `tconnectsync alerts test`."
        )
        if attempt.result is SendResult.MISSING:
            return
