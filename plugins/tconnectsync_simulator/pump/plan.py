"""What a simulated pump is asked to go through."""

from __future__ import annotations

from datetime import date, datetime

import attrs


@attrs.frozen(kw_only=True)
class Flight:
    """The wearer lands in another zone (``lands_at``: aware, UTC) and sets the pump's clock some hours later."""

    lands_at: datetime
    zone: str
    set_after_h: float = 2.0


@attrs.frozen(kw_only=True)
class SimulationPlan:
    """A stretch of a pump's life: the same plan gives the same records, to the last digit.

    ``start`` is the wearer's local day in ``zone``; times with a clock (flights, outages, hand-overs) are aware UTC. The
    defaults have no trouble in them: nothing late, no outage, a clock that keeps time and is set two days after a change
    of daylight saving.
    """

    seed: int = 1
    serial: str = "90556643"
    model_name: str = "Tandem Mobi™ System"
    zone: str = "America/New_York"
    start: date = date(2026, 3, 1)
    days: int = 7
    sequence_group: int = 0
    first_sequence: int = 393_000
    first_bolus_id: int = 1400
    noise_codes: bool = True  # 219, 9, 81, 27, 8: what an unfiltered answer holds besides the documented records

    hourly_record_at_min: int = 30  # insulin on board, once an hour: so long past the wearer's hour

    # the phone
    upload_every_min: float = 60.0
    late_share: float = 0.0  # of the records: uploaded hours to days after their time
    late_max_h: float = 72.0
    outages: tuple[tuple[datetime, datetime], ...] = ()

    # the pump's clock
    set_up_days_before: int = 40  # when the wearer set the clock for the first time, before ``start``
    clock_set_delay_h: float | None = 48.0  # from a change of daylight saving to the wearer's setting; None: never set
    clock_ahead_min: int = 0  # a clock that is wrong on purpose, all the time
    clock_drift_s_per_day: float = 0.0  # corrected whenever the wearer sets the clock
    sets_time_first: bool = False  # the time before the date, not the date first
    flights: tuple[Flight, ...] = ()
    reset_at: datetime | None = None  # the clock falls back to 2008 without a record
    reset_set_after_min: float = 40.0

    # hand-over: outside of this span the pump lies in a drawer and goes on logging
    worn_from: datetime | None = None
    worn_until: datetime | None = None
    drawer_rate: str = "zero"  # or "profile"
