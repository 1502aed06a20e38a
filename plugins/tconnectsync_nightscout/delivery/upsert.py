"""Treatments and entries: the site keeps one per key, so that putting the same twice is putting it once.

An entry's key is its time and its type, as a treatment's up to 15.0.6 is ``created_at`` and ``eventType``, and whatever has the
same key is replaced: the old copy of a document that moved is taken away first, then the new one put. From 15.0.7 on a
treatment's key is the ``identifier``: it is put, which moves it, and then looked at, because a copy from before the site's upgrade
or from two connections at once may have stayed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tconnectsync import Accepted, Outcome, Postponed, Refused, Rejected
from tconnectsync_nightscout.site.client import NightscoutClient
from tconnectsync_nightscout.site.deadline import TimeBudget, delete_all, out_of_time
from tconnectsync_nightscout.site.diff import diff
from tconnectsync_nightscout.site.find_copies import FIRST_TIME, Copy, between, copies_of
from tconnectsync_nightscout.site.match_copies import Named, named_in, named_of
from tconnectsync_nightscout.site.responses import ServerFault
from tconnectsync_nightscout.site.wire import Key, Task, created_at_text, moment_of, stored_text

TREATMENTS = "treatments"


def deliver_keyed(
    client: NightscoutClient, collection: str, tasks: Sequence[Task], patience: TimeBudget
) -> dict[str, Outcome]:
    """Do these; one outcome per document id. Repeating it is safe."""
    if not tasks:
        return {}
    drops = collection in client.drops_identifier
    by_identifier = collection == TREATMENTS and client.status().identifier_is_key and not drops
    leaving = [task for task in tasks if task.body is None]
    doubtful = [
        task for task in tasks
        if task.body is not None and (task.moved or task.delivery.in_doubt or (drops and task.old is not None))
    ]  # fmt: skip

    outcomes = _clear(client, collection, leaving if by_identifier else [*leaving, *doubtful], patience)
    puts = [task for task in tasks if task.body is not None and task.id not in outcomes]
    if not by_identifier:
        outcomes |= _same_key(puts)
        puts = [task for task in puts if task.id not in outcomes]
    outcomes |= _put(client, collection, puts)
    if by_identifier:
        outcomes |= _confirm(
            client, collection, [task for task in doubtful if isinstance(outcomes[task.id], Accepted)], patience
        )
    return outcomes


def _clear(
    client: NightscoutClient, collection: str, tasks: Sequence[Task], patience: TimeBudget
) -> dict[str, Outcome]:
    """Take away every copy that is not where its document is to be. Outcomes of what ends with that."""
    outcomes: dict[str, Outcome] = {}
    held = copies_of(client, collection, {task.id: task.times for task in tasks}, tasks=tasks)
    drops = (
        collection in client.drops_identifier
    )  # and knows no key either: whatever is put stands beside what is there
    for task in tasks:
        unwanted = _surplus_copies(held[task.id], task)
        kept = next((copy for copy in held[task.id] if copy not in unwanted), None)
        if drops and kept is not None and diff(task.body or {}, kept.fields):
            unwanted, kept = [*unwanted, kept], None
        if not delete_all(client, collection, unwanted, patience):
            outcomes[task.id] = out_of_time()
        elif task.body is None:
            outcomes[task.id] = Accepted(receiver_key="")
        elif drops and kept is not None and task.key is not None:
            outcomes[task.id] = Accepted(receiver_key=stored_text(task.key, kept.mongo_id))
    return outcomes


def _confirm(
    client: NightscoutClient, collection: str, tasks: Sequence[Task], patience: TimeBudget
) -> dict[str, Outcome]:
    """Look at what was put: one copy each, where it belongs. Outcomes of what is not yet so."""
    outcomes: dict[str, Outcome] = {}
    held = copies_of(client, collection, {task.id: task.times for task in tasks})
    for task in tasks:
        if all(copy.key != task.key for copy in held[task.id]):
            outcomes[task.id] = Postponed(reason="Nightscout took it but does not hold it")
        elif not delete_all(client, collection, _surplus_copies(held[task.id], task), patience):
            outcomes[task.id] = out_of_time()
    return outcomes


def _surplus_copies(copies: Iterable[Copy], task: Task) -> list[Copy]:
    """All copies but one that lies where the document is to be: one that says the same, else the first that was made.

    Two machines that do this at the same moment choose the same one.
    """
    here = [copy for copy in copies if task.body is not None and copy.key == task.key]
    kept = min(here, key=lambda copy: (bool(diff(task.body or {}, copy.fields)), copy.mongo_id), default=None)
    return [copy for copy in copies if copy is not kept]


def _same_key(puts: Sequence[Task]) -> dict[str, Outcome]:
    """An older site would keep only one of two documents with one key, and say 200."""
    first: dict[Key, Task] = {}
    outcomes: dict[str, Outcome] = {}
    for task in puts:
        if task.key is not None and first.setdefault(task.key, task) is not task:
            when = created_at_text(task.key.at)
            outcomes[task.id] = Refused(
                reason=f"another {task.key.event_type} is stamped {when}, and this site keeps only one of them"
            )
    return outcomes


def _put(client: NightscoutClient, collection: str, puts: Sequence[Task]) -> dict[str, Outcome]:
    bodies = [task.body for task in puts if task.body is not None]
    if not bodies:
        return {}
    named = recognise(client, collection, puts, _create(client, collection, bodies))
    return {task.id: outcome_of(client, task, named.get(task.id)) for task in puts}


def recognise(
    client: NightscoutClient, collection: str, puts: Sequence[Task], answered: Sequence[Mapping[str, Any]]
) -> dict[str, Named]:
    """Which of these the site has stored: by its answer, else by looking. What it keeps of our identity is learned from it."""
    named = named_in(answered, puts)
    kept = any(each.by_identifier for each in named.values())
    missing = [task for task in puts if task.id not in named]
    if missing:
        held = copies_of(client, collection, {task.id: task.times for task in missing}, tasks=missing, unfiltered=True)
        named |= {
            task.id: named_of(task.id, copy.fields)
            for task in missing
            for copy in held[task.id]
            if copy.key == task.key
            # an older copy does not show that this one was stored
            and (task.old is None or collection in client.drops_identifier or not diff(task.body or {}, copy.fields))
        }
    if named:
        (client.drops_identifier.discard if kept else client.drops_identifier.add)(collection)
    return named


def outcome_of(client: NightscoutClient, task: Task, named: Named | None) -> Outcome:
    """What is handed to the outbox for a document that was put."""
    if task.key is None or named is None:
        reason = (
            f"{client.url} answers that it stored {task.delivery.collection}, but shows nothing that is known as ours"
        )
        return Postponed(reason=reason, unconfirmed=True)
    return Accepted(receiver_key=stored_text(task.key, named.mongo_id))


def _create(client: NightscoutClient, collection: str, bodies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Post; a failure that may be the documents' own fault becomes Rejected.

    An array stops at its first bad document with status 500. The same status means a database that is down, which a read
    shows, or one that is full, which it does not.
    """
    try:
        return client.create(collection, bodies)
    except ServerFault as fault:
        if fault.status != 500:
            raise
        at = moment_of(bodies[0]["created_at"]) or FIRST_TIME
        client.read(collection, between(collection, at, at), count=1)
        if len(bodies) > 1:
            raise fails_on(fault) from fault
    try:
        return client.create(collection, bodies)
    except ServerFault as fault:
        if fault.status != 500:
            raise
        raise fails_on(fault) from fault


def fails_on(fault: ServerFault) -> Rejected:
    """Status 500 to a write, while reading works."""
    return Rejected(
        f"{fault.message}, while it answers questions",
        passing=True,
        remedy="Look at the site's own log: its database may be full or read-only. Nothing is lost; it is tried again.",
    )
