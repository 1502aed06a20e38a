"""``tconnectsync fleet``. Its commands are imported when one of them is needed: ``tconnectsync --help`` shows only the group."""

from __future__ import annotations

import click


class FleetGroup(click.Group):
    """Imports its commands when they are listed or run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._import_commands()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        self._import_commands()
        return super().get_command(ctx, cmd_name)

    def _import_commands(self) -> None:
        from tconnectsync_fleet.add_commands import add_all
        from tconnectsync_fleet.command import add, pause, remove, resume, run, show, status, worker
        from tconnectsync_fleet.setup_commands import init, key, limit
        from tconnectsync_fleet.transfer_commands import export, import_

        for command in (
            add, add_all, export, import_, init, key, limit, pause, remove, resume, run, show, status, worker,
        ):  # fmt: skip
            self.add_command(command)


@click.group(cls=FleetGroup, short_help="Run tconnectsync for many people on several machines, over NATS.")
def fleet() -> None:
    """Run tconnectsync for many people: workers share them, and their event logs are in NATS JetStream.

    Needs the extra `fleet` and at least one NATS server with JetStream; three of them survive the loss of one.

    \b
    To begin:
      tconnectsync fleet key fleet.key
      tconnectsync fleet init --servers nats://HOST:4222,…
      tconnectsync fleet add anna --config anna.toml --key fleet.key.pub --servers …
      tconnectsync fleet worker --folder /var/lib/tconnectsync-fleet --key fleet.key --servers …
    """
