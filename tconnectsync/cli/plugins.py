"""``tconnectsync plugins``."""

from __future__ import annotations

from typing import Any

import click

from tconnectsync.cli.exit_status import ExitStatus
from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.parameters import common_options, pass_invocation
from tconnectsync.cli.requests import print_json
from tconnectsync.plugins import Plugins
from tconnectsync.wording import nearest

_WORDS = {
    "sources": "source",
    "sinks": "sink",
    "sections": "section",
    "importers": "importer of",
    "commands": "command",
}


@click.command("plugins")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@common_options
@pass_invocation
def command(invocation: Invocation, as_json: bool) -> int:
    """Which plugins run, what they bring, and what is wrong with the others.

    Plugins are installed packages with an entry point in the group "tconnectsync", and the .py files of `plugins_dir`.
    `blocked_plugins` names those that are left alone.
    """
    found = plugins_report(invocation.plugins())
    if as_json:
        print_json(found, indent=2)
        return ExitStatus.DONE
    for plugin in found["plugins"]:
        click.echo(f"{click.style(plugin['name'], bold=True)}  ({plugin['origin']})")
        for kind, word in _WORDS.items():
            for name in plugin[kind]:
                click.echo(f"    {word} {name}")
    for name in found["blocked"]:
        in_vain = "" if name not in found["blocked_in_vain"] else f", but there is no such plugin{_meant(name, found)}"
        click.echo(f"{click.style(name, bold=True)}  is blocked{in_vain}")
    for problem in found["problems"]:
        click.echo(click.style(f"{problem['plugin']}: {problem['message']}", fg="red"))
    if not found["plugins"]:
        click.echo("No plugin was found. Install tconnectsync again: its own plugins come with it.")
    return ExitStatus.DONE


def _meant(name: str, found: dict[str, Any]) -> str:
    meant = nearest(name, [plugin["name"] for plugin in found["plugins"]])
    return f"; did you mean {meant!r}?" if meant else ""


def plugins_report(plugins: Plugins) -> dict[str, Any]:
    """What ``plugins --json`` prints."""
    plugins.examine()
    return {
        "plugins": [
            {"name": plugin.name, "origin": plugin.origin, **plugins.brought_by(plugin.name)}
            for plugin in plugins.loaded
        ],
        "blocked": list(plugins.blocked),
        "blocked_in_vain": list(plugins.blocked_in_vain),
        "problems": [{"plugin": name, "message": message} for name, message in plugins.problems],
    }
