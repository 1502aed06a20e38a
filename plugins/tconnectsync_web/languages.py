"""Languages of the pages: one ``translations/CODE.po`` for each, read at start. English is in the source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from functools import lru_cache
from gettext import c2py
from pathlib import Path

import attrs
from babel import Locale, UnknownLocaleError, dates, numbers
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

FOLDER = Path(__file__).parent / "translations"
SOURCE_LANGUAGE = "en"
NAME_CONTEXT = "name"
"""The context of the pump's words in a language's file."""


def msg(text: str) -> str:
    """Mark a text that is translated later, such as one in a table."""
    return text


@attrs.frozen(kw_only=True)
class Texts:
    """One language: translations, and how it writes numbers, days and times."""

    locale: Locale
    catalog: Catalog | None = attrs.field(default=None, repr=False)
    _name: str = attrs.field(init=False, default=attrs.Factory(lambda self: str(self.locale), takes_self=True))
    """The locale as text: a page has a thousand times and amounts."""

    @property
    def code(self) -> str:
        """The language for HTML's ``lang``."""
        return self._name.replace("_", "-")

    @property
    def language(self) -> str:
        """The language without the country."""
        return self.locale.language

    def gettext(self, message: str) -> str:
        """The translation; the English text if there is none."""
        found = self.catalog.get(message) if self.catalog is not None else None
        return found.string if found is not None and isinstance(found.string, str) and found.string else message

    def name(self, words: str) -> str:
        """One of the pump's words, such as ``low_battery``, the name of an alert or of a value; English if there is no translation."""
        words = words.replace("_", " ")
        found = self.catalog.get(words, NAME_CONTEXT) if self.catalog is not None else None
        return str(found.string) if found is not None and found.string else words

    def ngettext(self, singular: str, plural: str, count: int) -> str:
        """The form for ``count``."""
        found = self.catalog.get(singular) if self.catalog is not None else None
        if self.catalog is None or found is None or not isinstance(found.string, tuple) or not all(found.string):
            return singular if count == 1 else plural
        return str(found.string[c2py(self.catalog.plural_expr)(count)])

    def number(self, value: float, digits: int = 0) -> str:
        """The number with exactly this many decimals."""
        return _number(value, "#,##0" + ("." + "0" * digits if digits else ""), self._name)

    def amount(self, value: float, digits: int = 2) -> str:
        """The number with at most this many decimals."""
        return _number(value, "#,##0." + "#" * digits, self._name)

    def time(self, local: datetime) -> str:
        """The time of day."""
        return _time(local.hour, local.minute, self._name)

    @property
    def has_am_pm(self) -> bool:
        """Whether hours are counted to 12."""
        return "a" in self.locale.time_formats["short"].pattern

    def hour(self, local: datetime) -> str:
        """A full hour, short enough for an axis."""
        return str(dates.format_time(local, "h a" if self.has_am_pm else "HH:mm", locale=self.locale))

    def city(self, zone: str) -> str:
        """The city of a time zone."""
        return _city(zone, self._name)

    def day(self, day: date) -> str:
        """A day with its name, in full."""
        return str(dates.format_date(day, "full", locale=self.locale))

    def short_day(self, day: date) -> str:
        """Day of the week, day and month."""
        return str(dates.format_skeleton("MMMEd", datetime(day.year, day.month, day.day), locale=self.locale))


@lru_cache(maxsize=4096)
def _number(value: float, pattern: str, locale: str) -> str:
    return str(numbers.format_decimal(value, format=pattern, locale=locale)).replace("-", "−")


@lru_cache(maxsize=4096)
def _time(hour: int, minute: int, locale: str) -> str:
    """Babel formats each hour once. Minutes have two digits in every language (but Yoruba, which is written so too)."""
    before, after = _time_around_minutes(hour, locale)
    return f"{before}{minute:02}{after}"


@lru_cache(maxsize=512)
def _time_around_minutes(hour: int, locale: str) -> tuple[str, str]:
    before, _, after = str(dates.format_time(time(hour, 59), "short", locale=locale)).rpartition("59")
    return before, after


@lru_cache(maxsize=64)
def _city(zone: str, locale: str) -> str:
    return str(dates.get_timezone_location(zone, locale=locale, return_city=True))


class Languages:
    """All languages; :meth:`choose` picks one for a request."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.catalogs: dict[str, Catalog | None] = {SOURCE_LANGUAGE: None}
        for path in sorted(folder.glob("*.po")):
            with path.open("rb") as file:
                self.catalogs[path.stem] = read_po(file, locale=path.stem)
        self._known: dict[str, Texts] = {}

    @property
    def names(self) -> Mapping[str, str]:
        """Each language's code and its own name."""
        return {code: str(Locale.parse(code).get_display_name(code)).capitalize() for code in self.catalogs}

    def choose(self, wanted: Sequence[str]) -> Texts:
        """The first language that there is, in its country's form. ``wanted``: codes such as ``de-AT``, best first."""
        for tag in wanted:
            language = tag.replace("_", "-").partition("-")[0].lower()
            if language in self.catalogs:
                return self._texts(tag, language)
        return self._texts(SOURCE_LANGUAGE, SOURCE_LANGUAGE)

    def _texts(self, tag: str, language: str) -> Texts:
        try:
            locale = Locale.parse(tag.replace("-", "_")[:16])
        except (ValueError, UnknownLocaleError):
            locale = Locale.parse(language)
        known = str(locale)
        if known not in self._known:  # Babel knows a limited number of locales
            self._known[known] = Texts(locale=locale, catalog=self.catalogs[language])
        return self._known[known]
