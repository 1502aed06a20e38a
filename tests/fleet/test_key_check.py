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
from tconnectsync_fleet.key_check import check_key
from tconnectsync_fleet.sealing import KeyProblem
from tconnectsync_fleet.servers import Entry, Servers

OWN, OTHER = SealedBox(PrivateKey.generate()), SealedBox(PrivateKey.generate())


def page(box: SealedBox[PrivateKey], first: int, count: int) -> dict[str, Entry]:
    """Entries of people whose configurations were sealed for this key."""
    value = json.dumps({"config": base64.b64encode(box.encrypt(b"x")).decode()}).encode()
    return {
        f"p{number}": cast(Entry, SimpleNamespace(value=value, revision=1, at=None))
        for number in range(first, first + count)
    }


def check(*pages: dict[str, Entry] | Exception) -> None:
    def read(_: str) -> Iterator[Any]:
        for each in pages:
            if isinstance(each, Exception):
                raise each
            yield each

    check_key(cast(Servers, SimpleNamespace(pages=read)), OWN, Path("fleet.key"))


def test_key_that_opens_nobody() -> None:
    """The worker does not begin."""
    with pytest.raises(KeyProblem, match="not this fleet's key"):
        check(page(OTHER, 0, 3))


def test_key_for_those_who_were_added_last() -> None:
    """While a fleet gets a new key, many are still sealed for the old one: a worker with the new key begins."""
    check(page(OTHER, 0, 300), page(OWN, 300, 1))
    check({})


def test_servers_that_do_not_answer() -> None:
    """What was not read may be sealed for this key: the worker begins, as in any outage."""
    check(page(OTHER, 0, 3), Retryable("no answer"))
