"""Events of stopped and resumed delivery, and of a new cartridge, tubing or infusion site."""

from __future__ import annotations

import msgspec


class PumpingSuspended(msgspec.Struct, frozen=True, kw_only=True):
    """All delivery stopped (record 11)."""

    reason: str = "unknown"  # user, alarm, malfunction, plgs
    reservoir_u: float | None = None


class PumpingResumed(msgspec.Struct, frozen=True, kw_only=True):
    """Delivery resumed (record 12)."""

    reservoir_u: float | None = None


class CartridgeFilled(msgspec.Struct, frozen=True, kw_only=True):
    """A new cartridge (record 33). ``volume_u`` is the amount shown to the wearer."""

    volume_u: float | None = None
    measured_u: float | None = None


class TubingFilled(msgspec.Struct, frozen=True, kw_only=True):
    """The tubing was filled, or an attempt was broken off (record 63)."""

    prime_u: float | None = None
    status: str | None = None

    @property
    def completed(self) -> bool:
        """Whether it was filled to the end. Without a status it counts as filled: older records have none."""
        return self.status in (None, "completed")


class CannulaFilled(msgspec.Struct, frozen=True, kw_only=True):
    """The cannula was filled: a new infusion site, if it is ``completed`` (record 61)."""

    prime_u: float | None = None
    status: str | None = None

    @property
    def completed(self) -> bool:
        """Whether it was filled to the end. Without a status it counts as filled: older records have none."""
        return self.status in (None, "completed")
