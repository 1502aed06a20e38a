"""The plan of a simulation: what happens to a pump."""

from __future__ import annotations

from datetime import date, datetime

import attrs


@attrs.frozen(kw_only=True)
class Flight:
    """A flight to another zone (``lands_at``: aware, UTC); the wearer sets the pump's clock some hours later."""

    lands_at: datetime
    zone: str
    set_after_h: float = 2.0


@attrs.frozen(kw_only=True)
class SimulationPlan:
    """Some days of a pump. The same plan always gives exactly the same records.

    ``start`` is the wearer's local day in ``zone``; times of flights, outages and hand-overs are aware UTC. The defaults
    have no problems: nothing late, no outage, and an exact clock, set two days after a change of daylight saving.
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
    noise_codes: bool = True  # 219, 9, 81, 27, 8: undocumented records in unfiltered responses
    scan_codes: bool = True  # of these 219, every two hundred seconds: a third of all records

    hourly_record_at_min: int = 30  # the minute of the hourly record with insulin on board

    # the phone
    upload_every_min: float = 60.0
    late_share: float = 0.0  # share of records that are uploaded hours to days later
    late_max_h: float = 72.0
    outages: tuple[tuple[datetime, datetime], ...] = ()

    # the pump's clock
    set_up_days_before: int = 40  # the first setting of the clock was this long before ``start``
    clock_set_delay_h: float | None = 48.0  # from a change of daylight saving to the wearer's setting; None: never set
    clock_ahead_min: int = 0  # a clock that is always wrong, on purpose
    clock_drift_s_per_day: float = 0.0  # corrected whenever the wearer sets the clock
    sets_time_first: bool = False  # set the time first, then the date
    flights: tuple[Flight, ...] = ()
    reset_at: datetime | None = None  # the clock falls back to 2008 without a record
    reset_set_after_min: float = 40.0

    # hand-over: outside this span the pump is not worn, but still logs
    worn_from: datetime | None = None
    worn_until: datetime | None = None
    drawer_rate: str = "zero"  # or "profile"
