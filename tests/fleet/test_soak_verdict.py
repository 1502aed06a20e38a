"""The soak's verdict finds each kind of harm, here done to a fleet without workers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from tests.fleet.light_cloud import LightCloud
from tests.fleet.light_world import LightFleet
from tests.fleet.soak import PATIENCE_S, Observations, judge

PERSON, NUMBERS = "p0", range(1, 6)


@pytest.fixture
def cloud() -> LightCloud:
    """A receiver that has everything of one person once."""
    cloud = LightCloud(numbers={PERSON: len(NUMBERS)}, grows=False)
    post(cloud, *NUMBERS)
    return cloud


def post(cloud: LightCloud, *numbers: int, **changes: object) -> None:
    documents = [{"id": f"d{number}", "seq": number, "carbs_g": number % 90, **changes} for number in numbers]
    cloud.respond("POST", PERSON, "documents", {}, documents)


def kinds(cloud: LightCloud, seen: Observations | None = None) -> set[str]:
    """The kinds of harm in the verdict."""
    verdict = cloud.verdict([PERSON])
    judge(cast(LightFleet, SimpleNamespace(cloud=cloud)), seen or Observations(), verdict)
    return {kind for kind, found in verdict.items() if found}


def test_all_is_well(cloud: LightCloud) -> None:
    assert kinds(cloud) == set()


def test_deleted_document_is_lost(cloud: LightCloud) -> None:
    cloud.respond("DELETE", PERSON, "documents", {}, ["d3"])
    assert kinds(cloud) == {"lost"}


def test_other_identity_is_doubled(cloud: LightCloud) -> None:
    post(cloud, 3, id="another")
    assert kinds(cloud) == {"doubled"}


def test_other_content_is_wrong(cloud: LightCloud) -> None:
    post(cloud, 3, carbs_g=71)
    assert kinds(cloud) == {"wrong"}


def test_document_that_nobody_reported_is_wrong(cloud: LightCloud) -> None:
    post(cloud, 99)
    assert kinds(cloud) == {"wrong"}


def test_nobody_asks_any_more(cloud: LightCloud) -> None:
    """What came while nobody asked is lost."""
    cloud.grows, cloud.began = True, cloud.began - 3600
    cloud.stop_growing([PERSON])
    assert kinds(cloud) == {"lost"}


def test_person_was_forgotten_for_a_while(cloud: LightCloud) -> None:
    cloud.last_asked[PERSON] = cloud.began - PATIENCE_S - 1
    cloud.respond("GET", PERSON, "numbers", {}, None)
    assert kinds(cloud) == {"forgotten"}


def test_sent_again_is_doubled(cloud: LightCloud) -> None:
    """By a worker that did not know of the copy; only a worker that slept may have done so, with one batch a thread."""
    post(cloud, 3)
    assert cloud.repeated == 1
    for incident, found in (("kill", {"doubled"}), ("sleep_past_the_lease", set())):
        seen = Observations()
        seen.struck[incident], seen.repeated[incident] = 1, 1
        assert kinds(cloud, seen) == found
