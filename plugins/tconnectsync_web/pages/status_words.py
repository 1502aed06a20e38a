"""The program's own messages (those of ``status``) in the reader's language.

A language's file has them with the context ``status``, one sentence each, in the words of the program, with places for what changes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import attrs
from babel.messages.catalog import Catalog

from tconnectsync_web.languages import Texts

CONTEXT = "status"
COMMANDS = frozenset({"command", "next"})
"""Places with a command, between backquotes."""
INNER = frozenset({"detail", "what", "age"})
"""Places with a sentence or part of one, or a length of time, which is translated too."""
_COMMAND, _VALUE = r"`[^`]+`", r"(?:(?![.?]\s).)*?"
_END = re.compile(r"(?<=[.?]) ")


@attrs.frozen
class Sentence:
    """A sentence of the program: what finds it, and how it is in the other language."""

    pattern: re.Pattern[str]
    translated: str


def in_words(texts: Texts, english: str) -> str:
    """Return a message or remedy of the program in the language of ``texts``. A sentence without a translation stays in English."""
    if texts.catalog is None or not english:
        return english
    known, parts, words = sentences_of(texts.catalog), _END.split(english), []
    while parts:
        for count in range(len(parts), 0, -1):
            found = translated(known, " ".join(parts[:count]), texts)
            if found is not None:
                break
        words.append(parts[0] if found is None else found)
        parts = parts[count:]
    return " ".join(words)


def translated(known: Sequence[Sentence], english: str, texts: Texts) -> str | None:
    stop = "." if english.endswith(".") else ""
    for sentence in known:
        found = sentence.pattern.fullmatch(english.removesuffix("."))
        if found is not None:
            inside = {
                name: in_words(texts, part) if name in INNER else part for name, part in found.groupdict().items()
            }
            words = sentence.translated % inside
            return (words[:1].upper() + words[1:] if english[:1].isupper() else words) + stop
    return None


_KNOWN: dict[int, Sequence[Sentence]] = {}


def sentences_of(catalog: Catalog) -> Sequence[Sentence]:
    """The sentences of a catalog, those with the most words of their own first. Made once for each."""
    found = _KNOWN.get(id(catalog))
    if found is None:
        texts = [(str(each.id), str(each.string)) for each in catalog if each.context == CONTEXT and each.string]
        texts.sort(key=lambda each: len(re.sub(r"%\(\w+\)s", "", each[0])), reverse=True)
        found = _KNOWN[id(catalog)] = [Sentence(pattern_of(english), translated) for english, translated in texts]
    return found


def pattern_of(template: str) -> re.Pattern[str]:
    """Return what finds the places; the first letter may be a capital. A place does not reach into another sentence."""
    parts = re.split(r"%\((\w+)\)s", template.replace("%%", "%"))
    fixed = [re.escape(part) for part in parts[::2]]
    places = [f"(?P<{name}>{_COMMAND if name in COMMANDS else _VALUE})" for name in parts[1::2]]
    text = "".join(part + place for part, place in zip(fixed, [*places, ""], strict=True))
    return re.compile(f"(?i:{text[0]}){text[1:]}" if fixed[0] and fixed[0][0].isalpha() else text)
