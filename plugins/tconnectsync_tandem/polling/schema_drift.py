"""Unknown parts of the vendor's data: logged once per run, and counted."""

from __future__ import annotations

import logging

import attrs

from tconnectsync_tandem.decode.entries import NO_SUCH_CODE, HistoryEntry

log = logging.getLogger("tconnectsync.tandem")

_MOST_REMEMBERED = 20_000


@attrs.define
class SchemaDrift:
    """Count entries stored as ``unknown``. An entry that is fetched again counts once."""

    unknown_codes: dict[str, int] = attrs.field(factory=dict)
    set_aside: int = 0
    _warned: set[str] = attrs.field(factory=set)
    _counted: set[int] = attrs.field(factory=set)

    def count(self, identity: str, code: str, entry: HistoryEntry) -> None:
        """Count an entry that is unknown or invalid."""
        for words in entry.notes:
            self.warn_once(f"code={code} {words}", 'vendor_data_changed code=%s what="%s"', code, words)
        if entry.kind != "unknown" or hash(identity) in self._counted:
            return
        if len(self._counted) < _MOST_REMEMBERED:
            self._counted.add(hash(identity))
        if entry.body.reason == NO_SUCH_CODE:
            self.unknown_codes[code] = self.unknown_codes.get(code, 0) + 1
            self.warn_once(f"code={code}", "unknown_code code=%s kept=verbatim", code)
        else:
            self.set_aside += 1
            self.warn_once(
                f"set_aside {code} {entry.body.reason[:30]}", 'set_aside code=%s reason="%s"', code, entry.body.reason
            )

    def warn_once(self, once: str, words: str, *values: object) -> None:
        """Log a warning the first time in this run."""
        if once not in self._warned and len(self._warned) < _MOST_REMEMBERED:
            self._warned.add(once)
            log.warning(words, *values)
