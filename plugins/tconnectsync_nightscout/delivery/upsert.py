"""Deliver treatments and entries, where the site keeps one document per key: sending one twice is safe.

The key of an entry is its time and type. The key of a treatment is ``created_at`` and ``eventType`` up to 15.0.6. A
document with the same key is replaced, so if we or a user moved it, its old copy is deleted before the new one is put.
From 15.0.7 on, the key of a treatment is the ``identifier``. Then the document is put, which moves it, and read again:
a copy from before the site's upgrade, from a parallel connection or from a user's editing may remain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tconnectsync import Accepted, Outcome, Postponed, Refused, Rejected
from tconnectsync_nightscout.api.client import NightscoutClient
from tconnectsync_nightscout.api.diff import diff
from tconnectsync_nightscout.api.document_format import Key, Task, moment_of, stored_text
from tconnectsync_nightscout.api.find_copies import FIRST_TIME, Copy, between, copies_of
from tconnectsync_nightscout.api.match_copies import StoredName, stored_name, stored_names
from tconnectsync_nightscout.api.responses import ServerFault
from tconnectsync_nightscout.api.time_budget import TimeBudget, delete_all, out_of_time

TREATMENTS = "treatments"


def deliver_keyed(
    client: NightscoutClient, collection: str, tasks: Sequence[Task], budget: TimeBudget
) -> dict[str, Outcome]:
    """Deliver the tasks; one outcome per document id. Repeating it is safe."""
    if not tasks:
        return {}
    drops = collection in client.drops_identifier
    by_identifier = collection == TREATMENTS and client.status().identifier_is_key and not drops
    leaving = [task for task in tasks if task.body is None]
    doubtful = [
        task for task in tasks
        if task.body is not None
        and (task.moved or task.delivery.in_doubt or (task.old is not None and (drops or _may_be_edited(task))))
    ]  # fmt: skip

    outcomes = _delete_outdated(client, collection, leaving if by_identifier else [*leaving, *doubtful], budget)
    puts = [task for task in tasks if task.body is not None and task.id not in outcomes]
    if not by_identifier:
        outcomes |= _same_key(puts)
        puts = [task for task in puts if task.id not in outcomes]
    outcomes |= _put(client, collection, puts)
    if by_identifier:
        outcomes |= _confirm(
            client, collection, [task for task in doubtful if isinstance(outcomes[task.id], Accepted)], budget
        )
    return outcomes


def _may_be_edited(task: Task) -> bool:
    """Whether a user may have moved or split the stored copy: even the editor of notes moves it to the whole minute.

    Rates are left out: they change with each upload, nobody can drag them, and a second copy adds no insulin.
    """
    return task.delivery.collection == TREATMENTS and task.key is not None and task.key.event_type != "Temp Basal"


def _delete_outdated(
    client: NightscoutClient, collection: str, tasks: Sequence[Task], budget: TimeBudget
) -> dict[str, Outcome]:
    """Delete every copy that is not at its document's key. Returns the outcomes of tasks that are finished by this."""
    outcomes: dict[str, Outcome] = {}
    held = copies_of(client, collection, {task.id: task.times for task in tasks}, tasks=tasks)
    drops = collection in client.drops_identifier  # and the site has no key either: each put adds a copy
    for task in tasks:
        unwanted = _surplus_copies(held[task.id], task)
        kept = next((copy for copy in held[task.id] if copy not in unwanted), None)
        if drops and kept is not None and diff(task.body or {}, kept.fields):
            unwanted, kept = [*unwanted, kept], None
        if not delete_all(client, collection, unwanted, budget):
            outcomes[task.id] = out_of_time()
        elif task.body is None:
            outcomes[task.id] = Accepted(receiver_key="")
        elif drops and kept is not None and task.key is not None:
            outcomes[task.id] = Accepted(receiver_key=stored_text(task.key, kept.mongo_id))
    return outcomes


