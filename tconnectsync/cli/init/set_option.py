"""The option ``--set KEY=VALUE`` of ``init``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import click

from tconnectsync.cli.init.template import value_of
from tconnectsync.cli.invocation import Invocation


def with_settings(
    invocation: Invocation, settings: Sequence[str], tables: Mapping[str, Mapping[str, str]]
) -> Mapping[str, Mapping[str, str]]:
    """Return the tables with the values of ``--set``, which win."""
    found = {name: dict(keys) for name, keys in tables.items()}
    for setting in settings:
        key, equals, value = setting.partition("=")
        key = key.strip()
        if not equals or not re.fullmatch(r"[\w-]+(\.[\w-]+)*", key):
            shown = f" {key}" if equals else ""  # the text may be a secret
            raise click.UsageError(f"--set{shown}: expected KEY=VALUE. Nothing was written.")
        table, _, name = key.rpartition(".")
        found.setdefault(table, {})[name] = value_of(value.strip(), is_text=_is_text(invocation, key))
    return found


def _is_text(invocation: Invocation, key: str) -> bool:
    """Whether the option's type is text."""
    from tconnectsync.config.assemble import CoreOptions
    from tconnectsync.config.option_types import is_text, type_at
    from tconnectsync.config.schema import plugin_tables

    for name, options in (("", CoreOptions), *plugin_tables(invocation.plugins(tolerant=True))):
        prefix = f"{name}." if name else ""
        kind = type_at(options, key[len(prefix) :].split(".")) if key.startswith(prefix) else None
        if kind is not None:
            return is_text(kind)
    return False
