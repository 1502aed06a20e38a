"""One world of the soak. Everything follows from a seed, except the moments of real processes.

A pump's life of a week or two in some zone, perhaps two pumps, a flight, late uploads; proxies that lie before the cloud and the
site; a database that stops; lost files; commands beside the daemon; and deaths, at named points and at any moment. In the end
nothing goes wrong any more, and the site is held against the truth.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import attrs

from tconnectsync_simulator.pump.plan import Flight, SimulationPlan
from tconnectsync_simulator.pump.pump import simulate
from tests.e2e.installation import Installation, RunningDaemon, daemon
from tests.e2e.kill_points import POINTS, TIME_OUT_S, SharedClock
from tests.e2e.killed_daemon import PUMP_EVENTS, TREATMENTS, KillHarness, NightscoutLike, Verdict, lose
from tests.support.fault_proxy import FaultProxy
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.proxy_faults import KINDS
from tests.support.real_servers import Site, cache_folder, find_programs, running_nightscout
from tests.support.simulated_nightscout.app import SimulatedNightscout
from tests.support.truths import merge

ZONES = (
    "America/New_York", "America/Los_Angeles", "America/St_Johns", "America/Sao_Paulo", "Europe/Berlin", "Europe/London",
    "Asia/Kolkata", "Asia/Tokyo", "Australia/Lord_Howe", "Australia/Sydney", "Pacific/Auckland", "Pacific/Honolulu",
)  # fmt: skip
VERSIONS = ("14.2.6", "15.0.6", "15.0.7")
SHARES = (0.0, 0.0, 0.02, 0.1, 0.25)
"""The share of requests that meet a fault, for some hours."""
UNSEEN = ("loses_one", "twice")
"""Faults of a site that only reading back shows. Some worlds have them, and end with ``verify --repair``."""
COMMANDS: tuple[tuple[str, ...], ...] = (
    (), (), (), ("sync",), ("replay", TREATMENTS), ("replay", PUMP_EVENTS), ("resume", TREATMENTS), ("resume", "tandem"),
    ("log", "check"), ("status",), ("status", "--json"), ("sync", "--dry-run"), ("dead-letters", "list"), ("run",),
    ("dead-letters", "retry", TREATMENTS), ("log", "repair"),
)  # fmt: skip
LOST_FILES = ("index.sqlite*", "outbox/*.sqlite*", f"outbox/{TREATMENTS}.sqlite*", "plugins/*/token.json", "state/*")
SINKS = (TREATMENTS, PUMP_EVENTS)
STOP_S = 15.0
"""Ten seconds are promised; the rest is for a computer that is busy with other worlds."""


@attrs.frozen(kw_only=True)
class SoakReport:
    """The result of one world. ``error``: it did not end, or it broke a promise on the way."""

    seed: int
    kind: str = ""
    seconds: float = 0.0
    days: float = 0.0
    kills: dict[str, int] = attrs.field(factory=dict)
    stops: int = 0
    faults: dict[str, int] = attrs.field(factory=dict)
    events: dict[str, int] = attrs.field(factory=dict)
    documents: int = 0
    lost: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    error: str = ""


@attrs.frozen(kw_only=True)
class WorldSettings:
    """What a seed decides about a world before it begins."""

    plans: tuple[SimulationPlan, ...]
    site: str
    wrong_zone: str
    token_life_s: int
    unseen: bool
    other_machine: bool

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that are compared with the truth; with two pumps only what the worn one gives."""
        return () if len(self.plans) == 1 else ("boluses", "basal")

    @property
    def late(self) -> timedelta:
        """The longest delay of an upload."""
        return timedelta(hours=max(plan.late_max_h for plan in self.plans))

    @property
    def moves(self) -> str:
        """The configuration's dated zones."""
        flights = [flight for plan in self.plans for flight in plan.flights]
        return "".join(f'[[zones]]\nfrom = {each.lands_at:%Y-%m-%d}\ntimezone = "{each.zone}"\n' for each in flights)

    def words(self) -> str:
        """A summary in one line."""
        plan = self.plans[0]
        more = [f"{len(self.plans)} pumps"] * (len(self.plans) > 1) + ["a flight"] * bool(plan.flights)
        more += [f"at first {self.wrong_zone}"] * bool(self.wrong_zone)
        more += ["a site that loses documents"] * self.unseen + ["a second machine"] * self.other_machine
        return f"{self.site}, {plan.zone}, {plan.start}, {plan.days} days" + "".join(f", {each}" for each in more)


def changes_of(zone: str) -> list[date]:
    """The days of 2026 on which daylight saving begins or ends there."""
    place, first = ZoneInfo(zone), date(2026, 1, 10)
    offsets = [
        datetime.combine(first + timedelta(days=n), datetime.min.time(), place).utcoffset() for n in range(330)
    ]  # fmt: skip
    return [first + timedelta(days=n) for n in range(329) if offsets[n] != offsets[n + 1]]


