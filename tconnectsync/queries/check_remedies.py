"""Remedies inside ``check``, ``setup`` and ``init``: sentences that are wrong there, such as "run `check`", are removed."""

from __future__ import annotations

import re

_PART = re.compile(r"(?:`[^`]*`|[^.;?`]|[.;?](?=\S))+(?:[.;?]\s*|$)")
_VARIABLES = re.compile(r" \((?:[A-Z]+_[A-Z_]+(?:, )?)+\)")
_THEN_CHECK = re.compile(r", then (?:run )?`tconnectsync check`(?: again)?")
_RETRY = re.compile(r"\bretri(?:ed|es)\b")
LATER = "This may pass. Try again in a few minutes."
AGAIN = "Correct this, then run `tconnectsync check` again."


def remedy_within_check(remedy: str | None) -> str | None:
    """Return the remedy without sentences that only refer to ``check``; "…, then run `tconnectsync check`" stays."""
    if remedy is None or "`tconnectsync check`" not in remedy:
        return remedy
    parts = [part for part in _PART.findall(remedy) if part]
    kept = [part for part in parts if "`tconnectsync check`" not in part or re.search(r"\bthen\b", part, re.IGNORECASE)]
    words = "".join(kept).strip().rstrip(";").strip()
    return AGAIN if not words else words if words.endswith((".", "?")) else f"{words}."


def remedy_before_writing(remedy: str | None) -> str | None:
    """Return the remedy without sentences about ``check`` and retries: nothing is written yet, so nothing is retried."""
    if remedy is None or remedy == AGAIN:
        return remedy and ""
    parts = _PART.findall(_THEN_CHECK.sub("", remedy))
    kept = [part for part in parts if "`tconnectsync check`" not in part and not _RETRY.search(part)]
    words = "".join(kept).strip().rstrip(";").strip()
    if not words:
        return LATER if any(map(_RETRY.search, parts)) else ""
    return words if words.endswith((".", "?")) else f"{words}."


def remedy_within_setup(remedy: str | None) -> str | None:
    """Return :func:`remedy_before_writing` without environment variables: the next step is to answer again."""
    words = remedy_before_writing(remedy)
    return words and _VARIABLES.sub("", words)
