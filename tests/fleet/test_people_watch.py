"""What a worker learns of changed people, also from a server that is behind."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import cast

import attrs
import pytest

from tconnectsync import Retryable
from tconnectsync_fleet.people_watch import PeopleWatch
from tconnectsync_fleet.servers import BucketState, Entry, Servers

CREATED = datetime(2026, 5, 14, tzinfo=timezone.utc)


@attrs.define
class LateServers:
    """Says how far the bucket is, but has its entries up to ``has`` only."""

    entries: dict[str, Entry]
    has: int = 0
    created: datetime = CREATED
    fails_after: int = 0
    """After this entry the servers do not answer."""
    asked_after: list[int] = attrs.field(factory=list)

    def bucket_state(self, _bucket: str) -> BucketState:
        return BucketState(last_revision=max(each.revision for each in self.entries.values()), created=self.created)

    def pages(self, _bucket: str, after: int = 0) -> Iterator[dict[str, Entry]]:
        """An entry in each."""
        self.asked_after.append(after)
        for name, each in self.entries.items():
            if after < each.revision <= self.has:
                yield {name: each}
                if each.revision == self.fails_after:
                    raise Retryable("no answer")


@attrs.define
class LateWatch:
    """A watch, and what it reported."""

    servers: LateServers
    told: list[str] = attrs.field(factory=list)
    watch: PeopleWatch = attrs.field()

    @watch.default
    def _new(self) -> PeopleWatch:
        return PeopleWatch(cast(Servers, self.servers))

    def look(self) -> list[str]:
        self.told.clear()
        self.watch.look(
            lambda name, entry: self.told.append(f"{name} {entry.revision}"), lambda: self.told.append("over")
        )
        return list(self.told)


@pytest.fixture
def watching() -> LateWatch:
    people = {"anna": Entry(revision=3, value=b"a"), "ben": Entry(revision=5, value=b"b")}
    return LateWatch(LateServers(people, has=5))


def test_each_change_once(watching: LateWatch) -> None:
    """Nobody is read again without a change, and the servers are not asked for changes if there are none."""
    assert watching.look() == ["anna 3", "ben 5"]
    assert watching.look() == []
    watching.servers.entries["anna"] = Entry(revision=6, value=None)
    watching.servers.has = 6
    assert watching.look() == ["anna 6"]
    assert watching.servers.asked_after == [0, 5]


@pytest.mark.parametrize("has", [0, 3])
def test_first_look_at_a_late_server(watching: LateWatch, has: int) -> None:
    """People whom the server does not have yet are read as soon as it has them."""
    watching.servers.has = has
    first = watching.look()
    watching.servers.has = 5
    assert [*first, *watching.look()] == ["anna 3", "ben 5"]


def test_change_that_comes_late(watching: LateWatch) -> None:
    """A pause is not lost if the server that answers does not have it yet."""
    watching.look()
    watching.servers.entries["ben"] = Entry(revision=7, value=b"paused")
    assert watching.look() == []
    assert watching.look() == []
    watching.servers.has = 7
    assert watching.look() == ["ben 7"]
    assert watching.look() == []


def test_interrupted_look_continues(watching: LateWatch) -> None:
    """Who was read counts, and is not read again: with 100,000 people each look could fail again."""
    watching.servers.fails_after = 3
    with pytest.raises(Retryable):
        watching.look()
    assert watching.told == ["anna 3"]
    assert watching.look() == ["ben 5"]
    assert watching.servers.asked_after == [0, 3]


def test_bucket_created_again(watching: LateWatch) -> None:
    """Everybody is forgotten, and read again as soon as the server has them."""
    watching.look()
    watching.servers.created = datetime(2026, 5, 15, tzinfo=timezone.utc)
    watching.servers.entries = {"anna": Entry(revision=1, value=b"a")}
    watching.servers.has = 0
    assert watching.look() == ["over"]
    watching.servers.has = 1
    assert watching.look() == ["anna 1"]
