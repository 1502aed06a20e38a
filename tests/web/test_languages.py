"""Languages of the pages: each text has a translation, and a browser gets the language that it asks for."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

import msgspec
import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir

from tconnectsync import events
from tconnectsync.events.alarms import ALARMS, MALFUNCTIONS, alarm_names
from tconnectsync.plugin.http_failures import FAILURE_TEXTS, HttpFailure
from tconnectsync.storage_errors import MAKE_ROOM
from tconnectsync_tandem.decode import binary_only_records, codes, device, glucose, insulin, modes
from tconnectsync_web import languages
from tconnectsync_web.languages import Languages
from tconnectsync_web.pages import status_words
from tconnectsync_web.pages.event_kinds import KIND_TITLES
from tconnectsync_web.pages.event_log import HIDDEN, UNITS

PLUGIN = Path(languages.__file__).parent
KEYWORDS = {"gettext": None, "_": None, "msg": None, "ngettext": (1, 2)}
OPTIONS = {"**.html": {"extensions": "jinja2.ext.i18n", "newstyle_gettext": "true", "trim_blocks": "true"}}
VALUE_TABLES: list[Mapping[int, str]] = [
    found
    for module in (binary_only_records, device, glucose, insulin, modes)
    for name, found in vars(module).items()
    if isinstance(found, dict) and re.fullmatch(r"_[A-Z_]+", name)
]
"""The tables of values in records."""
INLINE = [
    ast.literal_eval(each.args[0])
    for path in sorted(Path(insulin.__file__).parent.glob("*.py"))
    for each in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(each, ast.Call)
    and isinstance(each.func, ast.Name)
    and each.func.id == "named"
    and isinstance(each.args[0], ast.Dict)
]
"""Short ones stand where they are used."""
SPOKEN = {"hidden", "alarm", "plgs"}
"""Words that are in code, not in a table."""
KNOWN = Languages()
TRANSLATED = [code for code, catalog in KNOWN.catalogs.items() if catalog is not None]


def texts_in_the_source() -> set[str | tuple[str, ...]]:
    """Every text that is translated when it is shown."""
    found = extract_from_dir(PLUGIN, [("**.py", "python"), ("**.html", "jinja2")], OPTIONS, keywords=KEYWORDS)
    return {message for _, _, message, _, _ in found}


def fields(text: str) -> list[str]:
    """The places that are filled in."""
    return sorted(re.findall(r"%\(\w+\)s|%%", text))


def strings(message: Message) -> Iterable[str]:
    return (message.string,) if isinstance(message.string, str) else message.string


def test_a_path_that_works_is_not_a_pump_that_runs() -> None:
    """ "Pumpe läuft" stood beside "Insulin ist gestoppt": the word is about the path of the data."""
    assert KNOWN.choose(["de"]).gettext("works") == "in Ordnung"


@pytest.mark.parametrize("code", TRANSLATED)
def test_every_text_is_translated(code: str) -> None:
    """A new text without a translation fails here, and so does a translation that nobody uses."""
    catalog = KNOWN.catalogs[code]
    assert isinstance(catalog, Catalog)
    own = [message for message in catalog if message.context is None]
    translated = {message.id for message in own if message.id and all(strings(message))}
    assert texts_in_the_source() - translated == set()
    assert translated - texts_in_the_source() == set()
    for message in own:
        ids = (message.id,) if isinstance(message.id, str) else message.id
        for text in strings(message) if message.id else ():
            assert fields(text) == fields(ids[-1]), message.id


def pump_words() -> set[str]:
    """Names of alarms and alerts, fields of records as the log's page writes them, and the values that these usually have."""
    tables = [ALARMS, MALFUNCTIONS, codes.ALERTS, codes.SENSOR_ALERTS, codes.SESSION_REASONS, *VALUE_TABLES, *INLINE]
    words = {str(name) for table in tables for name in table.values()} | {*alarm_names(), "none"} - {""}
    words = {name for name in words if not name.startswith("malfunction_")}
    for kind in KIND_TITLES:
        for field in msgspec.structs.fields(events.BODIES[kind]):
            if field.name not in HIDDEN:
                ending = next((end for end, _ in UNITS if field.name.endswith(end)), "")
                words.add(
                    re.sub(
                        r"_mg_dl.*|_s$",
                        "",
                        field.name.removesuffix(ending) if "_mg_dl" not in field.name else field.name,
                    )
                )
    return {name.replace("_", " ") for name in words if not name.startswith("reserved")}


@pytest.mark.parametrize("code", TRANSLATED)
def test_the_pumps_words_are_translated(code: str) -> None:
    """Each alarm, alert, field and usual value; and no word that the pump does not use."""
    catalog = KNOWN.catalogs[code]
    assert isinstance(catalog, Catalog)
    known = {str(message.id) for message in catalog if message.context == languages.NAME_CONTEXT and message.string}
    assert pump_words() - known == set()
    assert known - pump_words() - SPOKEN == set()
    assert KNOWN.choose([code]).name("low_battery") != "low battery"
    assert KNOWN.choose(["en"]).name("low_battery") == "low battery"


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


def test_the_status_as_the_parts_report_it() -> None:
    """The sentences are those that the program reports today, and an unknown one stays in English."""
    texts = KNOWN.choose(["de"])
    refused = FAILURE_TEXTS[HttpFailure.REFUSED]
    words = "https://my-site.example " + refused.message.format(port=9)
    german = status_words.in_words(texts, words)
    assert "nicht erreichbar" in german
    assert "(Port 9 lehnt die Verbindung ab)" in german
    for remedy in (refused.remedy, FAILURE_TEXTS[HttpFailure.UNKNOWN_NAME].remedy, MAKE_ROOM):
        assert status_words.in_words(texts, remedy) != remedy
    assert status_words.in_words(texts, "Something new.") == "Something new."
    later = "Correct sinks.influxdb.token. It is retried automatically; `tconnectsync resume influxdb` tries now."
    assert "Berichtige sinks.influxdb.token. Es wird von selbst" in status_words.in_words(texts, later)
    old = "It failed. No current IOB: the pump last reported it 62 minutes ago"
    assert status_words.in_words(texts, old).endswith("Die letzte Meldung der Pumpe ist 62 Minuten alt")
    assert status_words.in_words(KNOWN.choose(["en"]), words) == words
