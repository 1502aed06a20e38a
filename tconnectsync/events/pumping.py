"""Events of stopped and resumed delivery, and of a new cartridge, tubing or infusion site."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class PumpingSuspended:
    """All delivery stopped (record 11)."""

    reason: str = "unknown"  # user, alarm, malfunction, plgs
    reservoir_u: float | None = None


@attrs.frozen(kw_only=True)
class PumpingResumed:
    """Delivery resumed (record 12)."""

    reservoir_u: float | None = None


@attrs.frozen(kw_only=True)
class CartridgeFilled:
    """A new cartridge (record 33). ``volume_u`` is the amount shown to the wearer."""

    volume_u: float | None = None
    measured_u: float | None = None


@attrs.frozen(kw_only=True)
class TubingFilled:
    """The tubing was filled (record 63)."""

    prime_u: float | None = None
    status: str | None = None


@attrs.frozen(kw_only=True)
class CannulaFilled:
    """The cannula was filled: a new infusion site (record 61)."""

    prime_u: float | None = None
    status: str | None = None
