"""The command ``tconnectsync demo``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Try everything with a simulated pump and site; no account needed.")
@click.option("--days", default=3, show_default=True, type=click.IntRange(1, 90), help="Days of history at the start.")
@click.option(
    "--port",
    default=8417,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port of the page; 0: any free port.",
)
@click.option("--seed", default=1, show_default=True, help="Each seed simulates another person.")
@click.option("--once", is_flag=True, help="Sync once, print a summary and end: no page, no daemon.")
@click.option(
    "--plugins-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with *.py files of your own plugins to try.",
)
@click.option(
    "--tables",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A TOML file with more configuration tables, such as [sinks.mine].",
)
def demo(days: int, port: int, seed: int, once: bool, plugins_dir: Path | None, tables: Path | None) -> int:
    """Run the real daemon between a simulated pump, cloud and Nightscout: no account, no configuration.

    All files are in a temporary folder, which is deleted when the demo ends. No data leaves this computer.
    """
    from tconnectsync_simulator.demo.running import run_demo

    return run_demo(days=days, port=port, seed=seed, once=once, plugins_dir=plugins_dir, tables=tables)
