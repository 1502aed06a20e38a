"""What the vendor sends that this release does not know: told once per run, and counted."""

from __future__ import annotations

import logging

import attrs

from tconnectsync_tandem.decode.entries import NO_SUCH_CODE, HistoryEntry

log = logging.getLogger("tconnectsync.tandem")

_MOST_REMEMBERED = 20_000


@attrs.define
class SchemaDrift:
    """Counts what was kept as ``unknown``; an entry that is fetched again counts once."""

    unknown_codes: dict[str, int] = attrs.field(factory=dict)
    set_aside: int = 0
    _told: set[str] = attrs.field(factory=set)
    _counted: set[int] = attrs.field(factory=set)

    def note(self, identity: str, code: str, entry: HistoryEntry) -> None:
        """Take note of an entry that is not as it should be."""
        for words in entry.notes:
            self.tell(f"code={code} {words}", 'vendor_data_changed code=%s what="%s"', code, words)
        if entry.kind != "unknown" or hash(identity) in self._counted:
            return
        if len(self._counted) < _MOST_REMEMBERED:
            self._counted.add(hash(identity))
        if entry.body.reason == NO_SUCH_CODE:
            self.unknown_codes[code] = self.unknown_codes.get(code, 0) + 1
            self.tell(f"code={code}", "unknown_code code=%s kept=verbatim", code)
        else:
            self.set_aside += 1
            self.tell(
                f"set_aside {code} {entry.body.reason[:30]}", 'set_aside code=%s reason="%s"', code, entry.body.reason
            )

    def tell(self, once: str, words: str, *values: object) -> None:
        """Log a warning, but only the first time in this run."""
        if once not in self._told and len(self._told) < _MOST_REMEMBERED:
            self._told.add(once)
            log.warning(words, *values)
