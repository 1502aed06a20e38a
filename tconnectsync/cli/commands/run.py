"""``tconnectsync run``."""

from __future__ import annotations

import click

from tconnectsync.cli.invocation import CliContext
from tconnectsync.cli.parameters import common_options, features_option, pass_invocation
from tconnectsync.config.model import Config


@click.command("run")
@common_options
@features_option
@pass_invocation
def command(invocation: CliContext) -> int:
    """Run the daemon: fetch and deliver continuously.

    SIGTERM stops it within ten seconds, and nothing is lost. SIGHUP reloads the configuration. Log lines go to stderr
    (`log_level` in the configuration). Other commands can be used while it runs.
    """
    invocation.serve()
    config = invocation.config()
    from tconnectsync.daemon.execute import run_daemon

    def load() -> Config:
        fresh = invocation.load_config()
        if invocation.logs is not None:
            invocation.logs.level(fresh.log_level)
        return fresh

    if invocation.logs is not None:
        invocation.logs.level(config.log_level)
    return int(run_daemon(load, invocation.plugins(), clock=invocation.clock))
