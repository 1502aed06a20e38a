"""Events of the pump's mode and of its control loop."""

from __future__ import annotations

import msgspec


class ModeChanged(msgspec.Struct, frozen=True, kw_only=True):
    """The mode changed, such as to sleep or exercise (record 229)."""

    mode: str  # normal, sleep, exercise, eating_soon
    previous: str | None = None
    action: str | None = None  # none, start_sleep, stop_sleep, start_exercise, stop_exercise, stop_all, ...
    by_schedule: bool | None = None
    exercise_min: float | None = None


class ControlChanged(msgspec.Struct, frozen=True, kw_only=True):
    """The control loop changed its state (record 230)."""

    control: str  # no_control, open_loop, pining, closed_loop
    previous: str | None = None