def setting_of(seed: int) -> WorldSettings:
    """The world of this seed."""
    rng = Random(seed)
    zone, days = rng.choice(ZONES), rng.randint(6, 11)
    changes = changes_of(zone)
    if changes and rng.random() < 0.4:
        start = rng.choice(changes) - timedelta(days=rng.randint(2, days - 2))
    else:
        start = date(2026, 1, 20) + timedelta(days=rng.randrange(300))
    plan = SimulationPlan(
        seed=seed, zone=zone, start=start, days=days,
        upload_every_min=rng.choice((10.0, 30.0, 60.0, 180.0)),
        late_share=rng.choice((0.0, 0.05, 0.2)), late_max_h=rng.choice((6.0, 24.0, 48.0)),
        clock_set_delay_h=rng.choice((0.0, 7.0, 48.0)), clock_drift_s_per_day=rng.choice((0.0, 0.05)),
    )  # fmt: skip
    middle = datetime.combine(start + timedelta(days=days // 2), datetime.min.time(), timezone.utc)
    middle += timedelta(hours=rng.uniform(0, 24))
    plans = (plan,)
    if rng.random() < 0.2:
        plans = (
            attrs.evolve(plan, serial="1111", worn_until=middle, drawer_rate=rng.choice(("zero", "profile"))),
            attrs.evolve(plan, serial="2222", seed=seed + 1, worn_from=middle),
        )
    elif rng.random() < 0.15:
        away = rng.choice([each for each in ZONES if each != zone])
        lands_at = middle.replace(hour=14)  # the clock is set on that day or the next, wherever that is
        plans = (attrs.evolve(plan, flights=(Flight(lands_at=lands_at, zone=away, set_after_h=rng.uniform(1, 6)),)),)
    site = "0.12.8" if rng.random() < 0.7 else rng.choice(VERSIONS)
    wrong_zone = rng.choice(ZONES) if rng.random() < 0.15 else ""
    return WorldSettings(
        plans=plans,
        site=site,
        wrong_zone=wrong_zone,
        token_life_s=rng.choice((1800, 8 * 3600)),
        unseen=rng.random() < 0.25,
        other_machine=not wrong_zone and rng.random() < 0.15,
    )


@attrs.define
class CloudBehindProxy:
    """The cloud's address through its proxy."""

    endpoints: dict[str, str]


@contextlib.contextmanager
def running_site(kind: str, clock: SharedClock, folder: Path) -> Iterator[NightscoutLike]:
    """A real Nightscout over a real MongoDB, or a simulated one with the rules of a later version."""
    if kind == "0.12.8":
        with running_nightscout(find_programs(cache_folder(os.environ)), folder) as real:
            yield real
    else:
        with SimulatedNightscout(version=kind, now=clock.now) as simulated:
            yield simulated


@attrs.define(kw_only=True)
class Soak:
    """A world at work."""

    rng: Random
    world: KillHarness
    proxies: tuple[FaultProxy, FaultProxy]
    end: datetime
    unseen: bool
    other: Installation | None
    """The same account and the same site, on another machine."""

    stops: int = 0
    events: Counter[str] = attrs.field(factory=Counter)
    zone: str = ""
    """The right zone, as long as the configuration has another one."""

    def live(self) -> None:
        """Run until the pump's life is over."""
        begin = self.world.clock.now()
        while (now := self.world.clock.now()) < self.end:
            self._trouble()
            if self.zone and now > begin + (self.end - begin) / 2:
                self.world.home.configure(zone=self.zone)
                self.zone = ""
                self.events["time zone put right"] += 1
            step = self.rng.choices((self._named, self._any_moment, self._stopped), (5, 3, 2))[0]
            step()
            if self.other is not None and self.rng.random() < 0.3:
                self.world.choose_kill_point()
                self.other.program = self.world.home.program
                self.other.run("sync", expect=range(10))
                self.events["a sync of the other machine"] += 1
            if self.rng.random() < 0.15:
                self.world.follow_advice()
                self.events["a user's attention"] += 1

    def _trouble(self) -> None:
        seen = tuple(kind for kind in KINDS if self.unseen or kind not in UNSEEN)
        for proxy, kinds in zip(self.proxies, (tuple(KINDS), seen), strict=True):
            proxy.faults.at_random(self.rng.choice(SHARES), seed=self.rng.randrange(1 << 30), kinds=kinds)
        data = self.world.home.folder / "data"
        if self.rng.random() < 0.05:
            pattern = self.rng.choice(LOST_FILES)
            for path in data.glob(pattern):
                path.unlink()
            self.events[f"lost {pattern}"] += 1
        if self.rng.random() < 0.01:
            shutil.rmtree(data, ignore_errors=True)
            self.events["a wiped disk"] += 1

    def _named(self) -> None:
        point, nth = self.rng.choice(list(POINTS)), self.rng.choice((1, 1, 1, 2, 3, 7))
        self.world.killed_at(point, 1 if POINTS[point].first == "a stop" else nth, within_s=6.0)  # it stops once

    def _any_moment(self) -> None:
        with self._database_trouble():
            self.world.killed_after(self.rng.uniform(0.0, 2.0), *self.rng.choice(COMMANDS))

    def _stopped(self) -> None:
        """A run of the daemon that ``systemctl stop`` ends, whatever it is doing."""
        self.world.clock.leap(timedelta(hours=self.rng.uniform(0.5, 4)))
        self.world.choose_kill_point()
        words = self.rng.choice(COMMANDS)
        with daemon(self.world.home) as living, self._database_trouble():
            asker = self.world.start_command(*words) if words else None
            for _ in range(self.rng.randint(0, 3)):
                time.sleep(self.rng.uniform(0.0, 0.8))
                self.world.clock.leap(timedelta(hours=self.rng.uniform(0.1, 2)))
            time.sleep(self.rng.uniform(0.0, 0.5))
            self._stop(living)
        if asker is not None:
            self.world.finish_command(asker)

    def _stop(self, living: RunningDaemon) -> None:
        living.process.send_signal(self.rng.choice((signal.SIGTERM, signal.SIGINT)))
        begin = time.monotonic()
        assert living.process.wait(60) == 0, living.log
        took_s = time.monotonic() - begin
        assert took_s < STOP_S, f"a stop took {took_s:.1f} s: {living.log}"
        self.stops += 1

    @contextlib.contextmanager
    def _database_trouble(self) -> Iterator[None]:
        """While the block runs, the site's database is sometimes away or hangs."""
        database = self.world.site.database if isinstance(self.world.site, Site) else None
        if database is None or self.rng.random() < 0.9:
            yield
        elif self.rng.random() < 0.5:
            database.stop()
            self.events["database stopped"] += 1
            try:
                yield
            finally:
                database.start()
        else:
            database.hold()
            self.events["database hung"] += 1
            try:
                yield
            finally:
                database.go_on()

    def lose_the_site(self) -> None:
        """Let Nightscout lose its database. A replay brings everything back."""
        lose(self.world.site)
        self.events["site lost everything"] += 1

    def settled(self) -> None:
        """Everything is well from now on."""
        for proxy in self.proxies:
            proxy.faults.clear()
        self.world.clock.until(self.end)
        if self.zone:
            self.world.home.configure(zone=self.zone)
        self.world.settle()
        if self.rng.random() < 0.25:
            self.lose_the_site()
            for sink in SINKS:
                self.world.home.run("replay", sink)
            self.world.settle()
        if self.unseen or self.other is not None:
            for sink in SINKS:
                self.world.home.run("verify", sink, "--repair")
        for sink in SINKS:
            self.world.home.run("verify", sink)


def run_world(seed: int, folder: Path) -> SoakReport:
    """The world of ``seed``, from its beginning to the comparison at its end."""
    began = time.monotonic()
    setting, rng = setting_of(seed), Random(f"{seed}/events")
    pumps = [simulate(plan) for plan in setting.plans]
    truth = pumps[0].truth if len(pumps) == 1 else merge([pump.truth for pump in pumps])
    plan = setting.plans[0]
    clock = SharedClock.at(folder / "clock", truth.begin + timedelta(days=1.5))
    with contextlib.ExitStack() as stack:
        cloud = stack.enter_context(FaultyTandemCloud(pumps, clock, token_life_s=setting.token_life_s))
        site = stack.enter_context(running_site(setting.site, clock, folder))
        late_s = TIME_OUT_S + 1
        proxies = tuple(stack.enter_context(FaultProxy(url, late_s=late_s)) for url in (cloud.url + "/", site.url))
        home = Installation(
            folder / "home", CloudBehindProxy(proxies[0].endpoints(cloud.endpoints)), proxies[1].url, site.secret,
            setting.wrong_zone or plan.zone, history_days=plan.days + 30, more=setting.moves,
        )  # fmt: skip
        alone = not (setting.unseen or setting.other_machine)
        world = KillHarness(clock=clock, cloud=home.cloud, site=site, home=home, alone=alone)
        soak = Soak(
            rng=rng, world=world, proxies=proxies, end=truth.end + setting.late, unseen=setting.unseen,
            zone=plan.zone if setting.wrong_zone else "",
            other=attrs.evolve(home, folder=folder / "other") if setting.other_machine else None,
        )  # fmt: skip
        verdict, error = Verdict(documents=0), ""
        try:
            soak.live()
            soak.settled()
            verdict = world.verdict(truth, (truth.begin, truth.end), parts=setting.parts)
        except Exception:  # noqa: BLE001 - a world that fails is told with what happened in it before
            error = traceback.format_exc()
    faults: Counter[str] = Counter()
    for name, proxy in zip(("cloud", "site"), proxies, strict=True):
        faults.update({f"{name}: {kind}": count for kind, count in proxy.injected.items()})
    return SoakReport(
        seed=seed, kind=setting.words(), seconds=time.monotonic() - began, days=plan.days, kills=dict(world.died),
        stops=soak.stops, faults=dict(faults), events=dict(soak.events), documents=verdict.documents,
        lost=verdict.lost, doubled=verdict.doubled, wrong=verdict.wrong, error=error,
    )  # fmt: skip
