"""The receiver against the simulated Nightscout, whose quirks are those of real servers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

import pytest
from hypothesis import HealthCheck, given, settings

from tconnectsync import Accepted, CheckResult, CredentialsRefused, Refused, Rejected, Retryable, Secret, document_id
from tconnectsync_nightscout.api.client import NightscoutClient, header_of
from tconnectsync_nightscout.api.document_format import created_at_text
from tconnectsync_nightscout.delivery.receiver import NightscoutReceiver
from tests.nightscout.deliveries import DirectSender, minutes, put, rounds, take_back, taken
from tests.nightscout.stub_site import NOW
from tests.support.clocks import FakeClock
from tests.support.simulated_nightscout.app import SimulatedNightscout
from tests.support.simulated_nightscout.faults import SiteFault

SECRET = "a simulated secret"
VERSIONS = ["0.12.8", "15.0.6", "15.0.7"]


@pytest.fixture(params=VERSIONS)
def site(request: pytest.FixtureRequest) -> Iterator[SimulatedNightscout]:
    """A simulated site of each release's rules."""
    with SimulatedNightscout(version=request.param, api_secret=SECRET, now=lambda: minutes(0)) as running:
        yield running


def receiver_of(site: SimulatedNightscout, *, secret: str = SECRET, token: str | None = None) -> NightscoutReceiver:
    key = header_of(Secret(secret), None if token is None else Secret(token))
    client = NightscoutClient(url=site.url, key=key, clock=FakeClock(NOW))
    return NightscoutReceiver(
        client, sink="nightscout-treatments", collections=("treatments", "activity", "devicestatus")
    )


@pytest.fixture
def receiver(site: SimulatedNightscout) -> Iterator[NightscoutReceiver]:
    """A receiver for the site."""
    made = receiver_of(site)
    yield made
    made.client.close()


def ours(site: SimulatedNightscout, collection: str = "treatments") -> list[tuple[str, str]]:
    """Identifier and time of every document that has an identifier."""
    return sorted(
        (item["identifier"], item["created_at"]) for item in site.documents(collection) if "identifier" in item
    )


def test_simulated_basal_history(site: SimulatedNightscout, receiver: NightscoutReceiver) -> None:
    """A basal history arrives, moves and is deleted."""
    basal = {"eventType": "Temp Basal", "absolute": 0, "rate": 0, "duration": 5, "insulin": None}
    stored = taken(receiver.deliver([put(number, minutes(-5 * number), **basal) for number in range(300)]))
    assert len(ours(site)) == 300
    assert site.documents("treatments")[0]["absolute"] == 0
    # A mended time zone: everything an hour earlier, to where others lay.
    moved = [put(number, minutes(-5 * number - 60), stored=text, **basal) for number, text in enumerate(stored)]
    stored = taken(receiver.deliver(moved[:150])) + taken(receiver.deliver(moved[150:]))
    assert [at for _, at in ours(site)] == [
        created_at_text(minutes(-5 * number - 60))
        for _, number in sorted((document_id("test", str(number)), number) for number in range(300))
    ]
    taken(receiver.deliver([take_back(number, text) for number, text in enumerate(stored)]))
    assert site.count("treatments") == 0
    assert site.overlaps == 0


def test_simulated_lost_answer(site: SimulatedNightscout, receiver: NightscoutReceiver) -> None:
    """A lost answer neither loses nor doubles anywhere."""
    for collection in ("treatments", "activity", "devicestatus"):
        for when in ("before", "after"):
            site.fail(SiteFault(reset=when, method="POST", path=collection))
            with pytest.raises(Retryable) as told:
                receiver.deliver([put(collection, collection=collection, value=1)])
            assert told.value.in_doubt
        taken(receiver.deliver([put(collection, collection=collection, value=2, in_doubt=True)]))
        assert [item["value"] for item in site.documents(collection)] == [2]


