"""Events of modes, the control loop, carbs, and the pump's day."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class ModeChanged:
    """The mode changed, such as to sleep or exercise (record 229)."""

    mode: str  # normal, sleep, exercise, eating_soon
    previous: str | None = None
    action: str | None = None  # none, start_sleep, stop_sleep, start_exercise, stop_exercise, stop_all, ...
    by_schedule: bool | None = None
    exercise_min: float | None = None


@attrs.frozen(kw_only=True)
class ControlChanged:
    """The control loop changed its state (record 230)."""

    control: str  # no_control, open_loop, pining, closed_loop
    previous: str | None = None


@attrs.frozen(kw_only=True)
class CarbsEntered:
    """Carbs entered without insulin (record 48)."""

    carbs_g: float


@attrs.frozen(kw_only=True)
class DaySummary:
    """The pump's running totals of the day (record 81)."""

    basal_total_u: float | None = None
    basal_rate_u_per_h: float | None = None
    iob_u: float | None = None
    battery_mv: int | None = None
    battery_percent: float | None = None


@attrs.frozen(kw_only=True)
class DayStarted:
    """The pump's day began (record 90)."""

    basal_rate_u_per_h: float | None = None
