"""Tests answers before all of them are known: a temporary configuration and a temporary data folder."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
import click

from tconnectsync.cli.init.draft_check import load_draft
from tconnectsync.cli.init.legacy_settings import NAMES
from tconnectsync.cli.init.new_file import write_draft
from tconnectsync.cli.init.template import TemplateValues, fill_template
from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.output import say
from tconnectsync.plugin.options import Secret
from tconnectsync.plugin.receiver import CheckResult
from tconnectsync.queries.check_remedies import remedy_within_setup
from tconnectsync.timeline.zone_decision import Upload

_UNKNOWN = "not-asked-yet"
_SOME_ZONE = "America/New_York"
_IGNORED = frozenset({*NAMES, "TZ", "CREDENTIALS_DIRECTORY"})
"""Variables that must not replace an answer while it is tested."""


@attrs.frozen(kw_only=True)
class Answers:
    """What is known so far; "" is unknown."""

    email: str = ""
    password: str = attrs.field(default="", repr=False)
    region: str = ""
    timezone: str = ""
    url: str = ""
    secret: str = attrs.field(default="", repr=False)
    """The API secret or an access token."""
    alert_urls: str = attrs.field(default="", repr=False)
    """Addresses for notifications, one in each line."""
    pump: str | None = None
    verify_tls: bool = True
    tables: Mapping[str, Mapping[str, str]] = attrs.field(factory=dict)

    def values(self) -> TemplateValues:
        """Return the values for the template, with the secrets in the file and something for what is unknown."""
        return TemplateValues(
            timezone=self.timezone or _SOME_ZONE,
            email=self.email or "nobody@example.org",
            region=self.region or "US",
            url=self.url or "https://nightscout.invalid/",
            password=self.password or _UNKNOWN,
            api_secret=self.secret or _UNKNOWN,
            pump=self.pump,
            verify_tls=self.verify_tls,
            tables=self.tables,
        )


@attrs.frozen(kw_only=True)
class TrialResult:
    """Whether everything was good, and the newest upload (time of arrival, newest data by the pump's clock), if one was seen."""

    good: bool
    upload: Upload | None = None


def try_account(invocation: Invocation, answers: Answers) -> TrialResult:
    """Log in, list the pumps, read the newest records, and print each result."""
    from tconnectsync.queries.check import check_sources

    with _trial_folder() as folder:
        config = load_draft(invocation, _draft(folder, answers), folder / "answers.toml", _IGNORED, command="setup")
        plugins = invocation.plugins(tolerant=True)
        found = check_sources(config, plugins, clock=invocation.clock, data_dir=folder)
        return _shown(invocation, (result for _, result in found))


def try_site(invocation: Invocation, answers: Answers) -> TrialResult:
    """Test the site's address, its version and the rights there, and print each result."""
    from tconnectsync.queries.check import check_receivers

    with _trial_folder() as folder:
        config = load_draft(invocation, _draft(folder, answers), folder / "answers.toml", _IGNORED, command="setup")
        plugins = invocation.plugins(tolerant=True)
        return _shown(invocation, check_receivers(config, plugins, clock=invocation.clock, data_dir=folder))


def try_notification(invocation: Invocation, url: str) -> TrialResult:
    """Send a test notification and print whether it was sent."""
    from tconnectsync.alerts.notification_text import Notification
    from tconnectsync.alerts.sending import AppriseSender, SendResult, service_of

    address = Secret(url)
    title = "Test of the notifications of tconnectsync"
    body = "If you can read this, notifications work. You will get one when pump data stops arriving.\nNothing is wrong now."
    attempt = AppriseSender().send(address, Notification(title=title, body=body))
    sent = attempt.result is SendResult.SENT
    what = f"{service_of(address)}: {'a test notification was sent' if sent else attempt.words}"
    show_finding(invocation, CheckResult(good=sent, what=what))
    return TrialResult(good=sent)


def load_answers(invocation: Invocation, answers: Answers) -> None:
    """Read the configuration that the answers make, without a test. Errors: ConfigError."""
    with _trial_folder() as folder:
        load_draft(invocation, _draft(folder, answers), folder / "answers.toml", _IGNORED, command="setup")


def _shown(invocation: Invocation, results: Iterator[CheckResult]) -> TrialResult:
    good, upload = True, None
    for found in results:
        good = good and found.good
        if found.upload is not None:
            upload = Upload(at=found.upload[0], newest=found.upload[1])
        show_finding(invocation, found)
    return TrialResult(good=good, upload=upload)


def show_finding(invocation: Invocation, found: CheckResult) -> None:
    """Print one result, and what to do about a bad one."""
    symbol = click.style("good", fg="green") if found.good else click.style("BAD ", fg="red", bold=True)
    say(f"  {invocation.redact(found.what)}", symbol=f"  {symbol}")
    remedy = remedy_within_setup(found.remedy)
    if remedy:
        say(f"        {invocation.redact(remedy)}")


@contextlib.contextmanager
def _trial_folder() -> Iterator[Path]:
    """A private folder that is deleted at the end."""
    with tempfile.TemporaryDirectory(prefix="tconnectsync-setup-") as name:
        yield Path(name)


def _draft(folder: Path, answers: Answers) -> Path:
    path = folder / "draft.toml"
    write_draft(path, fill_template(answers.values()))
    return path
