"""The command line, killed (SIGKILL) at a named point of its work.

``python tests/e2e/kill_points.py '{"point": "…", "nth": 2, "clock": "…"}' run --config …`` wraps the named functions of the product and
then runs it as it is; nothing in the product knows of this. ``clock`` names the file of a :class:`SharedClock`: the host's time is
as far ahead as it says. Segments of the log are small here, so that sealing and packing happen within days.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import mmap
import os
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import attrs

SEGMENT_BYTES = 48 << 10
LONGEST_PAUSE_S = 0.05
LONGEST_NAP_S = 0.1
TIME_OUT_S = 4.0


class SharedClock:
    """The real clock, moved by what a file of eight bytes says: one time for the harness, the cloud and the daemon."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            self._cell = mmap.mmap(file.fileno(), 8)
        self.path = path

    @classmethod
    def at(cls, path: Path, when: datetime) -> SharedClock:
        """A clock that says ``when``."""
        clock = cls(path)
        clock.leap(when - clock.now())
        return clock

    @property
    def ahead_s(self) -> float:
        """Seconds ahead of the real time (negative: behind it)."""
        found: float = struct.unpack("d", self._cell[:8])[0]
        return found

    def now(self) -> datetime:
        """UTC."""
        return datetime.now(timezone.utc) + timedelta(seconds=self.ahead_s)

    def leap(self, span: timedelta) -> None:
        """Move it on by this much."""
        self._cell[:8] = struct.pack("d", self.ahead_s + span.total_seconds())

    def until(self, when: datetime) -> None:
        """Move it on to ``when``, but never back."""
        self.leap(max(timedelta(0), when - self.now()))


def _anything(*_: Any) -> bool:
    return True


def _in_file(ending: str) -> Callable[..., bool]:
    """Whether the open file, or the path that is the first argument, has this ending."""

    def fits(this: Any, *arguments: Any) -> bool:
        if hasattr(this, "_descriptor"):
            return str(Path(f"/proc/self/fd/{this._descriptor}").readlink()).endswith(ending)
        named = this if isinstance(this, Path) else arguments[0]
        return str(named).endswith(ending)

    return fits


def _withdraws(_receiver: Any, batch: Any) -> bool:
    return any(delivery.document is None for delivery in batch)


def _method(name: str) -> Callable[..., bool]:
    return lambda _client, method, *_: bool(method == name)


@attrs.frozen
class KillPoint:
    """A place in the product's work. ``when``: before or after the call, after half of its bytes, or around a commit of ``caller``."""

    target: str
    when: str = "before"
    only: Callable[..., bool] = _anything
    caller: str = ""
    first: str = ""
    """What must happen first, so that the point is reached: see ``killed_daemon.FIRST``."""


def _point(
    target: str, when: str, only: Callable[..., bool] = _anything, *, caller: str = "", first: str = ""
) -> KillPoint:
    return KillPoint(target, when, only, caller, first)


_FILES = "tconnectsync.filesystem"
_LOG, _LAST_SEGMENT = "tconnectsync.eventlog.log:EventLog", "tconnectsync.eventlog.last_segment:LastSegment"
_COMMIT = "tconnectsync.outbox:Outbox.transaction"
_RUNNER, _SENDER = "tconnectsync.runtime.sink_runner:SinkRunner", "tconnectsync.outbox.sender:Sender"
_PREFLIGHT = "tconnectsync.outbox.preflight:Preflight"
_FOLDING = "tconnectsync.runtime.sink_folding:SinkFolding"
_RECEIVER = "tconnectsync_nightscout.delivery.receiver:NightscoutReceiver.deliver"
_SEND = "tconnectsync_nightscout.api.client:NightscoutClient._send"

