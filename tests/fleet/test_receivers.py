"""Two people do not get one site by mistake, on a real server."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import attrs
import pytest

from tconnectsync import Retryable
from tconnectsync_fleet.people import CheckedConfig, Member, NotPossible, People
from tconnectsync_fleet.receivers import ReceiverOwners, place_of
from tconnectsync_fleet.servers import PEOPLE, Servers

SITE = "https://site.example/"


@pytest.fixture
def people(servers: Servers) -> Iterator[People]:
    """The people of the fleet. Those whom a test adds leave with it."""
    people = People(servers)
    before = people.all().keys()
    yield people
    for name in people.all().keys() - before:
        people.remove(name)


@pytest.fixture
def site(new_name: Callable[[], str]) -> CheckedConfig:
    """A configuration that delivers to a site which no other test has."""
    return CheckedConfig(sealed=b"sealed", receivers={new_name(): SITE})


def refusal(people: People, name: str, config: CheckedConfig, *, replace: bool = False) -> str:
    with pytest.raises(NotPossible) as raised:
        people.add(name, config, replace=replace)
    return str(raised.value)


def shared(config: CheckedConfig) -> CheckedConfig:
    """The same configuration of somebody who says that the site is meant for several."""
    return attrs.evolve(config, shared=frozenset(config.receivers))


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("https://Site.example/", "site.example"),
        ("http://site.example:80", "site.example"),
        ("https://site.example/Anna/", "site.example/Anna"),
        ("HTTPS://site.example.", "site.example"),
        ("mqtt://home:1883/pump of anna", "home/pump of anna"),
        ("mqtts://home:8883/pump of anna", "home/pump of anna"),
        ("db:8086/org/bucket", "db:8086/org/bucket"),
        ("/srv/pump (csv)", None),
        ("data (csv)", None),
        (". (json)", None),
    ],
)
def test_place_of_an_address(address: str, place: str | None) -> None:
    """Different addresses of one receiver count as the same; a folder of the worker counts as none."""
    assert place_of(address) == place


def test_second_person_is_refused(people: People, site: CheckedConfig, new_name: Callable[[], str]) -> None:
    """The message says whose site it is, which, and what to do. Nothing of the refused person stays."""
    first, second, free = new_name(), new_name(), new_name()
    people.add(first, site, replace=False)
    both = CheckedConfig(sealed=b"sealed", receivers={free: "https://free.example/", **site.receivers})
    said = refusal(people, second, both)
    assert all(word in said for word in (first, second, SITE, "--shared-receiver"))
    assert "remove" not in said, "no advice to delete somebody else's data"
    assert not people.has(second)
    people.add(new_name(), CheckedConfig(sealed=b"sealed", receivers={free: "https://free.example/"}), replace=False)


def test_shared_on_purpose(people: People, site: CheckedConfig, new_name: Callable[[], str]) -> None:
    """People who share a site keep it when one leaves. It is free when the last one has left."""
    first, second, third = new_name(), new_name(), new_name()
    people.add(first, site, replace=False)
    people.add(second, shared(site), replace=False)
    people.add(second, site, replace=True)
    people.remove(first)
    assert second in refusal(people, third, site)
    people.remove(second, with_data=True)
    people.add(third, site, replace=False)


def test_changed_site(people: People, site: CheckedConfig, new_name: Callable[[], str]) -> None:
    """A changed configuration frees the old site, and does not get a site that another person has."""
    first, second = new_name(), new_name()
    other = CheckedConfig(sealed=b"sealed", receivers={new_name(): "https://other.example/"})
    people.add(first, site, replace=False)
    people.add(first, other, replace=True)
    people.add(second, site, replace=False)
    assert second in refusal(people, first, site, replace=True)
    assert people.get(first).receivers == list(other.receivers)


def test_pause_keeps_the_site(people: People, site: CheckedConfig, new_name: Callable[[], str]) -> None:
    """A paused person still has it."""
    first = new_name()
    people.add(first, site, replace=False)
    people.store(attrs.evolve(people.get(first), paused=True))
    assert first in refusal(people, new_name(), site)


def test_many_at_once(people: People, site: CheckedConfig, new_name: Callable[[], str]) -> None:
    """Of several in one folder with one site, one is added."""
    names = [new_name() for _ in range(4)]
    refused = people.add_all(dict.fromkeys(names, site))
    assert len(refused) == 3
    (added,) = set(names) - set(refused)
    assert all(added in reason for reason in refused.values())


def test_two_commands_at_once(
    people: People, servers: Servers, site: CheckedConfig, new_name: Callable[[], str]
) -> None:
    """Of commands at the same moment, at most one adds its person: two that see each other are both refused."""
    names, refused = [new_name() for _ in range(4)], list[str]()

    def add(name: str) -> None:
        try:
            People(servers).add(name, site, replace=False)
        except NotPossible:
            refused.append(name)

    threads = [threading.Thread(target=add, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(map(people.has, names)) == 4 - len(refused) <= 1


def test_one_shared_address_is_no_leave_for_the_other(
    people: People, site: CheckedConfig, new_name: Callable[[], str]
) -> None:
    """A person who shares a database gets nobody else's site; the message names both if nothing is shared."""
    database, first, second = new_name(), new_name(), new_name()
    both = attrs.evolve(site, receivers={database: "db:8086/pump", **site.receivers})
    people.add(first, both, replace=False)
    said = refusal(people, second, both)
    assert "--shared-receiver db:8086/pump" in said
    assert f"--shared-receiver {SITE}" in said
    said = refusal(people, second, attrs.evolve(both, shared=frozenset({database})))
    assert "db:8086" not in said
    assert SITE in said


