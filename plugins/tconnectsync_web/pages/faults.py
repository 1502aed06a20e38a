"""What can be wrong between the pump and its receivers, in plain words: what it is, whether it can wait, the first step."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import attrs

from tconnectsync_web.languages import msg

TELL = msg("Tell the person who looks after tconnectsync.")


class Urgency(Enum):
    """Whether a fault can wait, and on which condition."""

    NOW = "now"
    """Somebody has to look at the pump."""
    IF_WATCHED = "if watched"
    """New data does not arrive here: somebody has to look at the glucose elsewhere."""
    UNLESS_WATCHED = "unless watched"
    """A receiver does not get the data; this page has them."""
    NONE = "none"
    """Nobody has to do anything soon."""


class Fault(Enum):
    """One kind of fault."""

    PUMP_SILENT = "pump silent"
    PHONE_SILENT = "phone silent"
    LOGIN_REFUSED = "login refused"
    SOURCE_CHANGED = "source changed"
    SOURCE_FAILS = "source fails"
    NOT_READ = "not read"
    FIRST_READ = "first read"
    SOURCE_STOPPED = "source stopped"
    LOG_CORRUPT = "log corrupt"
    DISK = "disk"
    SERVICE_ENDED = "service ended"
    CONFIGURATION = "configuration"
    SERVICE_WAITS = "service waits"
    NOT_ADMITTED = "not admitted"
    NOT_DELIVERED = "not delivered"
    PAUSED = "paused"
    DELIVERY_STOPPED = "delivery stopped"
    DELIVERY_WAITS = "delivery waits"
    FIRST_DELIVERY = "first delivery"
    SET_ASIDE = "set aside"


@attrs.frozen
class FaultWords:
    """English words for a fault. ``what`` and ``step`` may have the place ``%(name)s``: the link of the chain."""

    what: str
    step: str
    urgency: Urgency


IF, UNLESS = Urgency.IF_WATCHED, Urgency.UNLESS_WATCHED
FAULTS: Mapping[Fault, FaultWords] = {
    Fault.PUMP_SILENT: FaultWords(
        msg("The phone gets nothing new from the pump."),
        msg("Look at the pump. Then open its app on the phone (t:connect) and check that it is connected to the pump."),
        Urgency.NOW,
    ),
    Fault.PHONE_SILENT: FaultWords(
        msg("The phone has uploaded nothing new."),
        msg("Open the pump's app on the phone (t:connect), and check that the phone is on the Internet."),
        IF,
    ),
    Fault.LOGIN_REFUSED: FaultWords(
        msg("%(name)s refuses the login, so no new data arrives."),
        msg("Sign in at %(name)s with your browser. If that fails too, set a new password there."
            " Then enter the right password on the computer that runs tconnectsync."),
        IF,
    ),
    Fault.SOURCE_CHANGED: FaultWords(
        msg("%(name)s sends data in a form that this release of tconnectsync does not know."),
        msg("tconnectsync needs an update. There is nothing to do on the phone."),
        IF,
    ),
    Fault.SOURCE_FAILS: FaultWords(
        msg("Reading from %(name)s fails."),
        msg("Nothing for now. It is tried again automatically. If it continues, check the Internet connection at home."),
        IF,
    ),
    Fault.NOT_READ: FaultWords(
        msg("tconnectsync does not read from %(name)s any more."),
        msg("Restart the computer that runs tconnectsync: switch it off and on again."),
        IF,
    ),
    Fault.FIRST_READ: FaultWords(
        msg("The first read from %(name)s is not complete yet."),
        msg("Wait some minutes: the data appears here by itself."),
        Urgency.NONE,
    ),
    Fault.SOURCE_STOPPED: FaultWords(msg("Reading from %(name)s has stopped."), TELL, IF),
    Fault.LOG_CORRUPT: FaultWords(
        msg("A part of the stored data is corrupt."),
        msg("Tell the person who looks after tconnectsync. Delete nothing until then."),
        IF,
    ),
    Fault.DISK: FaultWords(
        msg("The computer that runs tconnectsync cannot store new data: its disk is full or has a fault."),
        msg("Tell the person who looks after this computer. Delete nothing in the data folder."),
        IF,
    ),
    Fault.SERVICE_ENDED: FaultWords(
        msg("The tconnectsync service has stopped, so no new data arrives."),
        msg("Restart the computer that runs tconnectsync: switch it off and on again."),
        IF,
    ),
    Fault.CONFIGURATION: FaultWords(
        msg("The changed configuration of tconnectsync cannot be used; the old one is still used."),
        TELL,
        Urgency.NONE,
    ),
    Fault.SERVICE_WAITS: FaultWords(
        msg("The tconnectsync service is not doing anything at the moment."),
        msg("Wait a minute. If this does not change, restart the computer that runs tconnectsync."),
        IF,
    ),
    Fault.NOT_ADMITTED: FaultWords(msg("%(name)s refuses the password (API secret or token) of tconnectsync."), TELL, UNLESS),
    Fault.NOT_DELIVERED: FaultWords(
        msg("New data does not reach %(name)s."),
        msg("Nothing for now. It is tried again automatically. If it continues, check that %(name)s is running."),
        UNLESS,
    ),
    Fault.PAUSED: FaultWords(msg("Delivery to %(name)s is paused until somebody decides."), TELL, UNLESS),
    Fault.DELIVERY_STOPPED: FaultWords(msg("Delivery to %(name)s has stopped, because stored data is corrupt."), TELL, UNLESS),
    Fault.DELIVERY_WAITS: FaultWords(msg("Delivery to %(name)s waits."), TELL, UNLESS),
    Fault.FIRST_DELIVERY: FaultWords(
        msg("Nothing was delivered to %(name)s yet."),
        msg("Wait some minutes: delivery begins after the first read."),
        Urgency.NONE,
    ),
    Fault.SET_ASIDE: FaultWords(
        msg("%(name)s refused some documents for good. Everything else is delivered."),
        msg("Nothing urgent. The page “Problems” shows these documents."),
        Urgency.NONE,
    ),
}  # fmt: skip

SOURCE_FAULTS: Mapping[str, Fault] = {
    "refused": Fault.LOGIN_REFUSED,
    "changed": Fault.SOURCE_CHANGED,
    "backing_off": Fault.SOURCE_FAILS,
    "waiting": Fault.NOT_READ,
}
"""By the state of a source; others are SOURCE_STOPPED."""
SINK_FAULTS: Mapping[str, Fault] = {
    "refused": Fault.NOT_ADMITTED,
    "backing_off": Fault.NOT_DELIVERED,
    "halted": Fault.PAUSED,
    "braked": Fault.PAUSED,
    "damaged": Fault.DELIVERY_STOPPED,
}
"""By the state of a sink; others are DELIVERY_WAITS."""
SERVICE_FAULTS: Mapping[str, Fault] = {"halted": Fault.SERVICE_ENDED, "refused": Fault.CONFIGURATION}
"""By the state of the daemon; others are SERVICE_WAITS."""
