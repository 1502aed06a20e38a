"""For plugins that speak another protocol than HTTP: which certificates they trust, and why a connection could not be opened."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tconnectsync.plugin.http_failures import HttpFailed, HttpFailure

_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_PROBE_S = 2.0


def tls_context(*, verify: bool = True) -> ssl.SSLContext:
    """Return a client's TLS context. It trusts the authorities of this computer and those of ``REQUESTS_CA_BUNDLE``.

    ``verify`` False: it accepts any certificate. Errors: OSError if that file cannot be read.
    """
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    bundle = next((os.environ[name] for name in _BUNDLES if os.environ.get(name)), None)
    if bundle is not None:
        file, folder = (None, bundle) if Path(bundle).is_dir() else (bundle, None)
        try:
            context.load_verify_locations(file, folder)
        except OSError as error:
            raise OSError("the CA certificate bundle cannot be read") from error
    return context


def speaks_tls(host: str, port: int) -> bool:
    """Whether a server answers a TLS handshake, which sends no data."""
    try:
        with (
            socket.create_connection((host, port), _PROBE_S) as plain,
            tls_context(verify=False).wrap_socket(plain),
        ):
            return True
    except (OSError, ValueError):
        return False


def connection_failed(
    error: OSError | ValueError,
    *,
    where: str,
    host: str,
    port: int,
    connect_s: float,
    now: datetime,
    other_words: Mapping[HttpFailure, tuple[str, str]],
) -> HttpFailed:
    """Return the error to raise for a connection that could not be opened, with the words that HTTP has for it.

    ``where`` begins the message. ``other_words``: message and remedy of reasons for which this protocol has its own.
    """
    from tconnectsync.plugin.http_failures import FAILURE_TEXTS, HttpFailed, HttpFailure, reason_of

    reason = HttpFailure.CONNECT_TIMEOUT if isinstance(error, TimeoutError) else reason_of(error)
    words = FAILURE_TEXTS[reason]
    message, remedy = other_words.get(reason, (words.message, words.remedy))
    names = {
        "host": host, "port": port, "what": "a connection", "detail": f"port {port}", "now": f"{now:%Y-%m-%d %H:%M} UTC",
        "connect_s": connect_s, "silence_s": connect_s, "whole_s": connect_s,
    }  # fmt: skip
    return HttpFailed(f"{where} {message.format(**names)}", reason=reason, remedy=remedy.format(**names))
