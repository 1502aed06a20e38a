"""Unknown parts of the vendor's data: logged once per run."""

from __future__ import annotations

import logging

import attrs

from tconnectsync_tandem.decode.entries import NO_SUCH_CODE, HistoryEntry

log = logging.getLogger("tconnectsync.tandem")

_MOST_REMEMBERED = 20_000


@attrs.define
class SchemaDrift:
    """Logs each unknown part of the data once."""

    _warned: set[str] = attrs.field(factory=set)

    def report(self, code: str, entry: HistoryEntry) -> None:
        """Log what is unknown or invalid in an entry."""
        for words in entry.notes:
            self.warn_once(f"code={code} {words}", 'vendor_data_changed code=%s what="%s"', code, words)
        if entry.kind != "unknown":
            return
        reason = entry.body.reason
        if reason == NO_SUCH_CODE:
            self.warn_once(f"code={code}", "unknown_code code=%s kept=verbatim", code)
        else:
            self.warn_once(f"set_aside {code} {reason[:30]}", 'set_aside code=%s reason="%s"', code, reason)

    def warn_once(self, once: str, words: str, *values: object) -> None:
        """Log a warning the first time in this run."""
        if once not in self._warned and len(self._warned) < _MOST_REMEMBERED:
            self._warned.add(once)
            log.warning(words, *values)
