"""Simulates power cuts: kills the real daemon again and again, then compares the site with the truth."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import attrs

from tconnectsync_simulator.pump.truth import Truth
from tests.e2e.installation import Installation, RunningDaemon, by_identity, daemon, eventually
from tests.e2e.kill_points import POINTS, TIME_OUT_S, SharedClock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.site_comparison import Differences, compare

PATIENT_S = 60.0
"""A real site on a busy machine may take longer than :data:`TIME_OUT_S`."""
DEADLY = Path(__file__).with_name("kill_points.py")
TREATMENTS, PUMP_EVENTS = "nightscout-treatments", "nightscout-pump-events"
BACK_OFFS_OVER = timedelta(hours=26)
"""Longer than every wait of the program."""
OTHER_WORDING = f'[sinks.{TREATMENTS}]\ncarbs = "note"\n[sinks.{PUMP_EVENTS}]\ncannula = "Note"\n'
SETTLED_S = 120.0


class NightscoutLike(Protocol):
    """A real or a simulated Nightscout."""

    def documents(self, collection: str) -> list[dict[str, Any]]:
        """All that a collection holds."""
        ...

    def drop(self, collection: str) -> None:
        """Lose a collection's documents."""
        ...


def lose(site: NightscoutLike) -> None:
    """The site loses its database."""
    for collection in ("treatments", "activity", "devicestatus"):
        if site.documents(collection):
            site.drop(collection)


