"""A worker's key is tried on people's configurations before it begins."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from nacl.public import PrivateKey, SealedBox

from tconnectsync import Retryable
from tconnectsync_fleet.key_check import KeyCheck
from tconnectsync_fleet.people import Member
from tconnectsync_fleet.sealing import KeyProblem
from tconnectsync_fleet.servers import Entry, Servers
from tests.fleet.light_world import LightFleet
from tests.support.nats_servers import server_in

OWN, OTHER = SealedBox(PrivateKey.generate()), SealedBox(PrivateKey.generate())


def page(box: SealedBox[PrivateKey], first: int, count: int) -> dict[str, Entry]:
    """Entries of people whose configurations were sealed for this key."""
    value = json.dumps({"config": base64.b64encode(box.encrypt(b"x")).decode()}).encode()
    return {
        f"p{number}": cast(Entry, SimpleNamespace(value=value, revision=1, at=None))
        for number in range(first, first + count)
    }


def check(*pages: dict[str, Entry] | Exception) -> KeyCheck:
    """The check of a worker that starts, and finds this in the bucket."""

    def read(_: str) -> Iterator[Any]:
        for each in pages:
            if isinstance(each, Exception):
                raise each
            yield each

    found = KeyCheck(OWN, Path("fleet.key"))
    found.at_start(cast(Servers, SimpleNamespace(pages=read)))
    return found


def test_key_that_opens_nobody() -> None:
    """The worker does not begin."""
    with pytest.raises(KeyProblem, match="not this fleet's key"):
        check(page(OTHER, 0, 3))


def test_key_for_those_who_were_added_last() -> None:
    """While a fleet gets a new key, many are still sealed for the old one: a worker with the new key begins."""
    assert check(page(OTHER, 0, 300), page(OWN, 300, 1)).is_right


def test_servers_that_do_not_answer() -> None:
    """What was not read may be sealed for this key: the worker begins, as in any outage."""
    check(page(OTHER, 0, 3), Retryable("no answer"))


@pytest.mark.parametrize("found", [{}, Retryable("no answer")])
def test_first_person_comes_later(found: dict[str, Entry] | Exception) -> None:
    """What was not known at the start is found out then: a right key is tried no more, another one ends the worker."""
    removed = Member(name="removed", sealed=b"")
    checked = check(found)
    checked.try_on([removed, None])
    assert not checked.is_right
    others, own = (Member(name="anna", sealed=box.encrypt(b"x")) for box in (OTHER, OWN))
    with pytest.raises(KeyProblem, match="not this fleet's key"):
        checked.try_on([removed, others])
    checked.try_on([others, own])
    checked.try_on([others])


def test_worker_that_started_in_an_empty_fleet(tmp_path: Path) -> None:
    """It ends when the first person appears whom its key does not open, as at its start, and takes nobody."""
    server = server_in(tmp_path)
    server.start()
    fleet = LightFleet(tmp_path, f"nats://127.0.0.1:{server.port}")
    try:
        other = tmp_path / "other.key"
        fleet.run("key", str(other))
        for name, more in (("right", ()), ("wrong", ("--key", str(other)))):
            fleet.start(name, *more)
            fleet.eventually(lambda name=name: f"{name}: 0 people" in fleet.run("status", expect=(0, 9)), "a lease")
        fleet.add("anna")
        assert fleet.workers["wrong"].wait(30) == 2
        assert "other.key is not this fleet's key" in fleet.log("wrong").read_text()
        assert not (tmp_path / "wrong" / "people").exists()
        fleet.eventually(lambda: fleet.cloud.stored.get("anna"), "documents by the other worker")
    finally:
        fleet.close()
        server.stop()
