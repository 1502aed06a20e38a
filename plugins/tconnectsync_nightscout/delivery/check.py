"""Test what a site allows: ``check`` writes documents of its own and deletes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tconnectsync import CheckResult, CredentialsRefused, Retryable, TconnectsyncError
from tconnectsync_nightscout.api.address import SiteStatus, is_exposed
from tconnectsync_nightscout.api.client import NightscoutClient
from tconnectsync_nightscout.api.document_format import created_at_text
from tconnectsync_nightscout.delivery.check_documents import BATCH, CHECK_TIME, WriteTest
from tconnectsync_nightscout.delivery.profile import COLLECTION as PROFILE

CLOCK_LIMIT_S = 120.0

_LIMITS = (
    "Delivery uses smaller requests, which takes longer. If you run the proxy or firewall in front of the site,"
    " raise its limits for the size and the time of a request (nginx: client_max_body_size, proxy_read_timeout)."
)
_ROLE = (
    "Give the token's role the rights to create, read and delete {0} (api:{0}:create, :read, :delete) in Admin Tools."
)


def check_site(client: NightscoutClient, collections: Sequence[str], *, entered_by: str) -> Iterator[CheckResult]:
    """Yield findings about the connection, the site, its clock, and the rights in each collection."""
    client.forget_refusal()
    yield from _connection(client)
    try:
        status = client.status()
    except TconnectsyncError as error:
        yield CheckResult(good=False, what=error.message, remedy=error.remedy)
        return
    yield from _site(client, status)
    for collection in collections:
        finding = _rights(client, collection, entered_by)
        refused = not finding.good and client.is_refused
        if refused and client.uses_token and status.is_before_tokens:
            yield _without_tokens(client, status)
            return
        yield finding
        if client.uses_token:
            client.forget_refusal()
        elif refused:
            return  # a wrong secret fails for every collection, and newer servers wait longer after each failure


def _without_tokens(client: NightscoutClient, status: SiteStatus) -> CheckResult:
    """The version explains the refusal. It is no ground for one: compatible sites have version numbers of their own."""
    return CheckResult(
        good=False,
        what=f"{client.url}: Nightscout {status.version} takes no access token here, whatever its rights (HTTP 401)",
        remedy="Set nightscout.api_secret (NS_SECRET) instead of nightscout.token, or update Nightscout to version 14 or newer.",
    )


def _connection(client: NightscoutClient) -> Iterator[CheckResult]:
    if is_exposed(client.url):
        yield CheckResult(
            good=False,
            what=f"{client.url} is not encrypted: anyone on the network path can read the secret",
            remedy="Use the site's https:// address in nightscout.url (NS_URL).",
        )
    if client.url.startswith("https") and not client.verify_tls:
        yield CheckResult(
            good=False,
            what=f"the certificate of {client.url} is not verified (verify_tls = false)",
            remedy="Remove nightscout.verify_tls (NS_SKIP_TLS_VERIFY) unless the site uses a certificate that you made yourself.",
        )


def _site(client: NightscoutClient, status: SiteStatus) -> Iterator[CheckResult]:
    if status.is_hidden:
        yield CheckResult(
            good=False,
            what=f"{client.url} does not show its status to this token (HTTP 401): the token is unknown there, or it lacks the"
            " right api:status:read. Without that right delivery works, but glucose is sent in mg/dl",
            remedy="Add api:status:read to the token's role in Nightscout's Admin Tools, or check nightscout.token. A Nightscout before"
            " version 14 takes no token here: set nightscout.api_secret instead.",
        )
    else:
        units = f", units {status.units}" if status.units else ""
        yield CheckResult(good=True, what=f"Nightscout {status.version} at {client.url}{units}")
    if status.careportal is False:
        yield CheckResult(
            good=False,
            what="careportal is not enabled: treatments and activity cannot be written",
            remedy="Add careportal to the site's ENABLE setting and restart it.",
        )
    ahead_s = client.clock_ahead_s
    if ahead_s is None:
        return
    if abs(ahead_s) <= CLOCK_LIMIT_S:
        yield CheckResult(good=True, what=f"this computer's clock agrees with the site's to {abs(ahead_s):.0f} s")
    else:
        yield CheckResult(
            good=False,
            what=f"this computer's clock is {abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} the site's",
            remedy="Set this computer's clock: `timedatectl` shows whether it is synchronised.",
        )


def _rights(client: NightscoutClient, collection: str, entered_by: str) -> CheckResult:
    """One finding per collection; the documents are deleted even if a step fails."""
    if collection == PROFILE:
        return _may_read_profiles(client)
    trial = WriteTest(client=client, collection=collection, entered_by=entered_by)
    step = "read"
    try:
        trial.remove()  # left by a check that was interrupted
        step = "create"
        trial.create()
        step = "read"
        if not trial.stored() and not trial.is_named_by_response:
            return CheckResult(
                good=False,
                what=f"{collection}: the site reported that it stored a document, but the document is missing",
                remedy="Look at the site's log; its database may be full.",
            )
        step = "delete"
        trial.remove()
        if trial.stored():
            raise Retryable(f"{client.url} does not delete {collection}")
    except TconnectsyncError as error:
        return _failed(trial, step, error)
    if trial.batch_error is not None:
        why = trial.batch_error.message
        what = f"{collection}: small requests work, a request as large as a full batch ({BATCH}) fails: {why}"
        return CheckResult(good=False, what=what, remedy=_LIMITS)
    plain = "; the site refuses compressed requests, so they are sent uncompressed" if client.compression.plain else ""
    return CheckResult(good=True, what=f"{collection}: may create, read and delete{plain}")


def _may_read_profiles(client: NightscoutClient) -> CheckResult:
    """Writing is not tested: while the test runs, the site would show a profile that belongs to nobody."""
    try:
        client.read_current_profile()
    except TconnectsyncError as error:
        return CheckResult(good=False, what=f"profile: may not read: {error.message}", remedy=error.remedy)
    return CheckResult(good=True, what="profile: may read (writing is not tested)")


def _failed(trial: WriteTest, step: str, error: TconnectsyncError) -> CheckResult:
    client, collection = trial.client, trial.collection
    rest = f" A test document, stamped {created_at_text(CHECK_TIME)}, may remain there."
    left = rest if step == "delete" else ""
    if step != "delete" and not isinstance(error, CredentialsRefused):
        try:
            trial.remove()
        except TconnectsyncError:
            left = rest
    remedy = error.remedy
    if isinstance(error, CredentialsRefused) and client.uses_token:
        remedy = _ROLE.format(collection)
    return CheckResult(good=False, what=f"{collection}: may not {step}: {error.message}.{left}", remedy=remedy)
