"""Collections where the site stores whatever it is sent, twice if it is sent twice: activity and devicestatus.

A document that may be there already is looked for first. It is replaced by reading, deleting and posting; each in a request of its
own, so that a failure concerns one document.
"""

from __future__ import annotations

from collections.abc import Sequence

from tconnectsync import Accepted, Outcome, Refused, Rejected
from tconnectsync_nightscout.delivery.upsert import fails_on, outcome_of, recognise
from tconnectsync_nightscout.site.client import NightscoutClient
from tconnectsync_nightscout.site.deadline import TimeBudget, delete_all, out_of_time
from tconnectsync_nightscout.site.find_copies import Copy, copies_of
from tconnectsync_nightscout.site.match_copies import Named, named_of
from tconnectsync_nightscout.site.responses import ServerFault
from tconnectsync_nightscout.site.wire import Task, stored_text

ENOUGH = 2
"""So many failures in a row look like the site's own trouble: the rest would meet it too."""
ACTIVITY = "activity"
"""Holds one object of ours per site, whatever its age: always read first."""


def deliver_unkeyed(
    client: NightscoutClient, collection: str, tasks: Sequence[Task], patience: TimeBudget
) -> dict[str, Outcome]:
    """Do these; one outcome per document id."""
    outcomes: dict[str, Outcome] = {}
    in_a_row = 0
    for task in tasks:
        if in_a_row >= ENOUGH or patience.ended:
            outcomes[task.id] = out_of_time()
            continue
        try:
            outcomes[task.id] = _replace(client, collection, task, patience)
            in_a_row = 0
        except Rejected as error:
            in_a_row += error.passing
            outcomes[task.id] = Refused(reason=error.message, passing=error.passing, remedy=error.remedy)
    return outcomes


def _replace(client: NightscoutClient, collection: str, task: Task, patience: TimeBudget) -> Outcome:
    known = task.old is not None or task.delivery.in_doubt or task.body is None
    copies = _copies(client, collection, task) if known or collection == ACTIVITY else []
    keep = next((copy for copy in copies if _is_current(copy, task)), None)
    if not delete_all(client, collection, [copy for copy in copies if copy is not keep], patience):
        return out_of_time()
    if task.body is None or task.key is None:
        return Accepted(receiver_key="")
    if keep is not None:
        return Accepted(receiver_key=stored_text(task.key, named_of(task.id, keep.fields).mongo_id))
    return outcome_of(client, task, _post(client, collection, task))


def _copies(client: NightscoutClient, collection: str, task: Task) -> list[Copy]:
    times = () if collection == ACTIVITY and collection not in client.drops_identifier else task.times
    return copies_of(client, collection, {task.id: times}, tasks=[task])[task.id]


def _is_current(copy: Copy, task: Task) -> bool:
    return task.body is not None and task.key is not None and copy.key.at == task.key.at and copy.holds(task.body)


def _post(client: NightscoutClient, collection: str, task: Task) -> Named | None:
    """How the site names it; None where it does not. A document on which it fails while it answers others is Rejected."""
    try:
        return _create(client, collection, task)
    except ServerFault as fault:
        if fault.status != 500:
            raise
        current = [copy for copy in _copies(client, collection, task) if _is_current(copy, task)]
        if current:
            return named_of(task.id, current[0].fields)
    try:
        return _create(client, collection, task)
    except ServerFault as fault:
        if fault.status != 500:
            raise
        raise fails_on(fault) from fault


def _create(client: NightscoutClient, collection: str, task: Task) -> Named | None:
    body = [] if task.body is None else [task.body]
    return recognise(client, collection, [task], client.create(collection, body)).get(task.id)
