"""A simple model of a body, so that glucose, insulin and meals fit together."""

from __future__ import annotations

from random import Random

import attrs

SENSITIVITY_MG_DL_PER_U = 40.0
CARB_RATIO_G_PER_U = 8.0
STEP_MIN = 5.0
INSULIN_MIN = 50.0
GUT_MIN = 40.0
ON_BOARD_MIN = 110.0


@attrs.define
class Body:
    """Glucose (mg/dL), insulin and carbs in two stages each (U, g), and insulin on board as a pump computes it."""

    rng: Random
    basal_need_u_per_h: float = 0.9
    glucose: float = 130.0
    trend: float = 0.0  # mg/dL/min
    iob_u: float = 0.0
    sensitivity: float = 1.0
    _depot_u: float = attrs.field(init=False)
    _plasma_u: float = attrs.field(init=False)
    _stomach_g: float = 0.0
    _gut_g: float = 0.0

    def __attrs_post_init__(self) -> None:
        self._depot_u = self._plasma_u = self.basal_need_u_per_h * INSULIN_MIN / 60

    def take(self, insulin_u: float) -> None:
        """Deliver insulin."""
        self._depot_u += insulin_u

    def board(self, insulin_u: float) -> None:
        """Add to the insulin on board: boluses, and basal above (or below) the need."""
        self.iob_u = max(0.0, self.iob_u + insulin_u)

    def eat(self, carbs_g: float) -> None:
        self._stomach_g += carbs_g

    def step(self) -> None:
        """Advance five minutes."""
        absorbed_g = self._gut_g * STEP_MIN / GUT_MIN
        self._gut_g += self._stomach_g * STEP_MIN / GUT_MIN - absorbed_g
        self._stomach_g -= self._stomach_g * STEP_MIN / GUT_MIN
        acting_u = self._plasma_u * STEP_MIN / INSULIN_MIN
        self._plasma_u += self._depot_u * STEP_MIN / INSULIN_MIN - acting_u
        self._depot_u -= self._depot_u * STEP_MIN / INSULIN_MIN
        need_u = self.basal_need_u_per_h * STEP_MIN / 60
        self.iob_u *= 1 - STEP_MIN / ON_BOARD_MIN
        if self.iob_u < 0.005:
            self.iob_u = 0.0
        before = self.glucose
        change = SENSITIVITY_MG_DL_PER_U * (
            absorbed_g / CARB_RATIO_G_PER_U - (acting_u - need_u) * self.sensitivity
        ) + self.rng.gauss(0.0, 1.5)
        if before > 260:
            change -= (before - 260) * 0.02
        elif before < 75:
            change += (75 - before) * 0.06
        self.glucose = min(460.0, max(32.0, before + change))
        self.trend = 0.6 * self.trend + 0.4 * (self.glucose - before) / STEP_MIN
