"""``tconnectsync run``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.parameters import common_options, features_option, pass_invocation
from tconnectsync.config.model import Config

if TYPE_CHECKING:
    from tconnectsync.daemon.loop import Watcher
    from tconnectsync.plugin.receiver import SupportsPresence


@click.command("run")
@common_options
@features_option
@pass_invocation
def command(invocation: Invocation) -> int:
    """Run the daemon: fetch and deliver continuously.

    SIGTERM stops it within ten seconds, and nothing is lost. SIGHUP reloads the configuration. Log lines go to stderr
    (`log_level` in the configuration). Other commands can be used while it runs.
    """
    invocation.serve()
    config = invocation.config()
    from tconnectsync.daemon.run import run_daemon
    from tconnectsync.queries.alert_watch import start_watch

    def load() -> Config:
        fresh = invocation.load_config()
        if invocation.logs is not None:
            invocation.logs.level(fresh.log_level)
        return fresh

    def watch(fresh: Config, after_crash: bool, presences: Sequence[SupportsPresence]) -> Watcher | None:
        return start_watch(
            fresh, clock=invocation.clock, redact=invocation.redact, after_crash=after_crash, presences=presences
        )

    if invocation.logs is not None:
        invocation.logs.level(config.log_level)
    return int(run_daemon(load, invocation.plugins(), clock=invocation.clock, watch=watch))