@attrs.frozen(kw_only=True)
class Verdict:
    """What differs in the end, in words, and how many documents were compared."""

    documents: int
    lost: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing differs."""
        return not self.lost + self.doubled + self.wrong

    def lines(self) -> list[str]:
        """All differences, one per line."""
        return [f"{name}: {text}" for name in ("lost", "doubled", "wrong") for text in getattr(self, name)]


def verdict_of(
    found: Differences, held: Sequence[dict[str, Any]], expected: Sequence[dict[str, Any]]
) -> Verdict:  # fmt: skip
    """Compare with the truth, and with what an undisturbed installation leaves (``expected``)."""
    lost, doubled, wrong = [], [f"told twice or never happened: {text}" for text in found.boluses_doubled], []
    for line in found.lines():
        kind, _, text = line.partition(": ")
        if kind in {"boluses_lost", "carbs_lost"} or text.startswith("no "):
            lost.append(line)
        elif kind != "boluses_doubled":
            wrong.append(line)
    times = Counter(doc.get("identifier") for doc in held)
    doubled += [f"{count} documents {name}" for name, count in times.items() if count > 1]
    ours, theirs = ({doc.get("identifier"): _without_id(doc) for doc in each} for each in (held, expected))
    lost += [f"no document {_brief(theirs[name])}" for name in theirs.keys() - ours.keys()]
    doubled += [f"a document that nothing makes: {_brief(ours[name])}" for name in ours.keys() - theirs.keys()]
    wrong += [
        f"{_brief(ours[name])} instead of {_brief(theirs[name])}"
        for name in ours.keys() & theirs.keys()
        if ours[name] != theirs[name]
    ]
    return Verdict(documents=len(held), lost=tuple(lost), doubled=tuple(doubled), wrong=tuple(wrong))


def _without_id(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "_id"}


def _brief(document: dict[str, Any]) -> str:
    return json.dumps(_without_id(document), sort_keys=True)


@attrs.define(kw_only=True)
class KillHarness:
    """``home`` is the installation; ``died`` counts its deaths by the point at which it was killed."""

    clock: SharedClock
    cloud: FaultyTandemCloud
    site: NightscoutLike
    home: Installation
    alone: bool = True
    """Only this daemon writes to the site, so documents that the site has no key for must be there once, too."""
    died: Counter[str] = attrs.field(factory=Counter)
    missed: Counter[str] = attrs.field(factory=Counter)
    """Points that were not reached in time."""

    usual: str = attrs.field(init=False)
    """The further configuration, unless a test changes it."""

    def __attrs_post_init__(self) -> None:
        self.usual = self.home.more

    def choose_kill_point(self, point: str = "", nth: int = 1, time_out_s: float = TIME_OUT_S) -> None:
        """Choose the point at which the next process is killed; empty: it is not killed. ``time_out_s``: of each request."""
        appointment = {"point": point, "nth": nth, "clock": str(self.clock.path), "time_out_s": time_out_s}
        self.home.program = (sys.executable, str(DEADLY), json.dumps(appointment))

    # --- deaths -----------------------------------------------------------------------------------------------------

    def killed_at(self, point: str, nth: int = 1, *, within_s: float = 60.0) -> bool:
        """Run a daemon until it dies at a named point.

        False: it did not reach the point in time, and was killed anyway.
        """
        FIRST[POINTS[point].first](self)
        self.clock.leap(timedelta(hours=2))
        self.choose_kill_point(point, nth)
        with daemon(self.home, forked=True) as living:
            asker = None
            if POINTS[point].first == "a replay" and not living.ended:
                asker = self.start_command("replay", TREATMENTS)
            if POINTS[point].first == "a stop" and not living.ended:
                living.process.send_signal(signal.SIGTERM)
            reached = self._leaps_until(lambda: living.ended, within_s)
            status = living.process.returncode
            assert not reached or status == -signal.SIGKILL, f"{point}: ended with {status}, not killed: {living.log}"
            living.kill()
        if asker is not None:
            self.finish_command(asker)
        (self.died if reached else self.missed)[point] += 1
        if not reached:
            self.died["by hand"] += 1
        return reached

    def _leaps_until(self, condition: Callable[[], bool], within_s: float) -> bool:
        """Whether the condition holds in time. The clock moves on, so that the cloud always has something new."""
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            pause = time.monotonic() + 1.0
            while time.monotonic() < pause:
                if condition():
                    return True
                time.sleep(0.01)
            self.clock.leap(timedelta(minutes=40))
        return False

    def killed_after(self, wait_s: float, *words: str) -> None:
        """Run a daemon and kill it after ``wait_s``, with a command beside it if there is one."""
        self.clock.leap(timedelta(hours=2))
        self.choose_kill_point()
        with daemon(self.home, forked=True) as living:
            asker = self.start_command(*words) if words else None
            time.sleep(wait_s)
            self.kill(living)
        if asker is not None:
            self.finish_command(asker)

    def kill(self, living: RunningDaemon) -> None:
        """Kill it, and count the death."""
        living.kill()
        self.died["by hand"] += 1

    # --- commands beside it -----------------------------------------------------------------------------------------

    def start_command(self, *words: str) -> subprocess.Popen[str]:
        """Start a command as a user types it."""
        self.choose_kill_point()
        return subprocess.Popen(
            self.home.command(*words), env=self.home.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def finish_command(self, asker: subprocess.Popen[str]) -> str:
        """Return its output: words and no traceback, whatever happened.

        A second daemon is refused, or runs alone.
        """
        if asker.args[-1] == "run":
            with contextlib.suppress(subprocess.TimeoutExpired):
                asker.wait(1.0)
            asker.kill()
        said, _ = asker.communicate(timeout=SETTLED_S)
        assert asker.returncode in {0, 2, 3, 4, 5, 6, 7, 8, 9, -signal.SIGKILL}, f"{asker.args}: {said}"
        assert "Traceback" not in said, said
        return said

    # --- the end ----------------------------------------------------------------------------------------------------

    def follow_advice(self) -> str:
        """Act as a user who reads the output: sync, then run the commands that it names. Return "" if nothing waits."""
        self.choose_kill_point()
        done = self.home.run("sync", expect=range(10))
        said = done.stdout + done.stderr
        if done.returncode == 0:
            return ""
        for name in dict.fromkeys(re.findall(r"tconnectsync resume ([\w-]+)", said)):
            self.home.run("resume", name, expect=range(10))
        for name in dict.fromkeys(re.findall(r"([\w-]+): \d+ documents? (?:was|were) set aside", said)):
            self.home.run("dead-letters", "retry", name, expect=range(10))
        for name in dict.fromkeys(re.findall(r"tconnectsync replay ([\w-]+)", said)):
            self.home.run("replay", name, expect=range(10))
        return said

    def settle(self) -> None:
        """Let nothing go wrong any more, and follow the advice until nothing waits."""
        self.home.configure(more=self.usual)
        self.clock.leap(BACK_OFFS_OVER)
        said = ""
        for _ in range(8):
            said = self.follow_advice()
            if not said:
                return
            self.clock.leap(timedelta(hours=1))
        raise AssertionError(f"it does not come to rest: {said}")

    def verdict(self, truth: Truth, window: tuple[datetime, datetime], *, parts: Sequence[str] = ()) -> Verdict:
        """Compare the site with the truth, and with what an undisturbed installation leaves there."""
        self.home.run("log", "check")
        held = self.site.documents("treatments")
        named = {"parts": parts} if parts else {}
        found = compare(truth, held, window=window, **named)
        if self.alone:
            by_identity(self.site.documents("devicestatus"))
        activity = [doc for doc in self.site.documents("activity") if doc["activityType"] == "tconnect_iob"]
        lose(self.site)
        self.choose_kill_point(time_out_s=PATIENT_S)
        home = self.home
        undisturbed = Installation(
            home.folder.parent / "undisturbed", self.cloud, home.site_url, home.site_secret, home.zone, home.history_days,
            home.more, home.program,
        )  # fmt: skip
        undisturbed.run("sync")
        verdict = verdict_of(found, held, self.site.documents("treatments"))
        if len(activity) > 1:
            verdict = attrs.evolve(verdict, doubled=(*verdict.doubled, f"{len(activity)} activities"))
        return verdict


# --- what must happen before a point is reached -------------------------------------------------------------------------


def _remove(pattern: str) -> Callable[[KillHarness], None]:
    def remove(world: KillHarness) -> None:
        for path in (world.home.folder / "data").glob(pattern):
            path.unlink()

    return remove


def _torn(world: KillHarness) -> None:
    assert world.killed_at("half a write to the log")


def _other_wording(world: KillHarness) -> None:
    world.home.configure(more=world.usual if world.home.more != world.usual else world.usual + OTHER_WORDING)


def _nothing(_: KillHarness) -> None:
    pass


FIRST: dict[str, Callable[[KillHarness], None]] = {
    "": _nothing,
    "a replay": _nothing,
    "a stop": _nothing,
    "a sealed segment": _nothing,
    "torn": _torn,
    "no index": _remove("index.sqlite*"),
    "no outbox": _remove("outbox/*.sqlite*"),
    "no token": _remove("plugins/*/token.json"),
    "other wording": _other_wording,
}

__all__ = ["KillHarness", "NightscoutLike", "Verdict", "eventually", "verdict_of"]
