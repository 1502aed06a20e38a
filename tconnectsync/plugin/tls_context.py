"""Keeps TLS contexts for the next connections: to read the certificates of all authorities takes 20 ms of processor time."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context, resolve_cert_reqs

MOST_KEPT = 4
"""More are needed only while more connections are being opened at once. Each takes most of a megabyte."""


class _Authorities(NamedTuple):
    """A context, and the file with its authorities as it was when it was read."""

    origin: tuple[str, int, int, int]
    context: ssl.SSLContext


_free: list[_Authorities] = []
"""Those with which no connection is being opened now: meanwhile urllib3 changes a context, so that no two threads may use one."""


@contextlib.contextmanager
def known_authorities(connection: HTTPConnection) -> Iterator[None]:
    """Let ``connection`` be opened in this block with a context that was used before, if there is one.

    If it does not check the server's certificate, has a proxy, or its authorities are a folder, then nothing changes.
    """
    found = _authorities_for(connection) if isinstance(connection, HTTPSConnection) else None
    if found is None or not isinstance(connection, HTTPSConnection):
        yield
        return
    file = connection.ca_certs
    connection.ssl_context, connection.ca_certs = found.context, None  # with a file, urllib3 would read it again
    try:
        yield
    finally:
        connection.ssl_context, connection.ca_certs = None, file
        if len(_free) < MOST_KEPT:
            _free.append(found)


def _authorities_for(connection: HTTPSConnection) -> _Authorities | None:
    file = connection.ca_certs
    is_checked = resolve_cert_reqs(connection.cert_reqs) == ssl.CERT_REQUIRED
    if not file or not is_checked or connection.proxy is not None or connection.ssl_context is not None:
        return None
    with contextlib.suppress(OSError):  # urllib3 reads the file too, and says what is wrong
        state = Path(file).stat()
        origin = (file, state.st_ino, state.st_mtime_ns, state.st_size)
        with contextlib.suppress(IndexError):  # none is left
            while (found := _free.pop()).origin != origin:
                pass  # the file has changed
            return found
        context = create_urllib3_context()
        context.load_verify_locations(cafile=file)
        return _Authorities(origin, context)
    return None
