"""Counted nouns: one helper, so that no message says "1 documents", or writes 1163 beside 1,163."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tconnectsync import counted

ROOT = Path(__file__).parent.parent
MODULES = sorted([*(ROOT / "tconnectsync").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")])
NOUN = re.compile(
    r" ((more|dead|new|other|old|older|such) )*(attempts|batches|boluses|bytes|cells|changes|commands|copies|days"
    r"|deliveries|devices|documents|entries|events|files|gaps|hours|intervals|letters|lines|minutes|pumps|problems|questions"
    r"|readings|records|requests|rows|seconds|segments|sinks|sources|stretches|times|treatments|values|windows|zones)\b"
)
LIMITS = {"most"}
"""Names of upper bounds, which are never 1; constants in capitals are bounds, too."""


@pytest.mark.parametrize(
    ("number", "noun", "words"),
    [
        (0, "document", "0 documents"),
        (1, "document", "1 document"),
        (2, "entry", "2 entries"),
        (3, "day", "3 days"),
        (1_163, "bolus", "1,163 boluses"),
        (75_469, "pump event", "75,469 pump events"),
        (4, "stretch", "4 stretches"),
    ],
)
def test_counted(number: int, noun: str, words: str) -> None:
    assert counted(number, noun) == words


def test_a_verb_may_come_with_it() -> None:
    assert counted(1, "document was", "documents were") == "1 document was"
    assert counted(12_000, "document was", "documents were") == "12,000 documents were"


def uncounted(module: Path) -> Iterator[str]:
    """F-strings that write a number before a plural noun by themselves, and words that choose between one and many."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.IfExp) and re.search(r"== 1$|> 1$", ast.unparse(node.test)):
            chosen = [ast.unparse(each) for each in (node.body, node.orelse)]
            if any(each in ("'s'", "''") for each in chosen) and "'s'" in chosen:
                yield f"{module.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, text in zip(node.values, node.values[1:], strict=False):
            if not isinstance(value, ast.FormattedValue) or not isinstance(text, ast.Constant):
                continue
            name = ast.unparse(value.value)
            if NOUN.match(str(text.value)) and name not in LIMITS and not name.lstrip("_").isupper():
                yield f"{module.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)[:110]}"


def test_no_message_counts_a_noun_by_itself() -> None:
    """``f"{n} documents"`` says "1 documents" one day: ``counted(n, "document")`` does not."""
    assert [place for module in MODULES for place in uncounted(module)] == []
