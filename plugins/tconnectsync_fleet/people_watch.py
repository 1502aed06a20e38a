"""What changed in the bucket of people since a worker last looked."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

import attrs

from tconnectsync_fleet.people import NAME
from tconnectsync_fleet.servers import PEOPLE, Entry, Servers

log = logging.getLogger("tconnectsync.fleet")


@attrs.define
class PeopleWatch:
    """Reads each changed entry once. An entry that could not be used is offered again at the next look."""

    servers: Servers
    _created: datetime | None = None
    _revision: int = 0
    _unused: dict[str, Entry] = attrs.field(factory=dict)
    """Entries that could not be used. The reason is in the log once."""

    def look(self, use: Callable[[str, Entry], None], start_over: Callable[[], None]) -> None:
        """Call ``use`` with each entry that changed since the last look, also deleted ones.

        ``start_over`` is called first if the bucket was deleted and created again. It forgets everybody: those who are in the
        new bucket come again through ``use``.
        Errors: Retryable, NatsError; the next look continues after the last entry that was read. NewerRelease if a newer release
        changed the whole fleet.
        """
        found = self.servers.bucket_state(PEOPLE)
        found.check_format()
        if self._created is None:
            self._created = found.created
        if found.created != self._created or found.last_revision < self._revision:
            log.warning("people_read_again the bucket of people was created again")
            start_over()
            self._created, self._revision = found.created, 0
            self._unused.clear()
        again = dict(self._unused)
        if found.last_revision > self._revision:
            for page in self.servers.pages(PEOPLE, self._revision):
                for name, entry in page.items():
                    again.pop(name, None)
                    self._use(name, entry, use)
                # Not `last_revision`: the entries may come from a server that is behind. What it has not got yet comes at a later look.
                self._revision = max([self._revision, *(entry.revision for entry in page.values())])
        for name, entry in again.items():
            self._use(name, entry, use)

    def _use(self, name: str, entry: Entry, use: Callable[[str, Entry], None]) -> None:
        if NAME.fullmatch(name) is None:  # it becomes the name of a folder
            return
        try:
            use(name, entry)
        except Exception:  # the border between people
            if name not in self._unused:
                log.exception("person_not_read name=%s it is tried again every second", name)
            self._unused[name] = entry
        else:
            self._unused.pop(name, None)
