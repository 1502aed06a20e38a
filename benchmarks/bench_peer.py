"""The first sync in turns: a bare client, ours, the older bridge if ``--peer`` names its executable, and an earlier release
of ours if ``--before`` names its Python.

All of them get the same days of the same simulated pump and fill a site of their own of the same kind. The bare client parses the
same answers and posts the same arrays, and does nothing else: no login, no fold, nothing kept on disk. The site is simulated;
with ``--real`` it is a real Nightscout 0.12.8. ``peer.md`` tells how to install the older bridge.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import attrs
from bench_decode import simulate_windows
from bench_replay import BareClient
from bench_sync import real_site
from measure import HERE, Ended, Row, Spread, run_program, run_python, say
from simulated_services import ZONE, SimulatedServices, clean_environment, running_world

LEAD_DAYS = 2
ALL_ON_WITH_GLUCOSE = """
[sinks.nightscout-pump-events]
alerts = true
control_modes = true
sensor_alerts = true

[sinks.nightscout-cgm]
enabled = true
"""
FEATURES = "BASAL,BOLUS,PUMP_EVENTS,PUMP_EVENTS_BASAL_SUSPENSION,CGM"
"""What the older bridge is asked for, so that both send treatments, pump events and glucose."""


@attrs.define
class Runs:
    """What the runs of one client used up, in the order of the turns."""

    ended: list[Ended] = attrs.field(factory=list)
    again: list[Ended] = attrs.field(factory=list)
    requests: list[int] = attrs.field(factory=list)
    treatments: int = 0

    @property
    def wall(self) -> Spread:
        """Seconds of a first sync."""
        return Spread.of([each.wall_s for each in self.ended])

    @property
    def cpu(self) -> Spread:
        """Seconds of the client's own processor time."""
        return Spread.of([each.cpu_s for each in self.ended])

    def words(self) -> str:
        """The figures for the table."""
        words = f"{self.wall.text(' s', digits=1)}, {self.cpu.text(' s of CPU', digits=1)}"
        words += f", {max(each.peak_mb for each in self.ended):.0f} MB, {self.requests[-1]:,} requests"
        if self.again:
            words += f"; again at once {Spread.of([each.wall_s for each in self.again]).median:.1f} s"
        return words


@contextlib.contextmanager
def a_site(world: SimulatedServices, *, real: bool) -> Iterator[tuple[str, str]]:
    """Address and secret of the site to fill: the world's own, or a real one."""
    if not real:
        yield world.site_url, world.site_secret
        return
    with real_site() as found:
        if found is None:
            raise SystemExit("a real Nightscout cannot run here; leave --real out")
        yield found


def run_ours(
    days: int, *, real: bool, into: Runs, python: Path = Path(sys.executable)
) -> list[list[dict[str, object]]]:
    """A first sync and a second one; the documents that the site has then: treatments, entries."""
    with (
        running_world(days=days + LEAD_DAYS) as world,
        a_site(world, real=real) as site,
        tempfile.TemporaryDirectory() as folder,
    ):
        config = world.configure(Path(folder), history_days=days, site=site, more=ALL_ON_WITH_GLUCOSE)
        for ended in (into.ended, into.again):
            before = world.counts()
            words = ("tconnectsync", "--config", str(config), "sync")
            environment = clean_environment()
            if python != Path(sys.executable):
                environment.pop("PYTHONPATH", None)  # it may name this release, and not the earlier one
            ended.append(run_python(*words, environment=environment, python=python))
            if ended is into.ended:
                into.requests.append(requests_since(before, world.counts()))
        client = BareClient(*site)
        held = [client.held(), client.held("entries")]
        client.session.close()
    into.treatments = len(held[0])
    return held


def run_bare(days: int, answers: Path, documents: Path, *, real: bool, into: Runs) -> None:
    """Parse the answers and post the documents, in a process of its own."""
    with running_world(days=days + LEAD_DAYS) as world, a_site(world, real=real) as (url, secret):
        before = world.counts()
        words = (__file__, "--bare", str(answers), str(documents), url, secret)
        into.ended.append(run_python(*words, environment=clean_environment()))
        into.requests.append(requests_since(before, world.counts()))
        into.treatments = world.counts()["treatments"]


