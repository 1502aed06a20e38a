"""``tconnectsync init``."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import attrs
import click

from tconnectsync.cli.init.draft_check import load_draft, try_out
from tconnectsync.cli.init.legacy_settings import (
    FEATURES,
    NAMES,
    feature_tables,
    mention_older_file,
    older_settings,
    selected_pump,
)
from tconnectsync.cli.init.new_file import all_or_nothing, draft_beside, publish_draft, service_hint, write_draft
from tconnectsync.cli.init.options import account_options, from_env_option, settings_option
from tconnectsync.cli.init.questions import (
    EMAIL,
    PASSWORD,
    REGION,
    SECRET,
    TOKENS,
    URL,
    ZONE,
    AnswerFinder,
    ask,
    host_zone,
    split_token,
)
from tconnectsync.cli.init.set_option import with_settings
from tconnectsync.cli.init.template import TemplateValues, fill_template
from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.output import say
from tconnectsync.cli.parameters import WritePath, common_options, pass_invocation
from tconnectsync.exit_status import ExitStatus


@click.command("init")
@account_options
@click.option(
    "--api-secret-file", type=click.Path(path_type=Path), help="File that contains only the site's API secret."
)
@from_env_option
@click.option("--output", type=WritePath(), metavar="PATH", help="Path of the new file.")
@settings_option
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@click.option("--no-check", is_flag=True, help="Do not test the login and Nightscout first.")
@common_options
@pass_invocation
def command(
    invocation: Invocation, timezone: str | None, email: str | None, region: str | None, url: str | None,
    password_file: Path | None, api_secret_file: Path | None, from_env: Path | None, output: Path | None,
    settings: tuple[str, ...], force: bool, no_check: bool,
) -> int:  # fmt: skip
    """Create a complete, commented configuration file, and test it first.

    Each value is taken from the first of these that has it: a flag, a value in the file of --from-env, the environment, a
    default in that file (os.environ.get). You are asked for missing values. Only the owner can read the new file.
    """
    path = _target(invocation, output, force=force)
    if from_env is None:
        mention_older_file(invocation)
    old = older_settings(invocation, from_env)
    asking = AnswerFinder(old, sys.stdin.isatty(), path)
    answers = _answers(
        asking, host_zone(invocation.environ), timezone, email, password_file, region, url, api_secret_file
    )
    answers = attrs.evolve(
        answers,
        pump=selected_pump(old),
        tables=with_settings(invocation, settings, feature_tables(invocation, old.get(FEATURES, ""))),
        verify_tls=old.get("NS_SKIP_TLS_VERIFY", "").strip().lower() not in {"1", "true", "yes", "on"},
    )
    with all_or_nothing("init"), draft_beside(path) as draft:
        if not _write_tested(invocation, asking, answers, draft, test=not no_check):
            say(
                "Nothing was written. Correct the settings and run the command again, or skip the test with --no-check.",
                err=True,
            )
            return int(ExitStatus.DIFFERENT)
        service = service_hint(invocation, draft, path)
        publish_draft(draft, path, force=force)
    say(f"Written: {path}. Next: tconnectsync --config {shlex.quote(str(path))} sync --dry-run")
    say(service)
    return int(ExitStatus.DONE)


def _target(invocation: Invocation, output: Path | None, *, force: bool) -> Path:
    """Return the absolute path of the new file. Errors: click.UsageError for a folder, or an existing file without --force."""
    from tconnectsync.config.config_file import home_folder

    path = output or invocation.config_path or home_folder(invocation.environ) / ".config/tconnectsync/config.toml"
    path = Path.cwd() / path
    if path.is_dir():
        raise click.UsageError(f"--output: {path} is a folder, expected the path of a file. Nothing was written.")
    if os.path.lexists(path) and not force:
        raise click.UsageError(
            f"{path} exists already: use --force to overwrite it, or --output for another path. Nothing was written."
        )
    return path


def _write_tested(
    invocation: Invocation, asking: AnswerFinder, answers: TemplateValues, draft: Path, *, test: bool
) -> bool:
    """Write the draft and test it; ask again for a doubtful time zone. False: do not publish it."""
    write_draft(draft, fill_template(answers))
    config = load_draft(invocation, draft, asking.path, frozenset({*NAMES, "TZ"}))
    good, doubt = try_out(invocation, config) if test else (True, None)
    if doubt is not None and asking.terminal:
        likely = doubt.places[0] if doubt.sure and doubt.places else answers.timezone
        answers = attrs.evolve(answers, timezone=ask(ZONE, likely))
        draft.unlink()
        write_draft(draft, fill_template(answers))
    elif doubt is not None:
        good = good and not doubt.sure
    return good or (asking.terminal and click.confirm("Write the file anyway?", err=True))


def _answers(
    asking: AnswerFinder, here: str | None, timezone: str | None, email: str | None, password_file: Path | None, region: str | None,
    url: str | None, api_secret_file: Path | None,
) -> TemplateValues:  # fmt: skip
    """Collect the values from flags, older settings and prompts, in the order of the prompts. ``here`` is the computer's zone."""
    zone = asking.answer(ZONE, timezone, here)
    account = asking.answer(EMAIL, email)
    password = None if password_file else asking.answer(PASSWORD)
    account_region = asking.answer(REGION, region)
    address, token = split_token(asking.answer(URL, url))
    token = next(filter(None, map(asking.old.get, TOKENS)), None) or token
    if api_secret_file is not None or any(asking.old.get(name) for name in SECRET.names):
        token = None
    return TemplateValues(
        timezone=zone,
        email=account,
        password=password,
        password_file=str(Path.cwd() / password_file) if password_file else None,
        region=account_region,
        url=address,
        token=token,
        api_secret=None if token or api_secret_file else asking.answer(SECRET),
        api_secret_file=str(Path.cwd() / api_secret_file) if api_secret_file else None,
    )