POINTS: dict[str, KillPoint] = {
    # the log
    "lock taken": _point("tconnectsync.eventlog.lock:FolderLock.__init__", "after"),
    "log opened": _point(f"{_LOG}.__init__", "after"),
    "half a write to the log": _point(f"{_FILES}:OsAppendFile.write", "half", _in_file(".jsonl")),
    "torn end set aside": _point(f"{_LAST_SEGMENT}._move_aside", "after", first="torn"),
    "torn end cut off, not synced": _point(f"{_FILES}:OsAppendFile.truncate", "after", first="torn"),
    "written, not synced": _point(f"{_FILES}:OsAppendFile.write", "after", _in_file(".jsonl")),
    "synced, not indexed": _point("tconnectsync.eventlog.index:Index.add", "before"),
    "indexed, index not committed": _point("tconnectsync.eventlog.index:Index._add", "after"),
    "appended": _point(f"{_LOG}.append", "after"),
    "index built, not in place": _point("pathlib:Path.replace", "before", _in_file(".sqlite.new"), first="no index"),
    "index half built": _point("tconnectsync.eventlog.index:Index.add", "after", first="no index"),
    "segment begun, folder not synced": _point(f"{_FILES}:OsFiles.sync_folder", "before", _in_file("/log")),
    "segment begun": _point(f"{_LAST_SEGMENT}._begin_segment", "after"),
    "half a packed segment": _point(
        f"{_FILES}:OsAppendFile.write", "half", _in_file(".gz.tmp"), first="a sealed segment"
    ),
    "packed, not in place": _point(f"{_FILES}:OsFiles.rename", "before", _in_file(".gz.tmp"), first="a sealed segment"),
    "packed, both there": _point(f"{_FILES}:OsFiles.remove", "before", _in_file(".jsonl"), first="a sealed segment"),
    "packed, plain one gone": _point(f"{_FILES}:OsFiles.remove", "after", _in_file(".jsonl"), first="a sealed segment"),
    # small files
    "half a state": _point(f"{_FILES}:OsAppendFile.write", "half", _in_file("tandem.json.tmp")),
    "state not in place": _point(f"{_FILES}:OsFiles.rename", "before", _in_file("tandem.json.tmp")),
    "state in place, folder not synced": _point(f"{_FILES}:OsFiles.rename", "after", _in_file("tandem.json.tmp")),
    "times not in place": _point(f"{_FILES}:OsFiles.rename", "before", _in_file("tandem.times.json.tmp")),
    "token not in place": _point("pathlib:Path.replace", "before", _in_file("token.json.new"), first="no token"),
    "token in place": _point("pathlib:Path.replace", "after", _in_file("token.json.new"), first="no token"),
    # a poll
    "logged in, token not kept": _point("tconnectsync_tandem.api.login:Login.run", "after", first="no token"),
    "between two steps of a poll": _point("tconnectsync.ingest.poller:Poller.step", "after"),
    "poll through, state not saved": _point("tconnectsync.ingest.source_state:SourceState.save", "before"),
    "placed": _point("tconnectsync.runtime.engine:Engine._refresh_timeline", "after"),
    # folds
    "folded, not committed": _point(_COMMIT, "uncommitted", caller=f"{_FOLDING}._fold_slice"),
    "folded": _point(_COMMIT, "committed", caller=f"{_FOLDING}._fold_slice"),
    # deliveries
    "marked in_doubt, not committed": _point(_COMMIT, "uncommitted", caller=f"{_SENDER}.begin"),
    "about to deliver": _point(_RECEIVER, "before"),
    "posted, not heard": _point(_SEND, "after", _method("POST")),
    "taken away, new one not put": _point(_SEND, "after", _method("DELETE"), first="other wording"),
    "delivered, not noted": _point(_RECEIVER, "after"),
    "noted, not committed": _point(f"{_SENDER}._record_outcomes", "after"),
    "noted": _point(f"{_SENDER}.finish", "after"),
    "about to withdraw": _point(_RECEIVER, "before", _withdraws, first="other wording"),
    "withdrawn, not noted": _point(_RECEIVER, "after", _withdraws, first="other wording"),
    # what a user asks for, and a lost outbox
    "replay not committed": _point(_COMMIT, "uncommitted", caller=f"{_RUNNER}.replay", first="a replay"),
    "replay committed": _point(_COMMIT, "committed", caller=f"{_RUNNER}.replay", first="a replay"),
    "replay half folded": _point(_COMMIT, "committed", caller=f"{_FOLDING}._fold_slice", first="a replay"),
    "replay half delivered": _point(_RECEIVER, "after", first="a replay"),
    "read back, not committed": _point(_COMMIT, "uncommitted", caller=f"{_PREFLIGHT}._read_page", first="no outbox"),
    "read back": _point(_COMMIT, "committed", caller=f"{_PREFLIGHT}._read_page", first="no outbox"),
    "judged, not committed": _point(_COMMIT, "uncommitted", caller=f"{_FOLDING}.resolve_unclaimed", first="no outbox"),
    "judged": _point(_COMMIT, "committed", caller=f"{_FOLDING}.resolve_unclaimed", first="no outbox"),
    "stopping": _point("tconnectsync.runtime.engine:Engine.close", "before", first="a stop"),
    "request taken": _point("tconnectsync.jobs.dispatch:perform", "after", first="a replay"),
}


