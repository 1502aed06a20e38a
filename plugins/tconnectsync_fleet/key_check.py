"""Whether a worker's key is this fleet's. Another one would take people over and could do nothing for them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import attrs
from nacl.public import PrivateKey, SealedBox
from nats.errors import Error as NatsError

from tconnectsync import Retryable
from tconnectsync_fleet.people import Member, person_of
from tconnectsync_fleet.sealing import KeyProblem, opened
from tconnectsync_fleet.servers import PEOPLE, Servers


@attrs.define
class KeyCheck:
    """Tries the key on people's configurations until one could be opened. Afterwards it does nothing."""

    box: SealedBox[PrivateKey] = attrs.field(repr=False)
    path: Path
    """The key's file, for the message."""
    is_right: bool = False
    """Whether it has opened a configuration."""

    def at_start(self, servers: Servers) -> None:
        """Try the key on everybody in the bucket. Errors: KeyProblem if it opens nobody's configuration.

        While the servers do not answer, or have nobody, nothing is known: then the worker begins, and :meth:`try_on` is left.
        """
        try:
            self.try_on(person_of(name, entry) for page in servers.pages(PEOPLE) for name, entry in page.items())
        except (Retryable, NatsError):
            return

    def try_on(self, people: Iterable[Member | None]) -> None:
        """Try the key on these people. Errors: KeyProblem if there are some, and it opens nobody's configuration."""
        if self.is_right:
            return
        is_refused = False
        for person in people:
            if person is not None and person.sealed:
                if opened(self.box, person.sealed) is not None:
                    self.is_right = True
                    return
                is_refused = True
        if is_refused:
            raise KeyProblem(
                f"{self.path} is not this fleet's key: it opens nobody's configuration. Copy the key with which the people were added"
                " to this computer, or add them again with this one: `tconnectsync fleet add --replace`."
            )
