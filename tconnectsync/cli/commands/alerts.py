"""``tconnectsync alerts``."""

from __future__ import annotations

import click

from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.output import say
from tconnectsync.cli.parameters import common_options, pass_invocation
from tconnectsync.errors import RequestRefused
from tconnectsync.exit_status import ExitStatus

_GOOD = click.style("ok  ", fg="green")
_BAD = click.style("BAD ", fg="red", bold=True)


@click.group("alerts")
@common_options
def command() -> None:
    """Notifications about problems: [alerts] and [heartbeat] in the configuration."""


@command.command("test", short_help="Send a test to every address and the heartbeat.")
@common_options
@pass_invocation
def test(invocation: Invocation) -> int:
    """Send a test notification to every address, and call the heartbeat's address.

    Exit status 0 if all accepted it, 5 if one could not be reached or refused it, 2 if one cannot be used at all.
    """
    config = invocation.config()
    unusable = [words for part in ("alerts", "heartbeat") if (words := config.problem_of(part))]
    if unusable:
        raise RequestRefused("\n".join(unusable), remedy="Nothing was sent. Correct this, then run the command again.")
    if not config.alerts.urls and config.heartbeat.url is None:
        raise RequestRefused(
            "No notifications are configured, so nobody is notified when data stops.",
            remedy="Add `urls` under [alerts] or `url` under [heartbeat] to the configuration; docs/user/alerts.md shows how.",
        )
    from tconnectsync.alerts.notification_text import Notification
    from tconnectsync.alerts.sending import AppriseSender, SendResult, service_of
    from tconnectsync.alerts.watch import label_of, open_heartbeat

    label, sender = label_of(config.origin), AppriseSender()
    title = "Test of the notifications of tconnectsync"
    message = Notification(
        title=f"{label}: {title}" if label else title,
        body="If you can read this, notifications work. You will get one when pump data stops arriving.\nNothing is wrong now.",
    )
    status = ExitStatus.DONE
    for number, url in enumerate(config.alerts.urls, start=1):
        attempt = sender.send(url, message)
        name = f"address {number} ({service_of(url)})"
        if attempt.result is SendResult.SENT:
            say(f"{name}: sent", symbol=_GOOD)
            continue
        usable = attempt.result is SendResult.FAILED
        words = f"not sent: {attempt.words}" if usable else f"cannot be used: {attempt.words}"
        say(f"{name}: {words}", symbol=_BAD)
        if not usable or status is ExitStatus.DONE:
            status = ExitStatus.WAITING if usable else ExitStatus.USAGE
    heartbeat = open_heartbeat(config, clock=invocation.clock, redact=invocation.redact)
    if heartbeat is not None:
        trouble = heartbeat.call("")
        say(f"heartbeat: {trouble or 'called'}", symbol=_BAD if trouble else _GOOD)
        if trouble and status is ExitStatus.DONE:
            status = ExitStatus.WAITING
    if status is not ExitStatus.DONE:
        say("Correct this, then run `tconnectsync alerts test` again.", err=True)
    return int(status)
