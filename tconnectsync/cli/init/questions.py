"""Answers for a new configuration: from a flag, from older settings, or from a person, who is asked until the answer fits."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
import click

from tconnectsync.cli.output import say
from tconnectsync.config.messages import found_words
from tconnectsync.config.zone_names import names_place, not_a_place
from tconnectsync.plugin.addresses import web_address
from tconnectsync.plugin.pasted import trim, trim_lines, without_unseen


def read_zone(text: str) -> str:
    """A wearer's zone. Errors: ValueError with what was expected."""
    name = without_unseen(text)
    expected = not_a_place(name)
    if expected is not None:
        raise ValueError(expected)
    return name


def read_email(text: str) -> str:
    """An e-mail address, as far as one can tell. Errors: ValueError with what was expected."""
    address = without_unseen(text)
    name, at, host = address.rpartition("@")
    if not (name and at and host) or " " in address:
        raise ValueError("the address that the account was made with, such as me@example.org")
    return address


def read_region(text: str) -> str:
    """``US`` or ``EU``. Errors: ValueError with what was expected."""
    region = without_unseen(text).upper()
    if region not in {"US", "EU"}:
        raise ValueError('"US" or "EU": where the account was made')
    return region


def read_url(text: str) -> str:
    """A site's address. Errors: ValueError with what was expected."""
    web_address(text)
    return without_unseen(text)


def read_password(text: str) -> str:
    """A password; blanks may be part of it. Errors: ValueError with what was expected."""
    password = trim_lines(text)
    if not password.strip():
        raise ValueError("the password of the account")
    return password


def read_secret(text: str) -> str:
    """A site's secret or token. Errors: ValueError with what was expected."""
    secret = trim(text)
    if not secret:
        raise ValueError("the site's API_SECRET, or an access token such as name-0123456789abcdef")
    return secret


@attrs.frozen
class Question:
    """One thing that a configuration needs: its flag, its names in the environment, its words at a prompt, and how it is read."""

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
TOKENS = ("NS_TOKEN",)
"""Variables that hold an access token."""
QUESTIONS = (ZONE, EMAIL, PASSWORD, REGION, URL, SECRET)


@attrs.frozen
class Asking:
    """Where an answer comes from: ``old`` settings by their names, or a person at a ``terminal``."""

    old: Mapping[str, str]
    terminal: bool
    path: Path
    """Where the configuration is to be written, for the words about one that is not."""

    def answer(self, question: Question, given: str | None = None, default: str | None = None) -> str:
        """The answer, asked for at a terminal until it fits. Errors: click.UsageError where nobody can be asked."""
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


def ask(question: Question, default: str | None = None) -> str:
    """What a person types, as soon as it fits."""
    while True:
        text = str(click.prompt(question.words, default=default, hide_input=question.hidden, err=True))
        try:
            return question.read(text)
        except ValueError as error:
            say(f"That does not fit: expected {error}", err=True)


def host_zone(environ: Mapping[str, str]) -> str | None:
    """What the machine says, if that is a place: offered at the prompt, never taken unasked."""
    names = (environ.get("TZ", "").strip(), os.path.realpath("/etc/localtime").partition("/zoneinfo/")[2])
    return next(filter(names_place, names), None)
