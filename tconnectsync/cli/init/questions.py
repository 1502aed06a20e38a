"""Answers for a new configuration: from a flag, from older settings, or from a prompt that repeats until the answer is valid."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit, urlunsplit

import attrs
import click

from tconnectsync.cli.output import say
from tconnectsync.config.error_words import found_words
from tconnectsync.config.zone_names import names_place, zone_problem
from tconnectsync.plugin.addresses import web_address
from tconnectsync.plugin.pasted_text import trim, trim_lines, without_unseen


def read_zone(text: str) -> str:
    """Parse the wearer's time zone. Errors: ValueError with what was expected."""
    name = without_unseen(text)
    expected = zone_problem(name)
    if expected is not None:
        raise ValueError(expected)
    return name


def read_email(text: str) -> str:
    """Parse an e-mail address, roughly. Errors: ValueError with what was expected."""
    address = without_unseen(text)
    name, at, host = address.rpartition("@")
    if not (name and at and host) or " " in address:
        raise ValueError("the address that the account was created with, such as me@example.org")
    return address


def read_region(text: str) -> str:
    """Parse ``US`` or ``EU``. Errors: ValueError with what was expected."""
    region = without_unseen(text).upper()
    if region not in {"US", "EU"}:
        raise ValueError('"US" or "EU": where the account was created')
    return region


def read_url(text: str) -> str:
    """Parse a site's address. Errors: ValueError with what was expected."""
    web_address(text)
    return without_unseen(text)


def read_password(text: str) -> str:
    """Parse a password; it may contain blanks. Errors: ValueError with what was expected."""
    password = trim_lines(text)
    if not password.strip():
        raise ValueError("the password of the account")
    return password


def read_secret(text: str) -> str:
    """Parse a site's secret or token. Errors: ValueError with what was expected."""
    secret = trim(text)
    if not secret:
        raise ValueError("the site's API_SECRET, or an access token such as name-0123456789abcdef")
    return secret


def read_alert_urls(text: str) -> str:
    """Parse addresses for notifications, one in each line. Errors: ValueError with what was expected."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or not all("://" in line for line in lines):
        raise ValueError("addresses such as ntfy://pump-k7w2x9q4, one in each line")
    return "\n".join(lines)


@attrs.frozen
class Question:
    """One value that a configuration needs: its flag, its environment variables, its prompt, and its parser."""

    flag: str
    names: tuple[str, ...]
    words: str
    read: Callable[[str], str]
    hidden: bool = False


ZONE = Question("--timezone", ("TIMEZONE_NAME",), "The time zone where the wearer lives", read_zone)
EMAIL = Question("--email", ("TCONNECT_EMAIL",), "The account's email", read_email)
PASSWORD = Question("--password-file", ("TCONNECT_PASSWORD",), "The account's password", read_password, hidden=True)
REGION = Question("--region", ("TCONNECT_REGION",), "The account's region, US or EU", read_region)
URL = Question("--url", ("NS_URL",), "Nightscout's address", read_url)
SECRET = Question(
    "--api-secret-file",
    ("NS_SECRET", "API_SECRET", "NS_API_SECRET"),
    "Nightscout's API secret",
    read_secret,
    hidden=True,
)
ALERT_URLS = Question("--alert-urls-file", (), "Address for notifications", read_alert_urls)
TOKENS = ("NS_TOKEN",)
"""Variables that hold an access token."""
QUESTIONS = (ZONE, EMAIL, PASSWORD, REGION, URL, SECRET)


@attrs.frozen
class AnswerFinder:
    """Finds answers: in ``old`` settings by name, or by asking at a ``terminal``."""

    old: Mapping[str, str]
    terminal: bool
    path: Path
    """The path of the new configuration, for error messages."""

    def answer(self, question: Question, given: str | None = None, default: str | None = None) -> str:
        """Return the answer; ask at a terminal until it is valid. Errors: click.UsageError without a terminal."""
        name = next((name for name in question.names if self.old.get(name)), None)
        found, origin = (given, question.flag) if given else (self.old.get(name or ""), name)
        if found:
            try:
                return question.read(found)
            except ValueError as error:
                words = f"{origin}: found {'a value' if question.hidden else found_words(found)}, expected {error}"
                if not self.terminal:
                    raise click.UsageError(f"{words} ({question.flag}). Nothing was written to {self.path}.") from None
                say(words, err=True)
        elif not self.terminal:
            raise click.UsageError(
                f"{question.words} is not known: give {question.flag}, or {question.names[0]} in the environment."
                f" Nothing was written to {self.path}."
            )
        return ask(question, default)


def split_token(url: str) -> tuple[str, str | None]:
    """Split an address from the access token in it (``?token=…``)."""
    parts = urlsplit(url)
    given = parse_qs(parts.query)
    return (urlunsplit((*parts[:3], "", "")), given["token"][0]) if given.keys() == {"token"} else (url, None)


def ask(question: Question, default: str | None = None) -> str:
    """Ask until the answer is valid, and return it."""
    while True:
        text = str(click.prompt(question.words, default=default, hide_input=question.hidden, err=True))
        try:
            return question.read(text)
        except ValueError as error:
            say(f"This value is not valid, expected {error}", err=True)


def host_zone(environ: Mapping[str, str]) -> str | None:
    """Return the computer's time zone if it names a place. It is only offered at the prompt, never used without asking."""
    names = (environ.get("TZ", "").strip(), os.path.realpath("/etc/localtime").partition("/zoneinfo/")[2])
    return next(filter(names_place, names), None)
