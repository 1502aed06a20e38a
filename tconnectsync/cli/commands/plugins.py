"""``tconnectsync plugins``."""

from __future__ import annotations

from typing import Any

import click

from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.output import print_json, say
from tconnectsync.cli.parameters import common_options, pass_invocation
from tconnectsync.config.error_words import did_you_mean
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
def command(invocation: Invocation, as_json: bool) -> int:
    """List the plugins, what they provide, and their problems.

    Plugins are installed packages with an entry point in the group "tconnectsync", and the .py files in `plugins_dir`. Plugins
    named in `blocked_plugins` are not loaded.
    """
    found = plugins_report(invocation.plugins())
    if as_json:
        print_json(found, indent=2)
        return ExitStatus.DONE
    for plugin in found["plugins"]:
        say(f"  ({plugin['origin']})", symbol=_name(plugin["name"]))
        for kind, word in _WORDS.items():
            for name in plugin[kind]:
                say(f"    {word} {name}")
    for name in found["blocked"]:
        hint = did_you_mean(name, [plugin["name"] for plugin in found["plugins"]], "")
        unknown = f", but there is no such plugin{hint}" if name in found["blocked_in_vain"] else ""
        say(f"  is blocked{unknown}", symbol=_name(name))
    for problem in found["problems"]:
        say("", symbol=click.style(printable(f"{problem['plugin']}: {problem['message']}"), fg="red"))
    if not found["plugins"]:
        say("No plugins were found. Install tconnectsync again: its plugins are part of the package.")
    return ExitStatus.DONE


def _name(name: str) -> str:
    return click.style(printable(name), bold=True)


def plugins_report(plugins: Plugins) -> dict[str, Any]:
    """Return what ``plugins --json`` prints."""
    plugins.call_all_hooks()
    return {
        "plugins": [
            {"name": plugin.name, "origin": plugin.origin, **plugins.provided_by(plugin.name)}
            for plugin in plugins.loaded
        ],
        "blocked": list(plugins.blocked),
        "blocked_in_vain": list(plugins.blocked_in_vain),
        "problems": [{"plugin": name, "message": message} for name, message in plugins.problems],
    }
