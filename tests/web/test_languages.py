"""Languages of the pages: each text has a translation, and a browser gets the language that it asks for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir

from tconnectsync.disk_check import MAKE_ROOM
from tconnectsync.plugin.http_failures import FAILURE_TEXTS, HttpFailure
from tconnectsync_web import languages
from tconnectsync_web.languages import Languages
from tconnectsync_web.pages import status_words

PLUGIN = Path(languages.__file__).parent
KEYWORDS = {"gettext": None, "_": None, "msg": None, "ngettext": (1, 2)}
OPTIONS = {"**.html": {"extensions": "jinja2.ext.i18n", "newstyle_gettext": "true", "trim_blocks": "true"}}
KNOWN = Languages()


def texts_in_the_source() -> set[str | tuple[str, ...]]:
    """Every text that is translated when it is shown."""
    found = extract_from_dir(PLUGIN, [("**.py", "python"), ("**.html", "jinja2")], OPTIONS, keywords=KEYWORDS)
    return {message for _, _, message, _, _ in found}


def fields(text: str) -> list[str]:
    """The places that are filled in."""
    return sorted(re.findall(r"%\(\w+\)s|%%", text))


def fields_of(template: str) -> list[str]:
    """The names of the places."""
    return re.findall(r"%\((\w+)\)s", template)


def strings(message: Message) -> Iterable[str]:
    return (message.string,) if isinstance(message.string, str) else message.string


@pytest.mark.parametrize("code", [code for code, catalog in KNOWN.catalogs.items() if catalog is not None])
def test_every_text_is_translated(code: str) -> None:
    """A new text without a translation fails here, and so does a translation that nobody uses."""
    catalog = KNOWN.catalogs[code]
    assert isinstance(catalog, Catalog)
    translated = {message.id for message in catalog if message.id and all(strings(message))}
    assert texts_in_the_source() - translated == set()
    assert translated - texts_in_the_source() == set()
    for message in catalog:
        ids = (message.id,) if isinstance(message.id, str) else message.id
        for text in strings(message) if message.id else ():
            assert fields(text) == fields(ids[-1]), message.id


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (["de-AT", "en"], "de-AT"),
        (["fr", "de"], "de"),
        (["fr"], "en"),
        ([], "en"),
        (["en-US"], "en-US"),
        (["de-../../etc"], "de"),
        (["x" * 500, "de_CH"], "de-CH"),
    ],
)
def test_the_first_language_that_there_is(wanted: list[str], code: str) -> None:
    """Whatever a browser sends, there is a language."""
    assert KNOWN.choose(wanted).code == code


def test_numbers_and_times_of_a_country() -> None:
    """Decimal comma and 24 hours in Germany, a point and am and pm in the United States."""
    german, american = KNOWN.choose(["de"]), KNOWN.choose(["en-US"])
    assert (german.number(1234.5, 1), american.number(1234.5, 1)) == ("1.234,5", "1,234.5")
    assert (german.amount(0.5), american.amount(4.0)) == ("0,5", "4")
    assert german.number(-3) == "−3"
    afternoon = datetime(2026, 11, 27, 14, 5)
    assert german.time(afternoon) == "14:05"
    assert "2:05" in american.time(afternoon)
    full = afternoon.replace(minute=0)
    assert (german.hour(full), american.hour(full)) == ("14:00", "2 PM")
    assert "27" in german.day(afternoon.date())


def test_plurals() -> None:
    """One and many."""
    words = ("%(num)s bolus in these hours", "%(num)s boluses in these hours")
    assert [KNOWN.choose(["de"]).ngettext(*words, count) for count in (1, 2)] == [
        "%(num)s Bolus in diesen Stunden",
        "%(num)s Boli in diesen Stunden",
    ]
    assert [KNOWN.choose(["en"]).ngettext(*words, count) for count in (0, 1)] == [words[1], words[0]]


def test_a_language_is_a_file(tmp_path: Path) -> None:
    """Another file is another language; what it lacks is English."""
    (tmp_path / "it.po").write_text(
        'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n\nmsgid "Days"\nmsgstr "Giorni"\n'
    )
    found = Languages(tmp_path)
    assert found.names == {"en": "English", "it": "Italiano"}
    italian = found.choose(["it-CH"])
    assert [italian.gettext(text) for text in ("Days", "Report")] == ["Giorni", "Report"]


@pytest.mark.parametrize("template", status_words.TEMPLATES)
def test_the_status_is_translated(template: str) -> None:
    """Each of its usual sentences, with what is in it; a command stays as it is typed."""
    inside = {name: f"`tconnectsync {name}`" if name in status_words.COMMANDS else name for name in fields_of(template)}
    german = status_words.in_words(KNOWN.choose(["de"]), template % inside)
    assert german != template % inside
    assert all(value in german for value in inside.values())


def test_the_status_as_the_parts_report_it() -> None:
    """The sentences are those that the program reports today, and an unknown one stays in English."""
    texts = KNOWN.choose(["de"])
    refused = FAILURE_TEXTS[HttpFailure.REFUSED]
    words = "https://my-site.example " + refused.message.format(detail="my-site.example")
    assert "nicht erreichbar" in status_words.in_words(texts, words)
    for remedy in (refused.remedy, FAILURE_TEXTS[HttpFailure.UNKNOWN_NAME].remedy, MAKE_ROOM):
        assert status_words.in_words(texts, remedy) != remedy
    assert status_words.in_words(texts, "Something new.") == "Something new."
    later = "Correct sinks.influxdb.token. The next try is at 2026-11-29 09:09 UTC; `tconnectsync resume influxdb` tries now."
    assert "Berichtige sinks.influxdb.token. Der nächste" in status_words.in_words(texts, later)
    assert status_words.in_words(KNOWN.choose(["en"]), words) == words
