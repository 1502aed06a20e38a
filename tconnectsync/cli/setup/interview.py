"""The questions of ``setup``: each group of answers is tested at once, and asked again until it is good or kept on purpose."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import click

from tconnectsync.cli.init.questions import (
    EMAIL,
    PASSWORD,
    REGION,
    SECRET,
    TOKENS,
    URL,
    ZONE,
    AnswerFinder,
    Question,
    ask,
    split_token,
)
from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.output import say
from tconnectsync.cli.setup.answer_check import (
    Answers,
    TrialResult,
    show_finding,
    try_account,
    try_notification,
    try_site,
)
from tconnectsync.plugin.receiver import CheckResult
from tconnectsync.queries.zone_check import clock_ahead, clock_fits, places_of_clock, unchanged_clock, zone_doubt
from tconnectsync.timeline.zone_decision import Upload
from tconnectsync.timeline.zones import Zones

ACCOUNT_INTRO = """
1 of 4: the Tandem account
  The pump's app on the phone uploads to this account (Tandem Source). Example: me@example.org
  The password is not shown while you type.
  The region is where the account was created: US or EU. In the wrong region, Tandem says that the password is wrong.
"""
ZONE_INTRO = """
2 of 4: the time zone
  The place where the wearer lives, as Region/City. Examples: America/New_York, Europe/Berlin, Australia/Sydney
  With a wrong zone, every dose is shown at a wrong time.
"""
SITE_INTRO = """
3 of 4: the Nightscout site
  The address as your browser shows it. Example: https://my-site.example
  The secret is the site's API_SECRET, or, with Nightscout 14 or newer, an access
  token such as uploader-0123456789abcdef. It is not shown.
"""
ALERTS_INTRO = """
4 of 4: notifications when data stops (optional)
  The easiest way: install the app ntfy on your phone, subscribe to a topic that nobody can guess, and enter its address here.
  Example: ntfy://pump-k7w2x9q4      Others (e-mail, Telegram, Pushover, Home Assistant): docs/user/alerts.md
