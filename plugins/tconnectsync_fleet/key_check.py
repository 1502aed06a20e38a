"""Whether a worker's key is this fleet's. Another one would take people over and could do nothing for them."""

from __future__ import annotations

from pathlib import Path

from nacl.public import PrivateKey, SealedBox
from nats.errors import Error as NatsError

from tconnectsync import Retryable
from tconnectsync_fleet.people import person_of
from tconnectsync_fleet.sealing import KeyProblem, opened
from tconnectsync_fleet.servers import PEOPLE, Servers


def check_key(servers: Servers, box: SealedBox[PrivateKey], key: Path) -> None:
    """Try people's configurations until one can be opened. Errors: KeyProblem if none of them can.

    While the servers do not answer, nothing is known: then the worker begins.
    """
    is_refused = False
    try:
        for page in servers.pages(PEOPLE):
            for name, entry in page.items():
                person = person_of(name, entry)
                if person is not None and person.sealed:
                    if opened(box, person.sealed) is not None:
                        return
                    is_refused = True
    except (Retryable, NatsError):
        return
    if is_refused:
        raise KeyProblem(
            f"{key} is not this fleet's key: it opens nobody's configuration. Copy the key with which the people were added to this"
            " computer."
        )
