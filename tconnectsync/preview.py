"""What would be sent: worked out on a copy that is thrown away, sent nowhere."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from tconnectsync.application import open_engine
from tconnectsync.clock import Clock
from tconnectsync.config import Config
from tconnectsync.engine import Engine
from tconnectsync.jobs import stretch
from tconnectsync.keeping import Keeper
from tconnectsync.outbox import Outbox
from tconnectsync.plugins import Plugins
from tconnectsync.receiver import Delivery, Receiver, Refused, rendered


def previewed(
    config: Config, plugins: Plugins, *, sink: str | None, first: date | None, last: date | None, clock: Clock
) -> Iterator[dict[str, Any]]:
    """The documents that ``sync`` (or, with ``sink``, a replay of its days) would send, as the receiver would get them.

    Each is ``{"sink", "action", "id", "collection", "at", "document"}``. ``action`` is "put", "withdraw" (``stored`` says
    how the receiver knows it, there is no document) or "set aside" (``reason`` says why it would never be sent).
    """
    with tempfile.TemporaryDirectory(prefix="tconnectsync-preview-") as name:
        folder = Path(name)
        _copy_data(config.data_dir, folder)
        engine = open_engine(config, plugins, clock=clock, data_dir=folder)
        try:
            if sink is None:
                _poll(engine)
            engine.turn(polling=False, only=())
            args = {"first": first and first.isoformat(), "last": last and last.isoformat()}
            for keeper in engine.keepers.values():
                if sink is not None and keeper.name != sink:
                    continue
                _fold(engine, keeper)
                if sink is not None:
                    keeper.replay(*stretch(args, config.zones.zone_at))
                    _fold(engine, keeper)
                for delivery in keeper.outbox.pending(clock.now(), 1 << 30):
                    yield {"sink": keeper.name, **_told(keeper.courier.receiver, delivery)}
        finally:
            engine.close()


def _poll(engine: Engine) -> None:
    for poller in engine.pollers.values():
        if poller.may_ask(engine.clock.now()):
            poller.start()
    while engine.turn(polling=False, only=()):
        pass


def _fold(engine: Engine, keeper: Keeper) -> None:
    while engine.placed and keeper.fold(engine.views, version=engine.version):
        pass


def _told(receiver: Receiver, delivery: Delivery) -> dict[str, Any]:
    names = {"id": delivery.document_id, "collection": delivery.collection}
    document = delivery.document
    if document is None:
        return {"action": "withdraw", **names, "at": None, "document": None, "stored": delivery.stored}
    at = document.at.isoformat().replace("+00:00", "Z")
    body = rendered(receiver, document)
    if isinstance(body, Refused):
        return {"action": "set aside", **names, "at": at, "document": dict(document.content), "reason": body.reason}
    return {"action": "put", **names, "at": at, "document": dict(body)}


def _copy_data(source: Path, target: Path) -> None:
    """What a preview needs, while a daemon may be writing: databases by SQLite's own means, files again if one was moved."""
    for part in ("log", "state"):
        if (source / part).is_dir():
            for attempt in range(5):
                try:
                    shutil.copytree(source / part, target / part, ignore=shutil.ignore_patterns("*.new"))
                    break
                except shutil.Error:  # a segment was compressed, or a state replaced, while it was copied
                    shutil.rmtree(target / part, ignore_errors=True)
                    if attempt == 4:
                        raise
    (target / "outbox").mkdir(mode=0o700)
    for path in sorted((source / "outbox").glob("*.sqlite")):
        outbox = Outbox(path, writable=False)
        try:
            outbox.copy_to(target / "outbox" / path.name)
        finally:
            outbox.close()