def _confirm(
    client: NightscoutClient, collection: str, tasks: Sequence[Task], budget: TimeBudget
) -> dict[str, Outcome]:
    """Read what was put: one copy each, at its key. Returns the outcomes of tasks for which this is not so yet."""
    outcomes: dict[str, Outcome] = {}
    held = copies_of(client, collection, {task.id: task.times for task in tasks})
    for task in tasks:
        if all(copy.key != task.key for copy in held[task.id]):
            outcomes[task.id] = Postponed(reason="Nightscout accepted it but does not show it")
        elif not delete_all(client, collection, _surplus_copies(held[task.id], task), budget):
            outcomes[task.id] = out_of_time()
    return outcomes


def _surplus_copies(copies: Iterable[Copy], task: Task) -> list[Copy]:
    """All copies but one at the document's key: one with the same content, else the oldest.

    Two computers that do this at the same time choose the same copy.
    """
    here = [copy for copy in copies if task.body is not None and copy.key == task.key]
    kept = min(here, key=lambda copy: (bool(diff(task.body or {}, copy.fields)), copy.mongo_id), default=None)
    return [copy for copy in copies if copy is not kept]


def _same_key(puts: Sequence[Task]) -> dict[str, Outcome]:
    """An older site keeps only one of two documents with the same key, and answers 200."""
    first: dict[Key, Task] = {}
    outcomes: dict[str, Outcome] = {}
    for task in puts:
        if task.key is not None and first.setdefault(task.key, task) is not task:
            outcomes[task.id] = Refused(
                reason=f"another {task.key.event_type} is stamped {task.key.created_at}, and this site keeps only one of them"
            )
    return outcomes


def _put(client: NightscoutClient, collection: str, puts: Sequence[Task]) -> dict[str, Outcome]:
    bodies = [task.body for task in puts if task.body is not None]
    if not bodies:
        return {}
    named = find_stored(client, collection, puts, _create(client, collection, bodies))
    return {task.id: outcome_of(client, task, named.get(task.id)) for task in puts}


def find_stored(
    client: NightscoutClient, collection: str, puts: Sequence[Task], answered: Sequence[Mapping[str, Any]]
) -> dict[str, StoredName]:
    """Find which of these the site has stored, by its response or by reading. Learns whether it keeps our identifiers."""
    named = stored_names(answered, puts)
    kept = any(each.by_identifier for each in named.values())
    missing = [task for task in puts if task.id not in named]
    if missing:
        held = copies_of(client, collection, {task.id: task.times for task in missing}, tasks=missing, unfiltered=True)
        named |= {
            task.id: stored_name(task.id, copy.fields)
            for task in missing
            for copy in held[task.id]
            if copy.key == task.key
            # an older copy does not prove that this one was stored
            and (task.old is None or collection in client.drops_identifier or not diff(task.body or {}, copy.fields))
        }
    if named:
        (client.drops_identifier.discard if kept else client.drops_identifier.add)(collection)
    return named


def outcome_of(client: NightscoutClient, task: Task, named: StoredName | None) -> Outcome:
    """The outcome of a document that was put."""
    if task.key is None or named is None:
        reason = f"{client.url} reports that it stored {task.delivery.collection}, but shows no such document"
        return Postponed(reason=reason, unconfirmed=True)
    return Accepted(receiver_key=stored_text(task.key, named.mongo_id))


def _create(client: NightscoutClient, collection: str, bodies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Post the documents. A failure that may be caused by the documents themselves becomes Rejected.

    For a list, the site stops at the first bad document with status 500. Status 500 also means that the database is
    down, which a read shows, or that it is full, which a read does not show.
    """
    try:
        return client.create(collection, bodies)
    except ServerFault as fault:
        if fault.status != 500:
            raise
        at = moment_of(bodies[0]["created_at"]) or FIRST_TIME
        client.read(collection, between(collection, at, at), count=1)
        if len(bodies) > 1:
            raise server_fault(fault) from fault
    try:
        return client.create(collection, bodies)
    except ServerFault as fault:
        if fault.status != 500:
            raise
        raise server_fault(fault) from fault


def server_fault(fault: ServerFault) -> Rejected:
    """Status 500 to a write while reading works."""
    return Rejected(
        f"{fault.message}, although reading works",
        receiver_fault=True,
        remedy="Look at the site's log: its database may be full or read-only. Nothing is lost: the daemon retries.",
    )
