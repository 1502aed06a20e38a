"""Remedies as ``check`` tells them: it does not send people to itself to find out what is wrong."""

from __future__ import annotations

import re

_PART = re.compile(r"(?:`[^`]*`|[^.;?`]|[.;?](?=\S))+(?:[.;?]\s*|$)")
AGAIN = "Put this right, then run `tconnectsync check` again."


def remedy_within_check(remedy: str | None) -> str | None:
    """Return the remedy without what only says that ``check`` looks; "…, then run `tconnectsync check`" stays."""
    if remedy is None or "`tconnectsync check`" not in remedy:
        return remedy
    parts = [part for part in _PART.findall(remedy) if part]
    kept = [part for part in parts if "`tconnectsync check`" not in part or re.search(r"\bthen\b", part, re.IGNORECASE)]
    words = "".join(kept).strip().rstrip(";").strip()
    return AGAIN if not words else words if words.endswith((".", "?")) else f"{words}."
