"""The plugin as the engine sees it: hook, options, checks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

import tconnectsync_tandem
from tconnectsync import Context, Secret, SourceSpec
from tconnectsync_tandem.api.endpoints import REGIONS, endpoints_of
from tconnectsync_tandem.options import TandemEndpointOptions, TandemOptions, problems_of
from tests.support.clocks import FakeClock
from tests.tandem.fake_cloud import START, CloudPump, FakeCloudFault, TandemHarness, basal, entry


def spec() -> SourceSpec:
    (found,) = tconnectsync_tandem.tconnectsync_sources()
    return found


def test_tandem_is_registered() -> None:
    """``tconnectsync_sources`` registers tandem, which is on once there is an account."""
    assert spec().name == "tandem"
    assert not spec().enabled(TandemOptions())
    assert spec().enabled(TandemOptions(email="a@example.org"))


def test_every_missing_part_is_a_problem_with_its_key() -> None:
    assert [problem.split(":")[0] for problem in problems_of(TandemOptions())] == [
        "sources.tandem.email",
        "sources.tandem.password",
        "sources.tandem.region",
    ]
    assert problems_of(TandemOptions(email="a", password=Secret("b"), region="EU")) == []


@pytest.mark.parametrize(
    ("text", "pumps"), [("11111111", "all"), ("all", "all"), ("90556643", ["90556643"]), (" 90556643 ", ["90556643"])]
)
def test_the_environment_names_one_pump_or_all(text: str, pumps: object) -> None:
    assert attrs.fields(TandemOptions).pumps.metadata["parse_env"](text) == pumps


def test_region_us_from_environment() -> None:
    """The region is US by default only if the account comes from the environment."""
    region = attrs.fields(TandemOptions).region
    assert region.default is None
    assert region.metadata["default_with_env"] == {"TCONNECT_EMAIL": "US"}


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("pumps", ("90556643",), ()),
        ("pumps", "all", ("9055 6643",)),
        ("history_days", 3650, 0),
        ("window_days", 28, 29),
        ("window_days", 1, 0),
    ],
)
def test_values_that_no_pump_or_server_takes_are_told(key: str, good: object, bad: object) -> None:
    check = getattr(attrs.fields(TandemOptions), key).metadata["check"]
    assert check(good) is None
    assert check(bad)


def test_an_address_is_one() -> None:
    check = attrs.fields(TandemEndpointOptions).data.metadata["check"]
    assert check(None) is None
    assert check("https://source.tandemdiabetes.com/") is None
    assert check("source.tandemdiabetes.com")


def test_the_plugin_is_light_until_it_is_opened() -> None:
    code = (
        "import sys, tconnectsync_tandem as t; t.tconnectsync_sources();"
        "print([m for m in ('requests', 'jwt', 'msgspec', 'tconnectsync_tandem.source') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_it_opens_from_checked_options(tmp_path: Path) -> None:
    context = Context(
        clock=FakeClock(START), folder=tmp_path, version="4", sections={}, zone_of=lambda day: "Europe/Berlin"
    )
    options = TandemOptions(email="a", password=Secret("b"), region="EU")
    source: Any = spec().open(options, context)
    assert source.decoder >= 1
    assert source.endpoints == REGIONS["EU"]


def test_every_address_can_be_replaced() -> None:
    given = {
        name: f"https://{name}.example.org/"
        for name in ("login_page", "login_api", "authorize", "token", "jwks", "issuer", "redirect_uri", "data")
    }
    found = endpoints_of("EU", TandemEndpointOptions(**given, client_id="abc"))
    assert all(getattr(found, name) == value for name, value in given.items())
    assert found.client_id == "abc"
    assert endpoints_of("US", TandemEndpointOptions(data="https://x.example.org")).data == "https://x.example.org/"


@pytest.mark.parametrize("region", ["US", "EU"])
def test_data_requests_carry_the_data_hosts_own_origin(region: str) -> None:
    headers = REGIONS[region].data_headers
    assert headers["Origin"] + "/" == headers["Referer"] == REGIONS[region].data


def test_check_names_pumps(harness: TandemHarness) -> None:
    """The check names login, region, and each pump with its newest data."""
    harness.cloud.pumps.append(CloudPump("90556643", "old", uploaded=None, newest=None))
    found = list(harness.source().check())
    assert all(finding.good for finding in found)
    text = "\n".join(finding.what for finding in found)
    assert "logged in, region US" in text
    assert "pump 1111111, Tandem Mobi™ System, 7.9.0.2, uploaded 2026-11-20 11:55 UTC" in text
    assert "newest data 2026-11-20 06:50" in text
    assert "probably the active pump" in text
    assert "pump 90556643" in text
    assert "never uploaded" in text


def test_check_of_chosen_pumps(harness: TandemHarness) -> None:
    """The check reports a pump that is left out and one that does not exist."""
    harness.cloud.pumps.append(CloudPump("90556643", "old", uploaded="2024-01-01T00:00:00Z", newest=None))
    bad = [finding for finding in harness.source(pumps=("90556643", "5")).check() if not finding.good]
    absent, excluded = (finding.what for finding in bad)
    assert absent.startswith("tandem: pump 5 is ")
    assert excluded.startswith("tandem: pump 1111111, which `pumps` excludes")
    assert all(finding.remedy for finding in bad)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (FakeCloudFault("/login", status=401, body=b'{"code": "account/invalid_credentials"}'), 'region = "EU"'),
        (FakeCloudFault("/authorize", body=b"<html>terms</html>", status=200), "new terms"),
        (FakeCloudFault("/bff/", status=403, body=b"x"), "firewall"),
    ],
)
def test_check_turns_trouble_into_a_finding_with_a_remedy(
    harness: TandemHarness, fault: FakeCloudFault, words: str
) -> None:
    harness.cloud.faults.append(fault)
    (bad,) = [finding for finding in harness.source().check() if not finding.good]
    assert words in f"{bad.what} {bad.remedy}"


def test_check_reads_the_newest_records(harness: TandemHarness) -> None:
    pump = harness.cloud.pumps[0]
    pump.records = [basal(1, "2026-11-19T00:00:00"), basal(2, "2026-11-20T00:00:00"), basal(3, "2026-11-18T23:00:00")]
    *_, found = harness.source().check()
    assert found.good
    assert "2 records" in found.what
    pump.records.append(entry(20, 4, "2026-11-20T01:00:00", {"bolusId": 1, "completionStatus": 3}))
    *_, found = harness.source().check()
    assert not found.good
    assert "1 bolus completed" in found.what
    assert "release" in (found.remedy or "")
    assert harness.log.events == []


def test_a_check_does_not_log_in_again(harness: TandemHarness) -> None:
    harness.cloud.pumps[0].records = [basal(1, "2026-11-20T00:00:00")]
    harness.poll()
    list(harness.source().check())
    assert harness.cloud.count("/login") == 1
