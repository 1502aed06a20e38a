"""Limits of the pump: a value outside them in a record is wrong."""

from __future__ import annotations

import math
from typing import TypeGuard

MAX_BOLUS_U = 25.0
"""The largest bolus that the pump gives."""
MAX_RATE_U_PER_H = 15.0
"""The highest basal rate that the pump gives."""
MAX_IOB_U = 100.0
MAX_CARBS_G = 999.0
"""The most carbs that the pump's keypad takes."""
MAX_VOLUME_U = 1000.0
GLUCOSE_MG_DL = (10.0, 1000.0)
BATTERY_MV = (2500.0, 5000.0)
"""The range of a lithium cell."""


def is_possible(value: float | None, low: float, high: float) -> TypeGuard[float]:
    """Whether ``value`` is a number from ``low`` to ``high``, both inclusive (never NaN or infinite)."""
    return value is not None and math.isfinite(value) and low <= value <= high
