"""``tconnectsync setup``."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import click

from tconnectsync.cli.init.options import account_options, from_env_option, settings_option
from tconnectsync.cli.init.questions import ALERT_URLS, PASSWORD, SECRET, Question
from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.output import say
from tconnectsync.cli.parameters import Duration, common_options, pass_invocation
from tconnectsync.exit_status import ExitStatus


@click.command("setup")
@account_options
@click.option(
    "--api-secret-file",
    type=click.Path(path_type=Path),
    help="File that contains only the site's API secret or an access token.",
)
@click.option(
    "--alert-urls-file",
    type=click.Path(path_type=Path),
    help="File with addresses for notifications, one in each line.",
)
@from_env_option
@settings_option
@click.option("--non-interactive", is_flag=True, help="Ask nothing. A missing answer is an error.")
@click.option(
    "--force", is_flag=True, help="Replace an existing configuration. The old file is kept as config.toml.old."
)
@click.option("--no-check", is_flag=True, help="Do not test the answers.")
@click.option("--no-start", is_flag=True, help="Only write the files.")
@click.option("--user", "for_user", is_flag=True, help="For this user only, without the service.")
@click.option(
    "--wait",
    "limit",
    type=Duration(),
    default="15m",
    show_default=True,
    metavar="DURATION",
    help="Wait no longer than this for the first sync.",
)
@common_options
@pass_invocation
def command(
    invocation: Invocation, timezone: str | None, email: str | None, region: str | None, url: str | None,
    password_file: Path | None, api_secret_file: Path | None, alert_urls_file: Path | None, from_env: Path | None, settings: tuple[str, ...],
    non_interactive: bool, force: bool, no_check: bool, no_start: bool, for_user: bool, limit: timedelta,
) -> int:  # fmt: skip
    """Ask for the accounts, test them, start the service, and wait for the first sync.

    Run it with `sudo`. It writes the configuration and the files with the secrets. It finds the settings of an older bridge.
    For scripts: --non-interactive, with flags or environment variables (TCONNECT_EMAIL, NS_URL, …).

    \b
    sudo tconnectsync setup
    """
    from tconnectsync.cli.setup import steps
    from tconnectsync.cli.setup.interview import Given
    from tconnectsync.cli.setup.service import find_service

    given = Given(
        email=email,
        password=_content(PASSWORD, password_file),
        region=region,
        timezone=timezone,
        url=url,
        secret=_content(SECRET, api_secret_file),
        alert_urls=_content(ALERT_URLS, alert_urls_file),
    )
    options = steps.SetupOptions(
        given=given,
        from_env=from_env,
        settings=settings,
        terminal=sys.stdin.isatty() and not non_interactive,
        force=force,
        test=not no_check,
        start=not no_start,
        for_user=for_user,
        limit=limit,
    )
    service = find_service()
    paths = steps.choose_paths(invocation, service, for_user=for_user)
    if steps.needs_answers(paths, options):
        status = steps.configure(invocation, paths, options)
        if status != ExitStatus.DONE:
            return status
    if not options.start:
        say("Nothing was started. To start: run `tconnectsync setup` again without --no-start.")
        return int(ExitStatus.DONE)
    status = steps.start(invocation, paths, service, limit)
    if status == ExitStatus.FAILED:
        return status
    _show_end(invocation)
    steps.say_how_to_run(paths, service)
    invocation.status = status
    return status


def _show_end(invocation: Invocation) -> None:
    """Print ``status`` and the address of the site."""
    from tconnectsync.cli.commands.status import command as show_status

    say("")
    with click.Context(show_status, parent=click.get_current_context(), obj=invocation) as ctx:
        ctx.invoke(show_status)
    address = getattr(invocation.config().sections.get("nightscout"), "url", None)
    if address:
        say(f"\nOpen your site: {address}")


def _content(question: Question, path: Path | None) -> str | None:
    """Return the secret in a file; None without a file. Errors: click.UsageError."""
    if path is None:
        return None
    try:
        return question.read(path.read_text(encoding="utf-8"))
    except OSError as error:
        why = error.strerror or "it cannot be read"
    except ValueError as error:  # empty, or not text
        why = f"expected {error}" if not isinstance(error, UnicodeDecodeError) else "it is not a text file"
    raise click.UsageError(f"{question.flag}: {path}: {why}. Nothing was written.")