def run_peer(program: Path, days: int, *, real: bool, into: Runs) -> None:
    """Run the older bridge twice, as its user does, with its hosts redirected to the simulated cloud."""
    with (
        running_world(days=days + LEAD_DAYS, real_names=True) as world,
        a_site(world, real=real) as site,
        tempfile.TemporaryDirectory() as home,
    ):
        environment = {
            **clean_environment(),
            "HOME": home,
            "PYTHONPATH": str(HERE / "redirect"),
            "REDIRECTS": json.dumps(world.redirects()),
            "TCONNECT_EMAIL": world.account["email"],
            "TCONNECT_PASSWORD": world.account["password"],
            "TCONNECT_REGION": world.account["region"],
            "TIMEZONE_NAME": ZONE,
            "NS_URL": site[0],
            "NS_SECRET": site[1],
        }
        words = (str(program), "--days", str(days), "--features", *FEATURES.split(","))
        for ended in (into.ended, into.again):
            before = world.counts()
            ended.append(run_program(words, environment))
            if ended is into.ended:
                into.requests.append(requests_since(before, world.counts()))
        into.treatments = world.counts()["treatments"]


def requests_since(before: dict[str, int], after: dict[str, int]) -> int:
    """Requests to the cloud and, if it is simulated, to the site."""
    return sum(after[name] - before.get(name, 0) for name in ("cloud", "site"))


def rows(days: int, runs: int, *, real: bool, peer: Path | None, before: Path | None) -> Iterator[Row]:
    """One row for each client."""
    bare, ours, theirs, earlier = Runs(), Runs(), Runs(), Runs()
    with tempfile.TemporaryDirectory() as name:
        answers, documents = Path(name) / "answers", Path(name) / "documents.json"
        answers.mkdir()
        start: date = datetime.now(timezone.utc).date() - timedelta(days=days + LEAD_DAYS)
        simulate_windows(answers, days + LEAD_DAYS, start=start, zone=ZONE)
        for _ in range(runs):  # in turns, because all of them share the machine with other work
            documents.write_text(json.dumps(run_ours(days, real=real, into=ours)))
            run_bare(days, answers, documents, real=real, into=bare)
            if before is not None:
                run_ours(days, real=real, into=earlier, python=before)
            if peer is not None:
                run_peer(peer, days, real=real, into=theirs)
    kind = "a real Nightscout 0.12.8" if real else "a simulated site"
    what = f"first sync of {days} days with glucose into {kind}"
    yield Row(what=f"{what}: bare client ({bare.treatments:,} treatments)", measured=bare.words())
    ratio = ratio_of(ours, bare)
    yield Row(
        what=f"– ours ({ours.treatments:,} treatments)",
        must="1.5 times the bare client",
        measured=ours.words(),
        limit=f"{ratio:.1f} times the bare client",
        met=ratio <= 1.5,
    )
    if before is not None:
        pairs = zip(ours.ended, earlier.ended, strict=True)
        cpu = Spread.of([now.cpu_s / then.cpu_s for now, then in pairs]).median
        yield Row(
            what=f"– an earlier release of ours ({earlier.treatments:,} treatments)",
            must="half its CPU",
            measured=earlier.words(),
            limit=f"ours takes {cpu:.2f} of its CPU",
            met=cpu <= 0.5,
        )
    if peer is not None:
        yield Row(
            what=f"– the older bridge ({theirs.treatments:,} treatments)",
            must="12 times ours",
            measured=theirs.words(),
            limit=f"{ratio_of(theirs, ours):.1f} times ours",
            met=ratio_of(theirs, ours) >= 12,
        )


def ratio_of(some: Runs, others: Runs) -> float:
    """Median of the ratios of the wall times, turn by turn: what else the machine does cancels out."""
    return Spread.of([a.wall_s / b.wall_s for a, b in zip(some.ended, others.ended, strict=True)]).median


def bare_client(answers: Path, documents: Path, url: str, secret: str) -> None:
    """The work of the bare client."""
    import msgspec

    for path in sorted(answers.iterdir()):
        msgspec.json.decode(path.read_bytes())
    treatments, entries = json.loads(documents.read_bytes())
    client = BareClient(url, secret)
    client.post_all(treatments, packed=True)
    client.post_all(entries, packed=True, collection="entries")


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="few days and one turn: to see that it works")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--runs", type=int, default=3, help="turns")
    parser.add_argument("--real", action="store_true", help="into a real Nightscout")
    parser.add_argument("--peer", type=Path, help="the older bridge's executable, such as older/bin/tconnectsync")
    parser.add_argument("--before", type=Path, help="the Python of an earlier release, such as earlier/bin/python")
    given = parser.parse_args()
    days, runs = (3, 1) if given.small else (given.days, given.runs)
    say(rows(days, runs, real=given.real, peer=given.peer, before=given.before))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--bare"]:
        bare_client(Path(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:])
    else:
        main()
