"""People with the real Tandem source and the real Nightscout sinks: one cloud for all, a pump and a site for each."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import attrs

from tconnectsync.clock import SystemClock
from tconnectsync_simulator.cloud.accounts import SimulatedAccount
from tconnectsync_simulator.demo.setup import config_text
from tconnectsync_simulator.pump.pump import SimulatedPump
from tests.e2e.installation import ZONE, Installation, recent_pump
from tests.e2e.killed_daemon import Verdict, verdict_of
from tests.fleet.light_world import LightFleet
from tests.support.shared_cloud import SharedTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout
from tests.support.site_comparison import Differences, compare
from tests.support.truths import known_at

FIRST_DAY_H = 20
"""The site is compared this many hours back: a whole day was requested, and its first hours may belong to the day before."""
ALL_PARTS = ("boluses", "basal", "fills", "suspensions", "modes", "alarms")
OPEN = timedelta(hours=6)
"""A mode or a suspension may last this long."""


@attrs.frozen(kw_only=True)
class RealPerson:
    """A person's account at the cloud, pump and site."""

    name: str
    account: SimulatedAccount
    pump: SimulatedPump
    site: SimulatedNightscout

    def treatments(self) -> int:
        """How many treatments the site has."""
        return self.site.count("treatments")


@attrs.define
class RealPeople:
    """Some people whose uploads arrive when a test says so. ``folder``: for configurations and the installations beside."""

    folder: Path
    cloud: SharedTandemCloud
    people: Sequence[RealPerson]
    history_days: int

    def __getitem__(self, name: str) -> RealPerson:
        [found] = [person for person in self.people if person.name == name]
        return found

    def config(self, person: RealPerson, **changes: str) -> Path:
        """The file of a person's configuration; ``changes``: password, site_secret."""
        return self._write(self.folder / f"{person.name}.toml", person, person.site, **changes)

    def _write(self, path: Path, person: RealPerson, site: SimulatedNightscout, **changes: str) -> Path:
        values = {"password": person.account.password, "site_secret": site.secret, **changes}
        path.touch(mode=0o600)
        path.write_text(
            config_text(
                data_dir=path.parent / "data", zone=ZONE, endpoints=self.cloud.endpoints, site_url=site.url,
                account=attrs.evolve(person.account, password=values["password"]), site_secret=values["site_secret"],
                history_days=self.history_days, poll_s=(2, 2),
            )
        )  # fmt: skip
        return path

    def add_to(self, fleet: LightFleet, *people: RealPerson) -> None:
        """Add people to the fleet, as an operator does."""
        for person in people or self.people:
            fleet.run("add", person.name, "--config", str(self.config(person)))

    def installation(self, person: RealPerson, name: str, site: SimulatedNightscout | None = None) -> Installation:
        """A single-person installation beside the fleet, with the same account, and the person's site unless another is given."""
        site = person.site if site is None else site
        home = Installation(self.folder / name, self.cloud, site.url, site.secret, ZONE, self.history_days)
        self._write(home.folder / "config.toml", person, site)
        return home

    def arrive(self, hours_ago: float, *people: RealPerson) -> None:
        """Let the uploads up to this many hours ago arrive, for some people or all."""
        until = datetime.now(timezone.utc) - timedelta(hours=hours_ago)
        for person in people or self.people:
            self.cloud.arrived[person.account] = until

    def missing(self, *people: RealPerson) -> list[str]:
        """What insulin and carbs the sites of some people or all do not show as it was, of what has arrived."""
        return [f"{each.name}: {line}" for each in people or self.people for line in self._doses(each)]

    def _doses(self, person: RealPerson) -> list[str]:
        return self._differences(person, ("boluses", "basal"), timedelta()).lines()

    def _differences(self, person: RealPerson, parts: Sequence[str], before_end: timedelta) -> Differences:
        arrived = self.cloud.arrived[person.account]
        begin = datetime.now(timezone.utc) - timedelta(days=self.history_days - 1, hours=FIRST_DAY_H)
        window = (begin, arrived - before_end)
        truth = known_at(person.pump.truth, arrived)
        return compare(truth, person.site.documents("treatments"), window=window, parts=parts)

    def wait_until_shown(self, *people: RealPerson, within_s: float = 60.0) -> float:
        """Wait until the sites of some people or all show what has arrived; return how many seconds it took."""
        began, left = time.monotonic(), list(people or self.people)
        while left := [person for person in left if not person.treatments() or self._doses(person)]:
            if time.monotonic() > began + within_s:
                raise AssertionError("\n".join([f"not shown within {within_s} s:", *self.missing(*left)]))
            time.sleep(0.2)
        return time.monotonic() - began

    def verdict(self, person: RealPerson, *, within_s: float = 30.0) -> Verdict:
        """One site, once it is right, against the truth, and against what one pass leaves on another site.

        What may still have been open at the last upload is compared only with the latter.
        """
        with SimulatedNightscout() as calm:
            self.installation(person, f"calm-{person.name}", calm).run("sync")
            expected = calm.documents("treatments")
        end = time.monotonic() + within_s
        while True:
            held = person.site.documents("treatments")
            found = verdict_of(self._differences(person, ALL_PARTS, OPEN), held, expected)
            found = attrs.evolve(found, wrong=(*found.wrong, *self._doses(person)))
            if found.clean or time.monotonic() > end:
                return found
            time.sleep(0.2)


@contextlib.contextmanager
def real_people(
    folder: Path, names: Sequence[str], *, history_days: int = 1, hours_ago: float = 12.0
) -> Iterator[RealPeople]:
    """A cloud with an account for each name, and a site for each. Uploads up to ``hours_ago`` have arrived."""
    with contextlib.ExitStack() as stack:
        people = [
            RealPerson(
                name=name,
                account=SimulatedAccount(
                    email=f"{name}@example.org", password=f"the marked password of {name}",
                    pumper_id=f"b0f0a6de-2f6c-4c55-9a34-{number:012d}", account_id=f"5f1c0c58-7d7e-4f0e-8a56-{number:012d}",
                ),
                pump=recent_pump(history_days + 1, seed=100 + number, serial=f"{90_600_000 + number}"),
                site=stack.enter_context(SimulatedNightscout(api_secret=f"the marked secret of {name}")),
            )
            for number, name in enumerate(names, 1)
        ]  # fmt: skip
        pumps = {person.account: person.pump for person in people}
        arrived = datetime.now(timezone.utc) - timedelta(hours=hours_ago)
        cloud = stack.enter_context(SharedTandemCloud(pumps, SystemClock(), arrived=arrived))
        folder.mkdir(parents=True, exist_ok=True)
        yield RealPeople(folder, cloud, people, history_days)
