"""Hypothesis strategies: random bodies of the vocabulary, and random runs of events in the pump's order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec
from hypothesis import strategies as st

from tconnectsync.events import BODIES, Event
from tconnectsync.testing.events import NOON, make_event

_WORDS = ("", "unknown", "completed", "started", "user", "normal", "sleep", "value", "high", "manual", "7", "dexcom_g6")
_MODES = ("normal", "sleep", "exercise", "eating_soon")
_WORDS_OF: Mapping[str, tuple[str, ...]] = {
    "action": ("none", "start_sleep", "stop_sleep", "start_exercise", "stop_exercise", "stop_all"),
    "bolus_source": ("button", "pump_screen", "remote", "algorithm", "ble"),
    "bolus_type": ("insulin", "carb", "automatic_correction", "remote"),
    "control": ("no_control", "open_loop", "pining", "closed_loop"),
    "entry": ("manual", "from_cgm"),
    "mark": ("value", "high", "low", "hidden"),
    "mode": _MODES,
    "name": ("occlusion", "resume_pump", "usb_connection", "high_glucose"),
    "options": ("standard", "extended", "quick", "automatic", "ble_standard", "ble_extended"),
    "previous": (*_MODES, "open_loop", "closed_loop"),
    "rate_source": ("suspended", "profile", "temp_rate", "algorithm", "temp_rate_and_algorithm"),
    "reason": ("user", "alarm", "malfunction", "plgs"),
    "reasons": ("timed_segment", "new_profile", "temp_rate_start", "temp_rate_end", "suspended", "resumed"),
    "sensor": ("dexcom_g6", "dexcom_g7", "libre_2", "libre_3"),
    "status": ("started", "completed", "user_aborted", "stopped_by_alarm", "stopped_by_plgs", "rejected"),
    "types": ("now", "later", "override", "correction", "carb", "eating_soon", "queued"),
}
"""The words of a text field, by its name: what a pump says in it."""
_PLAIN: Mapping[Any, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    int: st.sampled_from([0, 1, 2, 3, 7, 65_535]) | st.integers(-(1 << 31), 1 << 31),
    float: st.sampled_from([0.0, 0.05, 1.0, 2.083, 25.0, 110.0, -1.0, 65_535.0]) | st.floats(-1e6, 1e6),
    str: st.sampled_from(_WORDS) | st.text(max_size=8),
    datetime: st.integers(-86_400, 86_400).map(lambda s: (NOON + timedelta(seconds=s)).replace(tzinfo=None)),
    Any: st.none() | st.integers(0, 99) | st.text(max_size=5),
}
_STEPS_S = (0, 0, 1, 60, 300, 300, 900, 7200, 30_000, -3600)
"""Seconds from event to event. Now and then the clock is understood as going back."""


def _values(annotation: Any, name: str) -> st.SearchStrategy[Any]:
    parts = get_args(annotation)
    if get_origin(annotation) in (Union, UnionType):
        return st.one_of(*(st.none() if part is type(None) else _values(part, name) for part in parts))
    if get_origin(annotation) is tuple:
        return st.lists(_values(parts[0], name), max_size=3).map(tuple)
    if isinstance(get_origin(annotation), type) and issubclass(get_origin(annotation), Mapping):
        return st.dictionaries(st.text(max_size=5), _values(parts[1], name), max_size=3)
    if annotation is str and name in _WORDS_OF:
        return st.sampled_from(_WORDS_OF[name]) | _PLAIN[str]
    return _PLAIN[annotation]


@cache
def _body_of(kind: str) -> st.SearchStrategy[Any]:
    body = BODIES[kind]
    return st.builds(body, **{field.name: _values(field.type, field.name) for field in msgspec.structs.fields(body)})


def bodies_of(kinds: Iterable[str]) -> st.SearchStrategy[Any]:
    """Return random bodies of these kinds: any values of the right type that a log can hold, sensible or not."""
    return st.one_of(*(_body_of(kind) for kind in sorted(kinds)))


@st.composite
def event_runs(draw: st.DrawFn, bodies: st.SearchStrategy[Any], *, max_size: int = 25) -> list[Event]:
    """Return up to ``max_size`` events of one pump in its own order, with or without sequence numbers."""
    numbered = draw(st.sampled_from([True, True, False]))
    second, seq, run = 0, draw(st.integers(0, 1 << 19)), []
    for number in range(draw(st.integers(1, max_size))):
        second += draw(st.sampled_from(_STEPS_S if numbered else (1, 60, 300, 7200)))
        seq += draw(st.sampled_from([1, 1, 2, 17, 600]))
        # the id of an event without a number holds its time, as a source would give it
        run.append(make_event(draw(bodies), second + (0 if numbered else number), seq if numbered else None))
    return run
