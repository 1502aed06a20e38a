"""Deliver to activity and devicestatus, where the site stores a document again each time it is sent.

A document that may be stored already is searched first. To replace it: read, delete, post, each in its own request, so
that a failure concerns one document only.
"""

from __future__ import annotations

from collections.abc import Sequence

from tconnectsync import Accepted, Outcome, Refused, Rejected
from tconnectsync_nightscout.api.client import NightscoutClient
from tconnectsync_nightscout.api.document_format import Task, stored_text
from tconnectsync_nightscout.api.find_copies import Copy, copies_of
from tconnectsync_nightscout.api.match_copies import StoredName, stored_name
from tconnectsync_nightscout.api.responses import ServerFault
from tconnectsync_nightscout.api.time_budget import TimeBudget, delete_all, out_of_time
from tconnectsync_nightscout.delivery.upsert import find_stored, outcome_of, server_fault

ENOUGH = 2
"""This many failures in a row are the site's fault; the remaining documents would fail too."""
ACTIVITY = "activity"
"""Collections with one document of ours per site, whatever its age: always read first."""


def deliver_unkeyed(
    client: NightscoutClient, collection: str, tasks: Sequence[Task], budget: TimeBudget
) -> dict[str, Outcome]:
    """Deliver the tasks; one outcome per document id."""
    outcomes: dict[str, Outcome] = {}
    in_a_row = 0
    for task in tasks:
        if in_a_row >= ENOUGH or budget.ended:
            outcomes[task.id] = out_of_time()
            continue
        try:
            outcomes[task.id] = _replace(client, collection, task, budget)
            in_a_row = 0
        except Rejected as error:
            in_a_row += error.receiver_fault
            outcomes[task.id] = Refused(reason=error.message, receiver_fault=error.receiver_fault, remedy=error.remedy)
    return outcomes


def _replace(client: NightscoutClient, collection: str, task: Task, budget: TimeBudget) -> Outcome:
    known = task.old is not None or task.delivery.in_doubt or task.body is None
    copies = _copies(client, collection, task) if known or collection == ACTIVITY else []
    keep = next((copy for copy in copies if _is_current(copy, task)), None)
    if not delete_all(client, collection, [copy for copy in copies if copy is not keep], budget):
        return out_of_time()
    if task.body is None or task.key is None:
        return Accepted(receiver_key="")
    if keep is not None:
        return Accepted(receiver_key=stored_text(task.key, stored_name(task.id, keep.fields).mongo_id))
    return outcome_of(client, task, _post(client, collection, task))


def _copies(client: NightscoutClient, collection: str, task: Task) -> list[Copy]:
    times = () if collection == ACTIVITY and collection not in client.drops_identifier else task.times
    return copies_of(client, collection, {task.id: times}, tasks=[task])[task.id]


def _is_current(copy: Copy, task: Task) -> bool:
    return task.body is not None and task.key is not None and copy.key.at == task.key.at and copy.holds(task.body)


def _post(client: NightscoutClient, collection: str, task: Task) -> StoredName | None:
    """Return the site's id, None if it gives none. If only this document fails, the result is Rejected."""
    try:
        return _create(client, collection, task)
    except ServerFault as fault:
        if fault.status != 500:
            raise
        current = [copy for copy in _copies(client, collection, task) if _is_current(copy, task)]
        if current:
            return stored_name(task.id, current[0].fields)
    try:
        return _create(client, collection, task)
    except ServerFault as fault:
        if fault.status != 500:
            raise
        raise server_fault(fault) from fault


def _create(client: NightscoutClient, collection: str, task: Task) -> StoredName | None:
    body = [] if task.body is None else [task.body]
    return find_stored(client, collection, [task], client.create(collection, body)).get(task.id)
