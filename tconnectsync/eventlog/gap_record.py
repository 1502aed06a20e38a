"""Makes the gap record that replaces lost records, with a checksum that fits the lines after it."""

from __future__ import annotations

from datetime import datetime
from zlib import crc32

from tconnectsync.eventlog.codec import Codec
from tconnectsync.eventlog.framing import frame
from tconnectsync.eventlog.gap_times import Times
from tconnectsync.events import Event, LogGap

SOURCE = "log"
"""The source name of records that the log writes about itself."""

_FREE_DIGITS = 32  # one for each bit of the checksum


def gap_event(
    log_id: str,
    first: int,
    last: int,
    *,
    side_file: str,
    now: datetime,
    times: Times | None = None,
) -> Event:
    """Return the gap event for missing positions ``first`` to ``last``; its own position is ``first``. ``now`` is UTC."""
    first_time, last_time = (None, None) if times is None else times
    return Event(
        id=f"log:{log_id}:gap:{first}",
        kind="log.gap",
        pump="",
        group=None,
        seq=None,
        pump_time=now.replace(tzinfo=None),
        source=SOURCE,
        received_at=now,
        body=LogGap(
            first_position=first,
            last_position=last,
            side_file=side_file,
            first_time=first_time,
            last_time=last_time,
        ),
    )


def gap_line(event: Event, codec: Codec, chain: int, next_chain: int) -> bytes:
    """Return the line of a gap ``event`` after a line with checksum ``chain``, with ``next_chain`` as its own checksum.

    A repair must not change the lines after the gap, and they continue ``next_chain``. The record ends in 32 digits ``mend``,
    each 0 or 1, which differ in one bit. A CRC is linear in every bit, and the effects of 32 consecutive bytes are independent
    of each other. So there is exactly one solution for every checksum.
    """
    draft = codec.draft(event)
    draft.entry.pos = event.body.first_position
    head = codec.record(draft)[:-1] + b',"mend":"'

    def record_with(digits: int) -> bytes:
        return head + f"{digits:0{_FREE_DIGITS}b}".encode() + b'"}'

    base = crc32(record_with(0), chain)
    basis: dict[int, tuple[int, int]] = {}  # highest bit: (effect, digits)
    for bit in range(_FREE_DIGITS):
        effect, digits = crc32(record_with(1 << bit), chain) ^ base, 1 << bit
        while effect and (known := basis.get(effect.bit_length())):
            effect, digits = effect ^ known[0], digits ^ known[1]
        basis[effect.bit_length()] = (effect, digits)
    wanted, digits = base ^ next_chain, 0
    while wanted:
        effect, part = basis[wanted.bit_length()]
        wanted, digits = wanted ^ effect, digits ^ part
    line, crc = frame(record_with(digits), chain)
    assert crc == next_chain  # noqa: S101 - the algebra above
    return line
