"""The states of a document in the outbox: who wants it, what is known of its content, what the receiver has."""

from __future__ import annotations

from enum import Enum

RUNNING = -1
"""The value of the column ``interval`` for a document that is not finished. The numbers of intervals begin at 0."""


class OwnershipState(str, Enum):
    """Who wants a document to be at the receiver.

    found -> claimed or withdrawn; claimed -> unclaimed -> claimed, protected or withdrawn; protected -> unclaimed;
    withdrawn -> claimed.
    """

    CLAIMED = "claimed"
    """A fold makes it."""
    UNCLAIMED = "unclaimed"
    """Its interval no longer makes it. Another interval may, until the fold is through."""
    PROTECTED = "protected"
    """No interval makes it, but the log has a gap at its time: it stays until the gap is closed."""
    FOUND = "found"
    """The receiver had it, and no fold made it yet."""
    WITHDRAWN = "withdrawn"
    """It must be deleted at the receiver."""


class DocumentState(str, Enum):
    """What is known of the desired content (the column ``content_state``)."""

    KNOWN = "known"
    """``desired_hash`` is its hash."""
    UNKNOWN = "unknown"
    """Folding its interval again makes it, or nothing is desired."""
    INVALID = "invalid"
    """It has an impossible value and is never sent."""


class DeliveryState(str, Enum):
    """What the receiver accepted (the column ``delivery_state``)."""

    NEVER = "never"
    """Nothing."""
    DELIVERED = "delivered"
    """The content with ``delivered_hash``."""
    STALE = "stale"
    """Some content that must be replaced: an attempt ended without an answer, or the user asked for a replay."""
    READ_BACK = "read_back"
    """Content that was read back and not compared yet."""
