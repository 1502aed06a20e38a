"""Names of the pump's alarms and malfunctions: ``name`` of AlarmRaised, AlarmCleared and MalfunctionRaised."""

from __future__ import annotations

import re

ALARMS: dict[int, str] = {
    0: "delivery_not_stopped",
    1: "spool_move",
    2: "occlusion",
    3: "pump_reset",
    4: "obe",
    5: "p2",
    6: "vent_not_working",
    7: "auto_off",
    8: "empty_cartridge",
    9: "liq_ex",
    10: "temperature_out_of_range",
    11: "temperature_sensor",
    12: "battery_shutdown",
    13: "obsolete_fluid_change",
    14: "invalid_date",
    15: "battery_temperature",
    16: "delivery_request_failed",
    17: "obsolete_cannot_home",
    18: "resume_pump",
    19: "reserved",
    20: "motor_picasso",
    21: "pressure_disagreement",
    22: "stuck_button",
    23: "resume_pump_2",
    24: "air_pressure",
    25: "cartridge_removed",
    26: "occlusion_2",
    27: "unused",
    28: "unused",
    29: "motor_cartridge_range_low",
    30: "motor_stall",
    31: "motor_vent_stall",
    32: "no_cartridge",
    33: "insufficient_power",
    34: "motor_hall_sensor",
    35: "motor_failure",
    36: "motor_prime_stall",
    37: "auxiliary_cpu_reset",
}
"""By the pump's numbers (records 5 and 28). Unknown numbers have no name. 18 and 23 only repeat that delivery is stopped."""

MALFUNCTIONS: dict[int, str] = {
    0: "software",
    1: "cpu_core",
    2: "arm_msp_communication",
    3: "sensor",
    4: "battery",
    5: "touchscreen",
    6: "nonvolatile_memory",
    7: "display",
    8: "msp",
    9: "motor",
    10: "external_bins",
    11: "software_init",
    12: "vibrator",
    13: "peripheral_power",
    14: "p2",
    15: "datalog",
    16: "speaker",
    17: "msp_supply",
    18: "calibration_data",
    19: "bluetooth",
    20: "ap",
    21: "real_time_clock",
    22: "arm_ble_communication",
    23: "overtravel_stall",
    24: "undertravel_stall",
    25: "pushoff_stall",
    26: "hardware_crypto",
}
"""By the pump's numbers (record 6)."""


def alarm_names() -> tuple[str, ...]:
    """Return the names of all alarms and malfunctions that users can choose."""
    named = [name for name in ALARMS.values() if name not in ("unused", "reserved")]
    return (*named, "malfunction", *(f"malfunction_{name}" for name in MALFUNCTIONS.values()))


def names_match(wanted: str, name: str) -> bool:
    """Whether ``wanted``, as a user writes it, means this alarm: its name, or how it begins ("battery": "battery_shutdown")."""
    wanted, name = _plain(wanted), _plain(name)
    return bool(wanted) and (name == wanted or name.startswith(wanted + "_"))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
