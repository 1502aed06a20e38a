"""Several installations behind one server, each below its own path: all is well, mmol, no data, old data, broken parts, live."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import attrs
from werkzeug.exceptions import NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from tconnectsync.errors import LogCorrupt
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import simulate
from tconnectsync_web.access.admission import Access, open_access
from tconnectsync_web.http_server import web_server
from tconnectsync_web.live.stream import Live
from tconnectsync_web.live.versions import version_of
from tconnectsync_web.live.watch import ChangeWatch
from tconnectsync_web.log_reader import LogReader
from tconnectsync_web.pages.reader import PageReader
from tconnectsync_web.routes import web_app
from tconnectsync_web.sync_cycles import Cycles, Outcome
from tests.web.fake_reader import FakeReader
from tests.web.server_thread import running
from tests.web.simulated_pages import good_status_at, reader_of, write_log_until

UTC = timezone.utc
ZONE = "America/New_York"
PRESENT = datetime(2026, 6, 18, 1, 40, tzinfo=UTC)
"""An evening in New York. The simulated day has meals, an extended bolus, exercise, and a change of the site."""
DAY = date(2026, 6, 17)
PLAN = SimulationPlan(seed=4, zone=ZONE, start=date(2026, 6, 9), days=10)


def broken_status(begun: datetime, newest: datetime) -> dict[str, Any]:
    """A login that is refused since shortly after ``begun``, and a site that does not answer."""
    status = good_status_at(begun, newest)
    since = _iso(begun + timedelta(minutes=1))
    status["sources"]["tandem"] |= {
        "state": "refused",
        "since": since,
        "message": "Tandem refuses the user name or the password at the login of region EU",
        "remedy": "Check email and password of [sources.tandem] (TCONNECT_EMAIL, TCONNECT_PASSWORD). If the account was created in"
        ' the other region, set region = "US" (TCONNECT_REGION). Then run `tconnectsync check`.',
    }
    for name in ("nightscout-treatments", "nightscout-pump-events"):
        status["sinks"][name] |= {
            "state": "backing_off",
            "since": since,
            "message": "https://my-site.example cannot be reached: no connection",
            "remedy": "Is this computer online?",
            "pending": 14,
        }
    return status


def phone_silent_status(now: datetime, newest: datetime) -> dict[str, Any]:
    """Everything is read and delivered; the phone has uploaded nothing since shortly after the newest record."""
    status = good_status_at(now, newest)
    status["sources"]["tandem"]["last_upload"] = _iso(newest + timedelta(minutes=1))
    for sink in status["sinks"].values():
        sink["last_delivered"] = _iso(newest + timedelta(minutes=2))
    return status


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


class CorruptReader(FakeReader):
    """A log with a corrupt record in the days of the report."""

    def summaries(self, first: date, last: date) -> Any:
        raise LogCorrupt(
            "segment 3, line 17 is corrupt", path=Path("3.jsonl"), line=17, remedy="Run `tconnectsync log check`."
        )


@attrs.define
class Worlds:
    """The served installations. ``url`` ends with a slash, and each is below it by its name."""

    url: str
    newest: datetime
    live: FakeReader
    live_folder: Path
    syncs: list[str] = attrs.field(factory=list)

    def news(self) -> None:
        """Write an event as the daemon does."""
        with (self.live_folder / "log" / "1.jsonl").open("a") as log:
            log.write("{}\n")


@contextlib.contextmanager
def serve_worlds(folder: Path) -> Iterator[Worlds]:
    """Serve all of them with the product's own server."""
    newest = write_log_until(folder / "log", simulate(PLAN), PRESENT - timedelta(minutes=1))
    live_folder = folder / "live"
    (live_folder / "log").mkdir(parents=True)
    worlds = Worlds(url="", newest=newest, live=FakeReader(), live_folder=live_folder)
    readers = _readers(folder / "log", newest, worlds.live)
    watch = ChangeWatch({"": lambda: version_of(live_folder)}, look_s=0.05)
    apps = {
        f"/{name}": _app(reader, folder / name, worlds.syncs, Live(watch) if name == "live" else None)
        for name, reader in readers.items()
    }
    try:
        with _served(DispatcherMiddleware(NotFound(), apps), watch) as url:
            worlds.url = url
            yield worlds
    finally:
        for reader in readers.values():
            if isinstance(reader, LogReader):
                reader.close()


@attrs.frozen
class Closed:
    """A served page that asks for a secret. ``url`` ends with a slash."""

    url: str
    secret: str
    access: Access


@contextlib.contextmanager
def serve_closed(folder: Path) -> Iterator[Closed]:
    """Serve a page with a secret below a path."""
    secret = "a secret of the page"
    access = open_access(folder, secret.encode())
    watch = ChangeWatch({"": lambda: version_of(folder)})
    app = web_app(
        access=access, cycles=Cycles(lambda: Outcome(status=0)), read_status=dict, read_findings=list, reader=FakeReader(),
        live=Live(watch),
    )  # fmt: skip
    with _served(app, watch, base_path="/glucose") as url:
        yield Closed(f"{url}glucose/", secret, access)


@contextlib.contextmanager
def _served(app: Any, watch: ChangeWatch, base_path: str = "") -> Iterator[str]:
    """The product's own server, in a thread."""
    server = web_server(app, host="127.0.0.1", port=0, base_path=base_path)
    with running(server) as port:
        try:
            yield f"http://127.0.0.1:{port}/"
        finally:
            watch.close()


def _readers(log: Path, newest: datetime, live: FakeReader) -> Mapping[str, PageReader]:
    later, soon, just_now = (
        PRESENT + wait for wait in (timedelta(hours=5), timedelta(minutes=42), timedelta(minutes=5))
    )
    return {
        "good": reader_of(log, ZONE, PRESENT, lambda: good_status_at(PRESENT, newest)),
        "mmol": reader_of(log, ZONE, PRESENT, lambda: good_status_at(PRESENT, newest), units="mmol"),
        "stale": reader_of(log, ZONE, later, lambda: phone_silent_status(later, newest)),
        "broken": reader_of(log, ZONE, soon, lambda: broken_status(PRESENT, newest)),
        "justbroken": reader_of(log, ZONE, just_now, lambda: broken_status(PRESENT, newest)),
        "empty": reader_of(log.parent / "nothing", ZONE, PRESENT),
        "corrupt": CorruptReader(),
        "live": live,
    }


def _app(reader: PageReader, folder: Path, syncs: list[str], live: Live | None) -> Any:
    def work() -> Outcome:
        syncs.append("sync")
        return Outcome(status=0)

    return web_app(
        access=open_access(folder, None), cycles=Cycles(work), read_status=reader.status, read_findings=list, reader=reader, live=live
    )  # fmt: skip
