"""Reads and tests the draft of a new configuration before it gets its final name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.output import say
from tconnectsync.errors import ConfigError
from tconnectsync.folder_owner import as_owner_of

if TYPE_CHECKING:
    from tconnectsync.config.model import Config
    from tconnectsync.queries.zone_check import ZoneDoubt


def load_draft(
    invocation: Invocation, draft: Path, path: Path, names: frozenset[str], *, command: str = "init"
) -> Config:
    """Read the draft as commands will read ``path`` later, without the variables in ``names``. Errors: ConfigError."""
    from tconnectsync.config.load import load_config

    around = {name: value for name, value in invocation.environ.items() if name not in names}
    try:
        config = load_config(draft, around, invocation.plugins(tolerant=True))
    except ConfigError as error:
        problems = tuple(
            words.replace(str(draft), str(path)).replace(draft.name, path.name) for words in error.problems
        )
        raise type(error)(
            problems, remedy=f"Nothing was written. Correct the values and run `tconnectsync {command}` again."
        ) from None
    if invocation.logs is not None:
        invocation.logs.redact(config.secrets())
    return config


def try_out(invocation: Invocation, config: Config) -> tuple[bool, ZoneDoubt | None]:
    """Run ``check`` and print what is not good. Return whether everything but the time zone is good, and the doubt about the zone."""
    from tconnectsync.queries.check import run_check
    from tconnectsync.queries.check_remedies import remedy_before_writing
    from tconnectsync.queries.zone_check import zone_doubt
    from tconnectsync.timeline.zone_decision import Upload

    redact = invocation.logs.redactor if invocation.logs else str
    good, doubt = True, None
    with as_owner_of(config.data_dir):
        every = list(run_check(config, invocation.plugins(tolerant=True), clock=invocation.clock))
    for found in every:
        if found.upload is not None:
            doubt = zone_doubt(Upload(at=found.upload[0], newest=found.upload[1]), config.zones)
        of_zone = doubt is not None and found.what == doubt.words
        good = good and (found.good or of_zone)
        if found.good and not of_zone:
            continue
        say(f"{'LOOK' if found.good else 'BAD '} {redact(found.what)}", err=True)
        remedy = remedy_before_writing(found.remedy)
        if remedy:
            say(f"     {redact(remedy)}", err=True)
    return good, doubt
