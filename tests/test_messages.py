"""Every error message says what to do. The code itself is searched, so that a new message cannot forget it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tconnectsync import errors
from tconnectsync_web.languages import Languages
from tconnectsync_web.pages import status_words
from tests.web.status_messages import written_messages

ROOT = Path(__file__).parent.parent
MODULES = sorted([*(ROOT / "tconnectsync").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")])
CLASSES = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.TconnectsyncError) and kind is not errors.TconnectsyncError
}
ALWAYS = {"LogCorrupt", "IndexCorrupt"}
"""Their remedy is in the class."""


def without_remedy(module: Path) -> Iterator[str]:
    """Errors made without one, of classes that have none of their own; and findings of `check` that are bad."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        name, given = node.func.id, {keyword.arg: keyword.value for keyword in node.keywords}
        silent = name in CLASSES and name not in ALWAYS and CLASSES[name].usual_remedy is None
        bad = given.get("good")
        silent |= name == "CheckResult" and isinstance(bad, ast.Constant) and bad.value is False
        if silent and "remedy" not in given:
            yield f"{module.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)[:100]}"


def test_errors_and_bad_results_have_remedies() -> None:
    """Every error and every bad result of `check` names the next thing to do."""
    assert [place for module in MODULES for place in without_remedy(module)] == []


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_remedies_are_whole_sentences(name: str) -> None:
    remedy = CLASSES[name].usual_remedy
    assert remedy is None or (remedy.endswith(".") and "tconnectsync " in remedy)


COMMAND_WITH_PATH = re.compile(r"`[^`\n]*\{(?:path|file|folder|data_dir|each|place|target)(?:\.\w+)*\}[^`\n]*`")


def test_paths_in_commands_are_quoted() -> None:
    """A command that is shown can be pasted also if the path has a blank."""
    texts = {module: module.read_text(encoding="utf-8") for module in MODULES}
    assert {str(module): found for module, text in texts.items() if (found := COMMAND_WITH_PATH.findall(text))} == {}


def test_damage_names_its_commands() -> None:
    error = errors.LogCorrupt("x", path="y", line=1)
    assert "tconnectsync log check" in str(error.remedy)
    assert "tconnectsync log repair" in str(error.remedy)


# --- translations --------------------------------------------------------------------------------------------------------

LANGUAGES = Languages()
TRANSLATED = [code for code, catalog in LANGUAGES.catalogs.items() if catalog is not None]
WRITTEN = written_messages()
HINT = "delete this sentence from the languages' files, or name what makes it now in tests/web/status_messages.py: {}"


def places(text: str) -> list[str]:
    """The places that are filled in."""
    return sorted(re.findall(r"%\((\w+)\)s", text))


@pytest.mark.parametrize("code", TRANSLATED)
def test_every_message_of_the_program_is_translated(code: str) -> None:
    """Everything that a part of the program may report, by sentence. A new message needs a translation."""
    texts = LANGUAGES.choose([code])
    assert texts.catalog is not None
    sentences = status_words.sentences_of(texts.catalog)
    lacking = {
        f"{each.place}: {sentence}"
        for each in WRITTEN
        for sentence in each.sentences
        if status_words.translated(sentences, sentence, texts) is None
    }
    assert lacking == set(), 'add these sentences to the language\'s file, with the context "status"'


@pytest.mark.parametrize("code", TRANSLATED)
def test_every_translation_of_a_message_is_used(code: str) -> None:
    """Translators need not work on texts that the program no longer has. A command stays as it is typed."""
    texts = LANGUAGES.choose([code])
    assert texts.catalog is not None
    said = {sentence for each in WRITTEN for sentence in each.sentences}
    for message in texts.catalog:
        if message.context == status_words.CONTEXT:
            pattern = status_words.pattern_of(str(message.id))
            assert any(pattern.fullmatch(each.removesuffix(".")) for each in said), HINT.format(message.id)
            assert set(places(str(message.id))) == set(places(str(message.string))), message.id
    asked = status_words.in_words(texts, "Run `tconnectsync check`, or `tconnectsync sync`.")
    assert "`tconnectsync check`" in asked
    assert "`tconnectsync sync`" in asked
