"""Sleep and exercise with their true durations, and changes of the control loop."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import attrs
import msgspec

from tconnectsync import Document, Event, each, events
from tconnectsync.events.source_record import SourceRecord, record_of, utc_of
from tconnectsync_nightscout.folds.documents import minutes, stamp, treatment, words

_SHOWN = {"sleep": "Sleep", "exercise": "Exercise"}
_SIGNS_OF_LIFE = frozenset({"basal.delivered", "day.summary", "pumping.resumed", "pumping.suspended", "unknown"})
"""Event kinds that show how far a current mode has come; an unreadable record counts too."""


class RunningMode(msgspec.Struct, frozen=True, kw_only=True):
    """A current mode, up to the pump's newest record. ``first`` names it; it is shown from ``begin`` (later after a pump change).

    ``in_doubt`` since a change of the mode that cannot be read. ``part`` counts pump changes.
    """

    mode: str
    first: SourceRecord
    begin: datetime
    seen_at: datetime
    in_doubt: bool = False
    part: int = 0


class ModesState(msgspec.Struct, frozen=True, kw_only=True):
    """The current mode, if it is one that is shown, and whether this pump is the worn one."""

    mode: RunningMode | None = None
    worn: bool = True


@attrs.frozen(kw_only=True)
class ModesFold:
    """``mode.changed`` (record 229) as Sleep and Exercise. One mode at a time: exercise during sleep splits the sleep.

    A mode ends at the next change to another; "stop all" ends any. Until then its length is up to the pump's last
    record, or up to a change that cannot be read.

    A mode is shown only while the pump is worn.
    """

    name = "modes"
    version = 3
    kinds = _SIGNS_OF_LIFE | {"mode.changed", "wear.began", "wear.ended"}
    only_times = _SIGNS_OF_LIFE - {"unknown"}
    state_type = ModesState

    def initial(self) -> ModesState:
        """Worn, and no mode known."""
        return ModesState()

    def step(self, state: ModesState, event: Event) -> tuple[ModesState, Sequence[Document]]:
        """Return the state after ``event``, and the mode that it ended."""
        going, body = state.mode, event.body
        if isinstance(body, events.WearEnded):
            return ModesState(mode=going, worn=False), _ended(going, utc_of(event)) if state.worn else ()
        if isinstance(body, events.WearBegan):
            return (state if state.worn else ModesState(mode=_put_on(going, utc_of(event)))), ()
        if not isinstance(body, events.ModeChanged):
            if going is None or going.in_doubt:
                return state, ()
            in_doubt = isinstance(body, events.Unknown) and body.likely_kind == "mode.changed"
            seen_at = max(going.seen_at, utc_of(event))
            going = msgspec.structs.replace(going, seen_at=seen_at, in_doubt=in_doubt)
            return ModesState(mode=going, worn=state.worn), ()
        mode = "normal" if body.action == "stop_all" else body.mode
        record = record_of(event)
        if going is not None and going.mode == body.previous:
            going = msgspec.structs.replace(going, in_doubt=False)  # it went on until now
        if going is not None and going.mode == mode and not going.in_doubt:
            going = msgspec.structs.replace(going, seen_at=max(record.at, going.seen_at))
            return ModesState(mode=going, worn=state.worn), ()
        begun = RunningMode(mode=mode, first=record, begin=record.at, seen_at=record.at) if mode in _SHOWN else None
        return ModesState(mode=begun, worn=state.worn), _ended(going, record.at, record) if state.worn else ()

    def running(self, state: ModesState) -> Sequence[Document]:
        """The mode so far, while this pump is worn."""
        return _shown(state.mode, state.mode.seen_at) if state.mode is not None and state.worn else ()


def _put_on(mode: RunningMode | None, at: datetime) -> RunningMode | None:
    if mode is None or mode.in_doubt:
        return None
    return msgspec.structs.replace(mode, begin=at, seen_at=at, part=mode.part + 1)


def _ended(mode: RunningMode | None, at: datetime, by: SourceRecord | None = None) -> Sequence[Document]:
    if mode is None:
        return ()
    return _shown(mode, mode.seen_at) if mode.in_doubt else _shown(mode, at, by)


def _shown(mode: RunningMode, end: datetime, by: SourceRecord | None = None) -> Sequence[Document]:
    if end <= mode.begin:
        return ()
    sources = [mode.first.name] if by is None else [mode.first.name, by.name]
    identity = ["mode", mode.first.key] if mode.part == 0 else ["mode", mode.first.key, mode.part]
    at, fields = stamp(mode.begin, mode.first.seq), {"duration": minutes(end - mode.begin)}
    return (treatment(_SHOWN[mode.mode], mode.first, *identity, at=at, fields=fields, sources=sources),)


_CONTROL_WORDS = {
    "no_control": "off",
    "open_loop": "open loop",
    "pining": "closed loop, waiting for sensor readings",
    "closed_loop": "closed loop",
}


@each("control.changed", name="control-modes", version=1)
def control_notes(event: Event) -> Document:
    """``control.changed`` (record 230) as a note."""
    record, control = record_of(event), event.body.control
    notes = f"Control: {_CONTROL_WORDS.get(control, words(control))}"
    return treatment("Note", record, "control", record.key, fields={"notes": notes})
