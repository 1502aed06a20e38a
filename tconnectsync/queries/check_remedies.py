"""Remedies inside ``check`` and ``setup``: sentences that only say "run `check`" are removed."""

from __future__ import annotations

import re

_PART = re.compile(r"(?:`[^`]*`|[^.;?`]|[.;?](?=\S))+(?:[.;?]\s*|$)")
_VARIABLES = re.compile(r" \((?:[A-Z]+_[A-Z_]+(?:, )?)+\)")
AGAIN = "Correct this, then run `tconnectsync check` again."


def remedy_within_check(remedy: str | None) -> str | None:
    """Return the remedy without sentences that only refer to ``check``; "…, then run `tconnectsync check`" stays."""
    if remedy is None or "`tconnectsync check`" not in remedy:
        return remedy
    parts = [part for part in _PART.findall(remedy) if part]
    kept = [part for part in parts if "`tconnectsync check`" not in part or re.search(r"\bthen\b", part, re.IGNORECASE)]
    words = "".join(kept).strip().rstrip(";").strip()
    return AGAIN if not words else words if words.endswith((".", "?")) else f"{words}."


def remedy_within_setup(remedy: str | None) -> str | None:
    """Return the remedy without sentences about ``check`` and without environment variables: the next step is to answer again."""
    if remedy is None:
        return None
    kept = (part for part in _PART.findall(remedy) if "`tconnectsync check`" not in part)
    words = _VARIABLES.sub("", "".join(kept)).strip().rstrip(";").strip()
    return words if not words or words.endswith((".", "?")) else f"{words}."
