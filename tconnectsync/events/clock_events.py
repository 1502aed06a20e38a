"""Events of the pump's clock: the wearer set it, and which offset from UTC it has."""

from __future__ import annotations

import msgspec


class ClockChanged(msgspec.Struct, frozen=True, kw_only=True):
    """The wearer set the clock (records 13, 14). Its pump time is by the new clock. ``step_s`` = after - before of this part."""

    part: str  # time, date
    step_s: float
    rtc_ms: int | None = None


class ClockAnchored(msgspec.Struct, frozen=True, kw_only=True):
    """The offset from UTC of a part of the pump's clock (a component), and why it was chosen."""

    from_key: int  # first key of the component
    at_key: int  # the offset holds at this key; clock changes give the offsets at other keys
    offset_min: int
    basis: str  # configuration, evidence, zone_at_clock_change, zone_at_first_event
    zone: str | None = None
