"""What every reader of bolus records must decide alike."""

from __future__ import annotations

_AUTOMATIC = frozenset({"automatic_correction", "automatic", "eating_soon_automatic", "algorithm", "eating_soon"})


def is_automatic(record: object) -> bool:
    """Return whether a body (or several, joined) says in its type, options or source that the pump gave the bolus by itself."""
    return not _AUTOMATIC.isdisjoint(getattr(record, name, None) for name in ("bolus_type", "options", "bolus_source"))
