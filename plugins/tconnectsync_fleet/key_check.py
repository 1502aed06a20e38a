"""Whether a worker's key is this fleet's. Another one would take people over and could do nothing for them."""

from __future__ import annotations

import contextlib
from pathlib import Path

from nacl.public import PrivateKey, SealedBox
from nats.errors import Error as NatsError

from tconnectsync import Retryable
from tconnectsync_fleet.people import person_of
from tconnectsync_fleet.sealing import KeyProblem, opened
from tconnectsync_fleet.servers import PEOPLE, Servers

ENOUGH = 100
"""After so many configurations that the key does not open, it is the wrong one."""


def check_key(servers: Servers, box: SealedBox[PrivateKey], key: Path) -> None:
    """Try some people's configurations. If the servers do not answer, nothing is checked. Errors: KeyProblem if none can be opened."""
    refused = 0
    with contextlib.suppress(Retryable, NatsError):
        for page in servers.pages(PEOPLE):
            people = (person_of(name, entry) for name, entry in page.items())
            for person in people:
                if person is not None and person.sealed:
                    if opened(box, person.sealed) is not None:
                        return
                    refused += 1
            if refused >= ENOUGH:
                break
    if refused:
        raise KeyProblem(
            f"{key} is not this fleet's key: it opens nobody's configuration. Copy the key with which the people were added to this"
            " computer."
        )