def test_simulated_culprit_found_by_halving(site: SimulatedNightscout, receiver: NightscoutReceiver) -> None:
    """A document that breaks a batch is found by halving."""
    site.refuses = lambda document: document.get("insulin") == 9.0
    batch = [put(number, minutes(number), insulin=9.0 if number == 5 else 1.0) for number in range(8)]
    refused, work = [], [batch]
    while work:
        part = work.pop()
        try:
            assert all(isinstance(outcome, Accepted) for outcome in receiver.deliver(part))
        except Rejected:
            if len(part) == 1:
                refused.append(part[0].document_id)
            else:
                work += [part[: len(part) // 2], part[len(part) // 2 :]]
    assert refused == [document_id("test", "5")]
    assert len(ours(site)) == 7


def test_simulated_database_down(site: SimulatedNightscout, receiver: NightscoutReceiver) -> None:
    """A database that is down rejects nothing."""
    (stored,) = taken(receiver.deliver([put("a")]))
    site.database_down = True
    for delivery in (put("b", minutes(1)), put("c", collection="devicestatus", x=1), take_back("a", stored)):
        with pytest.raises(Retryable):
            receiver.deliver([delivery])
    site.database_down = False
    taken(receiver.deliver([take_back("a", stored)]))
    assert site.count("treatments") == 0


def test_simulated_without_careportal(receiver: NightscoutReceiver, site: SimulatedNightscout) -> None:
    """Without careportal, the message says what to enable."""
    site.careportal = False
    with pytest.raises(Retryable) as told:
        receiver.deliver([put("a")])
    assert "careportal" in (told.value.remedy or "")
    assert any("careportal is not enabled" in finding.what for finding in receiver.check())


def test_simulated_check(site: SimulatedNightscout, receiver: NightscoutReceiver) -> None:
    """The check finds a good site good and leaves nothing."""
    found = list(receiver.check())
    assert [finding for finding in found if not finding.good] == []
    assert [site.count(name) for name in ("treatments", "activity", "devicestatus")] == [0, 0, 0]


def test_simulated_wrong_secret(site: SimulatedNightscout) -> None:
    """A wrong secret is tried once."""
    receiver = receiver_of(site, secret="not the secret")
    for _ in range(3):
        with pytest.raises(CredentialsRefused):
            receiver.deliver([put("d", collection="devicestatus", x=1)])
    assert len(site.requests) == 1
    bad: list[CheckResult] = [finding for finding in receiver.check() if not finding.good]
    receiver.client.close()
    assert len(bad) == 1


def test_simulated_token_rights() -> None:
    """A token with the documented rights is enough."""
    token = "pump-0123456789abcdef"
    rights = [
        f"api:{name}:{right}"
        for name in ("treatments", "activity", "devicestatus")
        for right in ("create", "read", "delete")
    ]
    with SimulatedNightscout(
        tokens={token: [*rights, "api:status:read"]}, public=False, now=lambda: minutes(0)
    ) as site:
        receiver = receiver_of(site, token=token)
        assert [finding for finding in receiver.check() if not finding.good] == []
        (stored,) = taken(receiver.deliver([put("a")]))
        taken(receiver.deliver([take_back("a", stored)]))
        receiver.client.close()


def test_private_site_without_status_right() -> None:
    """The status only adds its version and units; `check` names the missing right."""
    token = "pump-0123456789abcdef"
    rights = [f"api:treatments:{right}" for right in ("create", "read", "delete")]
    with SimulatedNightscout(tokens={token: rights}, public=False, now=lambda: minutes(0)) as site:
        receiver = receiver_of(site, token=token)
        receiver.collections = ("treatments",)
        (stored,) = taken(receiver.deliver([put("a", glucose=120)]))
        assert len(list(receiver.survey(minutes(-60), minutes(0)))) == 1
        assert sum("status" in request.path for request in site.requests) == 1
        (finding,) = [finding for finding in receiver.check() if not finding.good]
        assert "api:status:read" in (finding.remedy or "")
        taken(receiver.deliver([take_back("a", stored)]))
        assert site.documents("treatments") == []
        receiver.client.close()


@pytest.mark.parametrize("version", ["0.12.8", "13.0.1"])
def test_check_token_on_old_site(version: str) -> None:
    """A readable site that takes no token: `check` names the version and the API secret, and not a right of the role."""
    token = "pump-0123456789abcdef"
    with SimulatedNightscout(version=version, tokens={token: ["*"]}, public=True, now=lambda: minutes(0)) as site:
        receiver = receiver_of(site, token=token)
        (finding,) = [finding for finding in receiver.check() if not finding.good]
        receiver.client.close()
    assert f"Nightscout {version} takes no access token here" in finding.what
    assert "nightscout.api_secret" in (finding.remedy or "")
    assert "role" not in (finding.remedy or "")


def test_an_unknown_token_is_refused_where_it_writes() -> None:
    with SimulatedNightscout(tokens={}, public=False, now=lambda: minutes(0)) as site:
        receiver = receiver_of(site, token="pump-0123456789abcdef")
        with pytest.raises(CredentialsRefused, match="api:treatments:create"):
            receiver.deliver([put("a")])
        receiver.client.close()


def test_simulated_older_bridge(site: SimulatedNightscout, receiver: NightscoutReceiver) -> None:
    """A site of an older bridge waits."""
    assert receiver.inspect(minutes(-1440), minutes(0)) is None
    old = {"eventType": "Combo Bolus", "insulin": 1.0, "enteredBy": "Pump (tconnectsync)", "pump_event_id": "1,2,3"}
    site.put("treatments", {**old, "created_at": created_at_text(minutes(-30))})
    hold = receiver.inspect(minutes(-1440), minutes(0))
    assert hold is not None
    assert "1 treatment of" in hold.reason


def test_simulated_read_back(site: SimulatedNightscout, receiver: NightscoutReceiver) -> None:
    """Everything is read back after a wiped disk."""
    stored = taken(receiver.deliver([put(number, minutes(-number)) for number in range(30)]))
    found = list(receiver.read_back(minutes(-1440), minutes(0)))
    assert sorted(item.receiver_key for item in found) == sorted(stored)


def test_simulated_impossible_time(site: SimulatedNightscout, receiver: NightscoutReceiver) -> None:
    """An impossible time never becomes "now"."""
    outcomes = receiver.deliver([put("a", datetime(3000, 1, 1, tzinfo=timezone.utc))])
    assert isinstance(outcomes[0], Refused)
    assert site.count("treatments") == 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds=rounds)
def test_simulated_any_failure_ends_right(
    site: SimulatedNightscout, rounds: list[tuple[dict[int, tuple[int, str] | None], str, int, str]]
) -> None:
    """Whatever fails, a real server's rules end in the desired documents once."""
    begun = site.rules.version
    site.drop("treatments")
    clock = FakeClock(NOW)
    client = NightscoutClient(url=site.url, key=header_of(Secret(SECRET), None), clock=clock)
    sender = DirectSender(NightscoutReceiver(client, sink="nightscout-treatments", collections=("treatments",)))
    faults = {
        "before": SiteFault(reset="before", method="POST"),
        "after": SiteFault(reset="after", method="POST"),
        "500": SiteFault(stop_at=0, method="POST"),
        "null": SiteFault(status=200, body="null", method="GET", path="treatments"),
    }
    for revision, (changes, trouble, limit, then) in enumerate(rounds):
        for name, place in changes.items():
            if place is None:
                sender.wanted.pop(document_id("test", str(name)), None)
            else:
                sender.want(name, *place, revision)
        if trouble:
            site.fail(faults[trouble])
        sender.deliver(limit)
        site.mend()
        if then == "upgrade":
            site.change_version("15.0.7")
        elif then:
            clock.advance(seconds=4000)
    while sender.pending():
        sender.deliver(3)
    client.close()
    site.change_version(begun)
    assert ours(site) == sorted((name, created_at_text(wanted.at)) for name, wanted in sender.wanted.items())
