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
    """The daemon: sync for ever, at the pump's own rhythm.

    SIGTERM ends it within ten seconds with nothing lost, SIGHUP reads the configuration again. Log lines go to stderr
    (`log_level` in the configuration). The other commands may be used beside it.
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
