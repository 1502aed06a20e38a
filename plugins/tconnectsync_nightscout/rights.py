"""``check``: what a site allows, found out by doing it with a document of its own that is removed afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from tconnectsync import CredentialsRefused, Finding, Retryable, TconnectsyncError, document_id
from tconnectsync_nightscout.client import NightscoutClient
from tconnectsync_nightscout.profile_delivery import COLLECTION as PROFILE
from tconnectsync_nightscout.reading import Copy, copies_of
from tconnectsync_nightscout.site import SiteStatus, is_exposed
from tconnectsync_nightscout.wire import ENTRIES, created_at_text, epoch_ms

CHECK_TIME = datetime(2001, 2, 3, 4, 5, 6, tzinfo=timezone.utc)
"""Long before any page or report of a site begins."""
CLOCK_LIMIT_S = 120.0

_TRIAL: Mapping[str, Mapping[str, Any]] = {
    "treatments": {"eventType": "Note", "notes": "tconnectsync check: may be deleted"},
    "activity": {"activityType": "tconnectsync_check"},
    "entries": {"type": "mbg", "mbg": 100, "device": "tconnectsync check: may be deleted"},
    "devicestatus": {"device": "tconnectsync check: may be deleted"},
}
_ROLE = (
    "Give the token's role the rights to create, read and delete {0} (api:{0}:create, :read, :delete) in Admin Tools."
)


def check_site(client: NightscoutClient, collections: Sequence[str], *, entered_by: str) -> Iterator[Finding]:
    """Findings about the connection, the site, its clock, and the rights in each collection."""
    client.forget_refusal()
    yield from _connection(client)
    try:
        status = client.status()
    except TconnectsyncError as error:
        yield Finding(good=False, what=error.message, remedy=error.remedy)
        return
    yield from _site(client, status)
    for collection in collections:
        finding = _rights(client, collection, entered_by)
        yield finding
        if not finding.good and client.refused and not client.uses_token:
            return  # a wrong secret is wrong everywhere, and each failure makes newer servers wait longer


def _connection(client: NightscoutClient) -> Iterator[Finding]:
    if is_exposed(client.url):
        yield Finding(
            good=False,
            what=f"{client.url} is not encrypted: everybody on the way can read the secret",
            remedy="Use the site's https:// address in nightscout.url (NS_URL).",
        )
    if client.url.startswith("https") and not client.verify_tls:
        yield Finding(
            good=False,
            what=f"the certificate of {client.url} is not verified (verify_tls = false)",
            remedy="Remove nightscout.verify_tls (NS_SKIP_TLS_VERIFY) unless the certificate is one of your own making.",
        )


def _site(client: NightscoutClient, status: SiteStatus) -> Iterator[Finding]:
    units = f", units {status.units}" if status.units else ""
    yield Finding(good=True, what=f"Nightscout {status.version} at {client.url}{units}")
    if status.careportal is False:
        yield Finding(
            good=False,
            what="careportal is not enabled: treatments and activity cannot be written",
            remedy="Add careportal to the site's ENABLE setting and restart it.",
        )
    ahead_s = client.clock_ahead_s
    if ahead_s is None:
        return
    if abs(ahead_s) <= CLOCK_LIMIT_S:
        yield Finding(good=True, what=f"this machine's clock agrees with the site's to {abs(ahead_s):.0f} s")
    else:
        yield Finding(
            good=False,
            what=f"this machine's clock is {abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} the site's",
            remedy="Run `timedatectl` and see that the clock is synchronized.",
        )


def _rights(client: NightscoutClient, collection: str, entered_by: str) -> Finding:
    """One finding per collection; the document is removed even when something fails in between."""
    identifier = document_id("check", collection)
    if collection == PROFILE:
        return _may_read_profiles(client)
    body = {
        **_TRIAL[collection],
        "created_at": created_at_text(CHECK_TIME),
        "identifier": identifier,
        "enteredBy": entered_by,
    }
    if collection == ENTRIES:
        body |= {"date": epoch_ms(CHECK_TIME), "dateString": created_at_text(CHECK_TIME)}
    step = "read"
    try:
        _remove(client, collection, _trials(client, collection, identifier))  # left by a check that was cut off
        step = "create"
        client.create(collection, [body])
        step = "read"
        found = _trials(client, collection, identifier)
        if not found:
            return Finding(
                good=False,
                what=f"{collection}: the site answered that it stored a document, but it is not there",
                remedy="Look at the site's own log; its database may be full.",
            )
        step = "delete"
        _remove(client, collection, found)
        if _trials(client, collection, identifier):
            raise Retryable(f"{client.url} does not delete {collection}")
    except TconnectsyncError as error:
        return _failed(client, collection, identifier, step, error)
    return Finding(good=True, what=f"{collection}: may create, read and delete")


def _may_read_profiles(client: NightscoutClient) -> Finding:
    """Nothing is written to try it: for that moment the site would show a profile that is nobody's."""
    try:
        client.read_current_profile()
    except TconnectsyncError as error:
        if isinstance(error, CredentialsRefused) and client.uses_token:
            client.forget_refusal()
        return Finding(good=False, what=f"profile: may not read: {error.message}", remedy=error.remedy)
    return Finding(good=True, what="profile: may read (writing is not tried)")


def _failed(client: NightscoutClient, collection: str, identifier: str, step: str, error: TconnectsyncError) -> Finding:
    left = (
        ""
        if step != "delete"
        else f" A document of the check, stamped {created_at_text(CHECK_TIME)}, may be left there."
    )
    if step != "delete" and not isinstance(error, CredentialsRefused):
        try:
            _remove(client, collection, _trials(client, collection, identifier))
        except TconnectsyncError:
            left = f" A document of the check, stamped {created_at_text(CHECK_TIME)}, may be left there."
    remedy = error.remedy
    if isinstance(error, CredentialsRefused) and client.uses_token:
        client.forget_refusal()
        remedy = _ROLE.format(collection)
    return Finding(good=False, what=f"{collection}: may not {step}: {error.message}.{left}", remedy=remedy)


def _trials(client: NightscoutClient, collection: str, identifier: str) -> list[Copy]:
    return copies_of(client, collection, {identifier: (CHECK_TIME,)})[identifier]


def _remove(client: NightscoutClient, collection: str, copies: Sequence[Copy]) -> None:
    for copy in copies:
        client.delete(collection, copy.mongo_id)