"""
_AGAIN = "Type the answers again? (n: keep them as they are)"


@attrs.frozen(kw_only=True)
class Given:
    """The values of flags; None: not given. Secrets are the contents of the files."""

    email: str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    region: str | None = None
    timezone: str | None = None
    url: str | None = None
    secret: str | None = attrs.field(default=None, repr=False)
    alert_urls: str | None = attrs.field(default=None, repr=False)


@attrs.define
class Interview:
    """Collects answers from flags, older settings and prompts. ``test``: whether they are tried out."""

    invocation: Invocation
    finder: AnswerFinder
    given: Given
    here: str | None
    """The computer's time zone."""
    test: bool = True
    _forgotten: set[Question] = attrs.field(factory=set)
    """Questions whose given answer was bad: a person is asked."""

    def run(self, answers: Answers) -> Answers | None:
        """Return the answers, or None if something is bad and nobody can be asked. Errors: click.UsageError."""
        answers, found = self._group(answers, ACCOUNT_INTRO, (EMAIL, PASSWORD, REGION), self._account, try_account)
        if not found.good:
            return None
        zoned = self._zone(answers, found.upload)
        if zoned is None:
            return None
        answers, found = self._group(zoned, SITE_INTRO, (URL, SECRET), self._site, try_site)
        return self._alerts(answers) if found.good else None

    def _alerts(self, answers: Answers) -> Answers:
        """Ask for an address until a test notification arrives or none is wanted."""
        if self.given.alert_urls is not None or not self.finder.terminal:
            return attrs.evolve(answers, alert_urls=self.given.alert_urls or "")
        say(ALERTS_INTRO.rstrip())
        while True:
            url = str(
                click.prompt("Address for notifications (Enter: none)", default="", show_default=False, err=True)
            ).strip()
            if not url:
                return answers
            if "://" not in url:
                say("This value is not valid, expected an address such as ntfy://pump-k7w2x9q4", err=True)
                continue
            if not self.test:
                return attrs.evolve(answers, alert_urls=url)
            say("  Testing …")
            if try_notification(self.invocation, url).good and click.confirm("Did it arrive?", default=True):
                return attrs.evolve(answers, alert_urls=url)

    def _group(
        self,
        answers: Answers,
        intro: str,
        questions: tuple[Question, ...],
        collect: Callable[[Answers], Answers],
        attempt: Callable[[Invocation, Answers], TrialResult],
    ) -> tuple[Answers, TrialResult]:
        """Collect and test one group. A bad result is good enough if the user keeps the answers."""
        say(intro.rstrip())
        while True:
            answers = collect(answers)
            if not self.test:
                return answers, TrialResult(good=True)
            say("  Testing …")
            found = attempt(self.invocation, answers)
            if found.good or not self.finder.terminal:
                return answers, found
            if not click.confirm(_AGAIN, default=True):
                return answers, attrs.evolve(found, good=True)
            self._forgotten.update(questions)

    def _account(self, answers: Answers) -> Answers:
        return attrs.evolve(
            answers,
            email=self._answer(EMAIL, self.given.email, answers.email),
            password=self._answer(PASSWORD, self.given.password),
            region=self._answer(REGION, self.given.region, answers.region),
        )

    def _site(self, answers: Answers) -> Answers:
        url, token = split_token(self._answer(URL, self.given.url, answers.url))
        old = next(filter(None, map(self.finder.old.get, TOKENS)), None)
        token = token or (old if SECRET not in self._forgotten else None)
        return attrs.evolve(answers, url=url, secret=token or self._answer(SECRET, self.given.secret))

    def _zone(self, answers: Answers, upload: Upload | None) -> Answers | None:
        """Ask for the zone until it fits the pump's clock or the same zone is given twice."""
        say(ZONE_INTRO.rstrip())
        if self.here is None and upload is not None and (places := places_of_clock(upload)):
            say(f"  The pump's clock shows the time of {' or '.join(places)}.")
        zone = self._answer(ZONE, self.given.timezone, self._likely_zone(upload))
        while upload is not None:
            zones = Zones(timezone=zone)
            excluded = zone_doubt(upload, zones)
            doubt = excluded or unchanged_clock(upload, zones)
            if doubt is None:
                self._show_clock(upload, zone)
                break
            show_finding(self.invocation, doubt.finding)
            if not self.finder.terminal:
                if doubt.sure:
                    return None
                break
            say("  Enter the right zone. To keep this one, enter it again.")
            again = ask(ZONE, excluded.places[0] if excluded and excluded.places else zone)
            if again == zone:
                break
            zone = again
        return attrs.evolve(answers, timezone=zone)

    def _likely_zone(self, upload: Upload | None) -> str | None:
        """Return the zone to offer: the computer's, unless the pump's clock does not fit it."""
        if self.here is None or upload is None:
            return self.here
        doubt = zone_doubt(upload, Zones(timezone=self.here))
        return self.here if doubt is None or not doubt.places else doubt.places[0]

    def _show_clock(self, upload: Upload, zone: str) -> None:
        fits = clock_fits(upload, Zones(timezone=zone))
        why = f"which fits {zone}" if fits else "which is too old to compare its clock with the zone: look at the pump"
        words = f"pump clock: its newest data is of {upload.newest:%Y-%m-%d %H:%M}, {why}"
        show_finding(self.invocation, CheckResult(good=True, what=words))
        ahead = clock_ahead(upload, Zones(timezone=zone))
        if ahead is not None:
            show_finding(self.invocation, ahead)

    def _answer(self, question: Question, given: str | None = None, default: str | None = None) -> str:
        """Return the answer; ask a person if the known answer was bad."""
        if question in self._forgotten:
            return ask(question, default or None)
        return self.finder.answer(question, given, default or None)
