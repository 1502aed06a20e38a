"""Remedies for a command that ends: it does not retry, as the daemon does."""

from __future__ import annotations

import re

_SENTENCE = re.compile(r"(?:`[^`]*`|[^.;?`]|[.;?](?=\S))+(?:[.;?]\s*|$)")
_RETRIES = re.compile(r"\bretri(?:ed|es)\b(?P<when> after [^.;]+)?")
LATER = "This may pass. Try again in a few minutes."


def sentences_of(remedy: str) -> list[str]:
    """Return the sentences of a remedy. A point inside a command or a name ends none."""
    return [str(sentence) for sentence in _SENTENCE.findall(remedy)]


def without_retries(remedy: str | None) -> str | None:
    """Return the remedy for somebody whose command has ended: what the daemon would retry, they try again themselves."""
    if remedy is None:
        return None
    kept, again = list[str](), ""
    for sentence in sentences_of(remedy):
        found = _RETRIES.search(sentence)
        if found is None:
            kept.append(sentence)
        else:
            again = f"Try again{found['when']}." if found["when"] else again or LATER
    words = "".join(kept).strip().rstrip(";").strip()
    if words and not words.endswith((".", "?")):
        words += "."
    if again and (not words or again != LATER or words.startswith("If it")):
        return f"{again} {words}".strip()
    return words
