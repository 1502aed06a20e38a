"""Select the pumps of the account by the option `pumps`, and report problems with the choice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

from tconnectsync import CheckResult, counted
from tconnectsync_tandem.api.pumps import HiddenPump, Pump, PumpList, newest_used
from tconnectsync_tandem.api.transport import NEW_RELEASE

Choice: TypeAlias = Literal["all"] | tuple[str, ...]

_CORRECT = 'Correct `pumps` of [sources.tandem] (or PUMP_SERIAL_NUMBER), or set it to "all".'


def selected_pumps(pumps: Sequence[Pump], choice: Choice) -> list[Pump]:
    return [pump for pump in pumps if choice == "all" or pump.serial in choice]


def choice_findings(pumps: Sequence[Pump], choice: Choice) -> Iterator[CheckResult]:
    """Warn of a selected pump that is not on the account, or of an excluded pump with newer data."""
    if choice == "all":
        return
    known = {pump.serial: pump for pump in pumps}
    for serial in choice:
        if serial not in known:
            what = f"tandem: pump {serial} is not on the account, which has {', '.join(known)}"
            yield CheckResult(good=False, what=what, remedy=_CORRECT)
    newest = newest_used(pumps)
    if newest.serial not in choice and any(serial in known for serial in choice):
        yield CheckResult(
            good=False,
            what=f"tandem: pump {newest.serial}, which `pumps` excludes, has newer data than {', '.join(choice)}",
            remedy=f'If the pump was replaced, add "{newest.serial}" to `pumps` of [sources.tandem], or set it to "all".',
        )


def pump_findings(pumps: Sequence[Pump], choice: Choice, *, hidden: bool = False) -> Iterator[CheckResult]:
    """Yield one line per pump, the most recently used first, then problems.

    ``hidden``: the active pump is not among them.
    """
    newest = newest_used(pumps)
    for pump in sorted(pumps, key=lambda pump: pump.age_key, reverse=True):
        uploaded = "never uploaded" if pump.uploaded_at is None else f"uploaded {pump.uploaded_at:%Y-%m-%d %H:%M} UTC"
        parts = [f"tandem: pump {pump.serial}", pump.model, pump.software, uploaded]
        if pump.newest is not None:
            parts.append(f"newest data {pump.newest:%Y-%m-%d %H:%M} by its own clock")
        if pump is newest and not pump.never_uploaded and not hidden:
            parts.append("probably the active pump")
        if choice != "all" and pump.serial not in choice:
            parts.append("excluded by `pumps`")
        upload = None
        if pump is newest and pump.uploaded_at is not None and pump.newest is not None:
            upload = (pump.uploaded_at, pump.newest)
        yield CheckResult(good=True, what=", ".join(part for part in parts if part), upload=upload)
    yield from choice_findings(pumps, choice)


def hidden_findings(listed: PumpList, choice: Choice) -> Iterator[CheckResult]:
    """Problems with pumps whose data cannot be requested."""
    worn = listed.hidden_active
    if worn is not None:
        message, remedy = hidden_active_pump(worn, choice)
        yield CheckResult(good=False, what=f"tandem: {message}", remedy=remedy)
    others = listed.skipped - (worn is not None)
    if others:
        yield CheckResult(
            good=False, what=f"tandem: {counted(others, 'pump')} of the account cannot be read", remedy=NEW_RELEASE
        )


def hidden_active_pump(pump: HiddenPump, choice: Choice) -> tuple[str, str]:
    """Return message and remedy if the data of the most recently used pump cannot be requested."""
    message = (
        f"the pump that was used last ({pump.words}) cannot be read: Tandem's list has {pump.missing} for it. Its data is not"
        " fetched. The phone is not the cause"
    )
    if choice != "all":
        return message, "If the pumps in `pumps` of [sources.tandem] are the ones you want, there is nothing to do."
    return message, f"Check on Tandem's website whether it shows the pump's serial number. {NEW_RELEASE}"


def no_pump_selected(pumps: Sequence[Pump]) -> tuple[str, str]:
    """Return message and remedy if no selected pump is on the account."""
    known = ", ".join(pump.serial for pump in pumps)
    return f"none of the pumps in `pumps` of [sources.tandem] is on the account, which has {known}", _CORRECT
