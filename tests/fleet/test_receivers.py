"""Two people do not get one site by mistake, on a real server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import attrs
import pytest

from tconnectsync_fleet import receivers
from tconnectsync_fleet.people import CheckedConfig, NotPossible, People
from tconnectsync_fleet.receivers import Receivers, Taken, place_of
from tconnectsync_fleet.servers import PEOPLE, RECEIVERS, Servers

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


def stored_names(servers: Servers, config: CheckedConfig) -> bytes | None:
    (key,) = config.receivers
    found = servers.changes(RECEIVERS).get(key)
    return None if found is None else found.value


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("https://Site.example/", "site.example"),
        ("http://site.example:80", "site.example"),
        ("https://site.example/Anna/", "site.example/Anna"),
        ("mqtt://home:1883/pump of anna", "home:1883/pump of anna"),
        ("db:8086/org/bucket", "db:8086/org/bucket"),
        ("/srv/pump (csv)", None),
        ("data (csv)", None),
        (". (json)", None),
    ],
)
def test_place_of_an_address(address: str, place: str | None) -> None:
    """Addresses of one receiver are the same; a folder of the worker is none."""
    assert place_of(address) == place


def test_second_person_is_refused(people: People, site: CheckedConfig, new_name: Callable[[], str]) -> None:
    """The message says whose site it is, which, and what to do. Nothing of the refused person stays."""
    first, second, free = new_name(), new_name(), new_name()
    people.add(first, site, replace=False)
    both = CheckedConfig(sealed=b"sealed", receivers={free: "https://free.example/", **site.receivers})
    said = refusal(people, second, both)
    assert all(word in said for word in (first, second, SITE, "--shared-receiver", f"fleet remove {first}"))
    assert not people.has(second)
    people.add(new_name(), CheckedConfig(sealed=b"sealed", receivers={free: "https://free.example/"}), replace=False)


def test_shared_on_purpose(people: People, site: CheckedConfig, servers: Servers, new_name: Callable[[], str]) -> None:
    """Who shares a site keeps it when the other leaves. It is free when the last one has left."""
    first, second, third = new_name(), new_name(), new_name()
    people.add(first, site, replace=False)
    people.add(second, site, replace=False, may_share=True)
    people.add(second, site, replace=True)
    people.remove(first)
    assert second in refusal(people, third, site)
    people.remove(second, with_data=True)
    assert stored_names(servers, site) is None
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
    """Of commands at the same moment, one adds its person."""
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
    assert len(refused) == 3
    assert sum(map(people.has, names)) == 1


def test_interrupted_command(
    people: People, servers: Servers, site: CheckedConfig, new_name: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person who was never added does not keep a site; an entry that nobody can read neither."""
    monkeypatch.setattr(receivers, "BEING_ADDED_S", receivers._LOOK_S)
    people.claim_receivers(new_name(), site, may_share=False)
    second = new_name()
    people.add(second, site, replace=False)
    people.remove(second)
    (key,) = site.receivers
    servers.call(servers.bucket(RECEIVERS).put(key, b"no JSON"))
    people.add(new_name(), site, replace=False)


def test_person_who_is_being_added(servers: Servers, site: CheckedConfig) -> None:
    """While one waits whether the other is added, the other is: its repeated claim counts."""
    came: list[bool] = []

    async def delivers(name: str, key: str) -> bool | None:
        if name == "first" and not came:
            came.append(True)
            assert await both.claim("first", site.receivers, may_share=False) is None
            return False  # what was read before that
        return name == "first"

    both = Receivers(servers, delivers)
    assert servers.call(both.claim("first", site.receivers, may_share=False)) is None
    found = servers.call(both.claim("second", site.receivers, may_share=False))
    assert found == Taken(person="first", address=SITE)


def test_unreadable_person_keeps_the_site(
    people: People, servers: Servers, site: CheckedConfig, new_name: Callable[[], str]
) -> None:
    """Nobody can say where such a person delivers."""
    first = new_name()
    people.add(first, site, replace=False)
    servers.call(servers.bucket(PEOPLE).put(first, b"no JSON"))
    assert first in refusal(people, new_name(), site)
    people.remove(first)


def test_fleet_of_an_earlier_release(
    people: People, servers: Servers, site: CheckedConfig, new_name: Callable[[], str]
) -> None:
    """A fleet without the bucket gets it with the first person who is added."""
    servers.call(servers.js.delete_stream(f"KV_{RECEIVERS}"))
    first = new_name()
    people.add(first, site, replace=False)
    assert first in refusal(people, new_name(), site)