def die() -> None:
    """As a power cut would, for this process."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def resolve(target: str) -> tuple[Any, str]:
    """Return the module or class that holds ``module:Class.function``, and the function's name. Raises if it does not exist."""
    module_name, _, path = target.partition(":")
    holder: Any = importlib.import_module(module_name)
    *owners, name = path.split(".")
    for owner in owners:
        holder = getattr(holder, owner)
    if not callable(getattr(holder, name)):
        raise TypeError(f"{target} is no function")
    return holder, name


def arm(point: KillPoint, nth: int) -> None:
    """Wrap the point's function, so that its ``nth`` fitting call kills the process."""
    holder, name = resolve(point.target)
    original = inspect.getattr_static(holder, name)
    caller_code = getattr(*resolve(point.caller)).__code__ if point.caller else None
    calls = 0

    def due(arguments: tuple[Any, ...], depth: int) -> bool:
        nonlocal calls
        called_by_it = caller_code is None or sys._getframe(depth).f_code is caller_code
        if not called_by_it or not point.only(*arguments):
            return False
        calls += 1
        return calls == nth

    def wrapped(*arguments: Any, **named: Any) -> Any:
        now = due(arguments, 2)
        if now and point.when == "before":
            die()
        if now and point.when == "half":
            half = arguments[1][: len(arguments[1]) // 2]
            original(arguments[0], half, *arguments[2:], **named)
            die()
        result = original(*arguments, **named)
        if now and point.when == "after":
            die()
        return result

    def around(*arguments: Any, **named: Any) -> contextlib.AbstractContextManager[None]:
        return ending(original(*arguments, **named), due(arguments, 2))

    @contextlib.contextmanager
    def ending(inner: contextlib.AbstractContextManager[None], now: bool) -> Iterator[None]:
        with inner:
            yield
            if now and point.when == "uncommitted":
                die()
        if now and point.when == "committed":
            die()

    setattr(holder, name, around if point.when in {"uncommitted", "committed"} else wrapped)
    for module in list(sys.modules.values()):  # those that took it by name
        if module is not None and getattr(module, name, None) is original:
            setattr(module, name, wrapped)


def _hasten(clock: SharedClock | None, time_out_s: float) -> None:
    """Small segments, short waits and time-outs, and the shared time."""
    import tconnectsync_nightscout.api.client
    import tconnectsync_tandem.api.transport
    from tconnectsync import HttpLimits
    from tconnectsync.clock import SystemClock
    from tconnectsync.eventlog.log import EventLog
    from tconnectsync.runtime import engine

    EventLog.open.__func__.__kwdefaults__["segment_bytes"] = SEGMENT_BYTES  # type: ignore[attr-defined]
    if clock is None:
        return
    engine.LONGEST_SLEEP_S = LONGEST_NAP_S
    tconnectsync_nightscout.api.client.LIMITS = HttpLimits(connect_s=time_out_s, silence_s=time_out_s)
    tconnectsync_tandem.api.transport.LIMITS = tconnectsync_nightscout.api.client.LIMITS
    SystemClock.now = lambda self: clock.now()  # type: ignore[method-assign]
    SystemClock.sleep = lambda self, seconds: time.sleep(min(seconds, LONGEST_PAUSE_S))  # type: ignore[method-assign]


def main() -> int:
    """Run the command line that follows the description of the point; return its exit status."""
    appointment = json.loads(sys.argv.pop(1))
    clock = SharedClock(Path(appointment["clock"])) if appointment.get("clock") else None
    _hasten(clock, appointment.get("time_out_s", TIME_OUT_S))
    if appointment.get("point"):
        import tconnectsync_tandem.source  # noqa: F401 - the product is loaded before it is wrapped

        arm(POINTS[appointment["point"]], int(appointment.get("nth", 1)))
    from tconnectsync.cli import main as run

    return run()


if __name__ == "__main__":
    raise SystemExit(main())
