"""Sample events and small file helpers for the event log's tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from tconnectsync import events
from tconnectsync.events import Event

START = datetime(2025, 3, 1, 8, 0)
RECEIVED = datetime(2025, 3, 2, 9, 30, 15, tzinfo=timezone.utc)


def basal(
    seq: int, rate: float = 0.8, *, at: datetime | None = None, pump: str = "123", group: int = 0, **more: Any
) -> Event:
    """A numbered event, five minutes after the one with the number before."""
    return Event(
        id=f"tandem:{pump}:{group}:{seq}",
        kind="basal.delivered",
        pump=pump,
        group=group,
        seq=seq,
        pump_time=at or START + timedelta(minutes=5 * seq),
        source="tandem",
        received_at=RECEIVED,
        body=events.BasalDelivered(rate_u_per_h=rate),
        raw={"n": seq, "r": rate},
        **more,
    )


def numbered(
    seq: int,
    body: Any,
    *,
    pump: str = "123",
    at: datetime | None = None,
    raw: Mapping[str, Any] | None = None,
    **more: Any,
) -> Event:
    """A numbered event with any body."""
    kind = next(kind for kind, known in events.BODIES.items() if known is type(body))
    return Event(
        id=f"tandem:{pump}:0:{seq}",
        kind=kind,
        pump=pump,
        group=0,
        seq=seq,
        pump_time=at or START + timedelta(minutes=5 * seq),
        source="tandem",
        received_at=RECEIVED,
        body=body,
        raw=raw,
        **more,
    )


def row(name: str, at: datetime, rate: float = 0.5, *, pump: str = "123", source: str = "csv") -> Event:
    """An event without a number."""
    return Event(
        id=f"{source}:{pump}:{name}",
        kind="basal.delivered",
        pump=pump,
        group=None,
        seq=None,
        pump_time=at,
        source=source,
        received_at=RECEIVED,
        body=events.BasalDelivered(rate_u_per_h=rate),
    )


def fact(name: str, body: Any, *, pump: str = "123", source: str = "tandem") -> Event:
    """A fact about the data."""
    kind = next(kind for kind, known in events.BODIES.items() if known is type(body))
    return Event(
        id=f"{source}:{pump}:{name}",
        kind=kind,
        pump=pump,
        group=None,
        seq=None,
        pump_time=START,
        source=source,
        received_at=RECEIVED,
        body=body,
    )


def upload(name: str, *, pump: str = "123", source: str = "tandem") -> Event:
    return fact(f"upload:{name}", events.UploadSeen(uploaded_at=RECEIVED), pump=pump, source=source)


def last_segment(data_dir: Path) -> Path:
    return max((data_dir / "log").glob("[0-9]*.jsonl"))


def keys(found: Sequence[Event]) -> list[int]:
    return [event.seq or 0 for event in found]
