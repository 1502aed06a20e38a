"""Remedies inside ``check``, ``setup`` and ``init``: sentences that are wrong there, such as "run `check`", are removed."""

from __future__ import annotations

import re

from tconnectsync.text.retry_words import sentences_of, without_retries

_VARIABLES = re.compile(r" \((?:[A-Z]+_[A-Z_]+(?:, )?)+\)")
_THEN_CHECK = re.compile(r", then (?:run )?`tconnectsync check`(?: again)?")
AGAIN = "Correct this, then run `tconnectsync check` again."


def remedy_within_check(remedy: str | None) -> str | None:
    """Return the remedy without sentences that only refer to ``check``; "…, then run `tconnectsync check`" stays."""
    if remedy is None or "`tconnectsync check`" not in remedy:
        return remedy
    parts = sentences_of(remedy)
    kept = [part for part in parts if "`tconnectsync check`" not in part or re.search(r"\bthen\b", part, re.IGNORECASE)]
    words = "".join(kept).strip().rstrip(";").strip()
    return AGAIN if not words else words if words.endswith((".", "?")) else f"{words}."


def remedy_before_writing(remedy: str | None) -> str | None:
    """Return the remedy without sentences about ``check`` and retries: nothing is written yet, so nothing is retried."""
    if remedy is None or remedy == AGAIN:
        return remedy and ""
    kept = [part for part in sentences_of(_THEN_CHECK.sub("", remedy)) if "`tconnectsync check`" not in part]
    words = without_retries("".join(kept)) or ""
    return words if not words or words.endswith((".", "?")) else f"{words.rstrip(';').strip()}."


def remedy_within_setup(remedy: str | None) -> str | None:
    """Return :func:`remedy_before_writing` without environment variables: the next step is to answer again."""
    words = remedy_before_writing(remedy)
    return words and _VARIABLES.sub("", words)
