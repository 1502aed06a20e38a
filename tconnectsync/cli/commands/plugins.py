"""``tconnectsync plugins``."""

from __future__ import annotations

from typing import Any

import click

from tconnectsync.cli.invocation import CliContext
from tconnectsync.cli.output import print_json, say
from tconnectsync.cli.parameters import common_options, pass_invocation
from tconnectsync.config.messages import nearest
from tconnectsync.exit_status import ExitStatus
from tconnectsync.plugin.manager import Plugins
from tconnectsync.text.printable import printable

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
def command(invocation: CliContext, as_json: bool) -> int:
    """Which plugins run, what they bring, and what is wrong with the others.

    Plugins are installed packages with an entry point in the group "tconnectsync", and the .py files of `plugins_dir`.
    `blocked_plugins` names those that are left alone.
    """
    found = plugins_report(invocation.plugins())
    if as_json:
        print_json(found, indent=2)
        return ExitStatus.DONE
    for plugin in found["plugins"]:
        say(f"  ({plugin['origin']})", mark=_name(plugin["name"]))
        for kind, word in _WORDS.items():
            for name in plugin[kind]:
                say(f"    {word} {name}")
    for name in found["blocked"]:
        in_vain = "" if name not in found["blocked_in_vain"] else f", but there is no such plugin{_meant(name, found)}"
        say(f"  is blocked{in_vain}", mark=_name(name))
    for problem in found["problems"]:
        say("", mark=click.style(printable(f"{problem['plugin']}: {problem['message']}"), fg="red"))
    if not found["plugins"]:
        say("No plugin was found. Install tconnectsync again: its own plugins come with it.")
    return ExitStatus.DONE


def _name(name: str) -> str:
    return click.style(printable(name), bold=True)


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
