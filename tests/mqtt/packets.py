"""What a client sends to a broker, packet by packet: for brokers that do what no real one does."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

CONNECT, PUBLISH, SUBSCRIBE = 1, 3, 8


def packets(connection: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Type and content of each packet until the client closes."""
    with connection.makefile("rb") as stream:
        while head := stream.read(1):
            yield head[0] >> 4, stream.read(_length(stream.read))


def topic(publish: bytes) -> str:
    return publish[2 : _end_of_topic(publish)].decode()


def acknowledgement(publish: bytes) -> bytes:
    end = _end_of_topic(publish)
    return b"\x40\x02" + publish[end : end + 2]


def _end_of_topic(publish: bytes) -> int:
    return 2 + int.from_bytes(publish[:2], "big")


def _length(read: Callable[[int], bytes]) -> int:
    found, shift = 0, 0
    while byte := read(1):
        found |= (byte[0] & 127) << shift
        shift += 7
        if byte[0] < 128:
            break
    return found