def test_many_share_one(people: People, site: CheckedConfig, new_name: Callable[[], str]) -> None:
    """Hundreds with one database are added by one command."""
    names = [new_name() for _ in range(300)]
    assert people.add_all(dict.fromkeys(names, shared(site))) == {}


@pytest.mark.parametrize("replace", [False, True])
def test_other_person_stored_meanwhile(
    people: People, site: CheckedConfig, new_name: Callable[[], str], monkeypatch: pytest.MonkeyPatch, replace: bool
) -> None:
    """Somebody else gets the site after the check and before the new entry: the new entry is removed again."""
    first, second = new_name(), new_name()
    elsewhere = CheckedConfig(sealed=b"before", receivers={new_name(): "https://elsewhere.example"})
    if replace:
        people.add(second, elsewhere, replace=False)
    put = people._put

    async def later(person: Member) -> int:
        await people._bucket.create(first, Member(name=first, sealed=b"").with_config(site).value())
        return await put(person)

    monkeypatch.setattr(people, "_put", later)
    assert first in refusal(people, second, site, replace=replace)
    assert people.has(second) is replace
    assert not replace or people.get(second).sealed == b"before"


@pytest.mark.parametrize("lost", ["the answer to the store", "the second look"])
@pytest.mark.parametrize("replace", [False, True])
def test_servers_stop_answering_meanwhile(
    people: People, site: CheckedConfig, new_name: Callable[[], str], monkeypatch: pytest.MonkeyPatch, lost: str,
    replace: bool,
) -> None:  # fmt: skip
    """A person who could not be compared with everybody else is removed again."""
    name = new_name()
    elsewhere = CheckedConfig(sealed=b"before", receivers={new_name(): "https://elsewhere.example"})
    if replace:
        people.add(name, elsewhere, replace=False)
    put, look = people._put, people._owners

    async def stored(person: Member) -> int:
        await put(person)
        raise Retryable("no answer")

    def unanswered(since: int = 0) -> ReceiverOwners:
        if since:
            raise Retryable("no answer")
        return look(since)

    if lost == "the second look":
        monkeypatch.setattr(people, "_owners", unanswered)
    else:
        monkeypatch.setattr(people, "_put", stored)
    with pytest.raises(Retryable, match="no answer"):
        people.add(name, site, replace=replace)
    assert people.has(name) is replace
    assert not replace or people.get(name).sealed == b"before"
    if not replace:
        with pytest.raises(Retryable, match="no answer"):
            people.add_all({name: site})
        assert not people.has(name)


def test_servers_that_stay_away(
    people: People, servers: Servers, site: CheckedConfig, new_name: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If removing fails too, the message names the people who may still be there, and the command to run."""
    name, call, calls = new_name(), servers.call, list[object]()

    def until_stored(work: Coroutine[Any, Any, Any], timeout_s: float = 10.0) -> Any:
        if calls:
            work.close()
            raise Retryable("no answer")
        found = call(work, timeout_s)
        if isinstance(found, int):  # the revision of what was stored; afterwards everything fails
            calls.append(found)
        return found

    monkeypatch.setattr(servers, "call", until_stored)
    with pytest.raises(Retryable, match=f"{name}.*no answer") as raised:
        people.add(name, site, replace=False)
    assert "`tconnectsync fleet remove NAME`" in str(raised.value.remedy)
    monkeypatch.undo()
    assert people.has(name)


def test_person_of_a_newer_release_keeps_the_site(
    people: People, servers: Servers, site: CheckedConfig, new_name: Callable[[], str]
) -> None:
    """This release can read where such a person delivers."""
    first = new_name()
    entry = {"receivers": list(site.receivers), "config": 1, "format": 1000}
    servers.call(servers.bucket(PEOPLE).create(first, json.dumps(entry).encode()))
    assert first in refusal(people, new_name(), site)
