"""Typed reasons for failed HTTP requests, with their messages. The library's own text is not used: it may contain a password."""

from __future__ import annotations

import enum
import errno
import socket
import ssl
from collections.abc import Iterator, Mapping

import msgspec
import urllib3

from tconnectsync.errors import Retryable
from tconnectsync.plugin.http_library import requests
from tconnectsync.storage_errors import TOO_MANY_OPEN


class HttpFailure(enum.Enum):
    """Why there is no complete answer."""

    UNKNOWN_NAME = "unknown name"
    LOOKUP_FAILED = "lookup failed"
    REFUSED = "refused"
    NO_ROUTE = "no route"
    CONNECT_TIMEOUT = "connect timeout"
    TOO_MANY_OPEN = "too many open files"
    NO_CONNECTION = "no connection"
    PROXY = "proxy"
    NO_SOCKS = "no socks"
    CERTIFICATE_EXPIRED = "certificate expired"
    CERTIFICATE_NOT_YET_VALID = "certificate not yet valid"
    CERTIFICATE_OTHER_HOST = "certificate of another host"
    CERTIFICATE_UNKNOWN_AUTHORITY = "certificate of an unknown authority"
    CERTIFICATE_BAD = "bad certificate"
    CA_BUNDLE = "ca bundle"
    PLAIN_PORT = "https at a plain port"
    TLS_PORT = "http at a tls port"
    TLS_BROKEN = "tls broken"
    BAD_ADDRESS = "bad address"
    BAD_HEADER = "bad header"
    SILENT = "silent"
    TOO_SLOW = "too slow"
    TOO_LARGE = "too large"
    UNREADABLE = "unreadable"
    CUT_OFF = "cut off"


class HttpFailed(Retryable):
    """There is no complete answer. ``reason`` is the :class:`HttpFailure`; ``in_doubt``: the server may have made a change."""

    def __init__(self, message: str, *, reason: HttpFailure, in_doubt: bool = False, remedy: str | None = None) -> None:
        super().__init__(message, in_doubt=in_doubt, remedy=remedy)
        self.reason = reason

    @property
    def broke_off(self) -> bool:
        """Whether the server was reached and the answer is missing or incomplete: a smaller request may help."""
        return self.reason in _BROKE_OFF


class FailureText(msgspec.Struct, frozen=True):
    """``message`` and ``remedy`` may name {host}, {what}, {detail}, {port}, {now}, {connect_s}, {silence_s} and {whole_s}."""

    message: str
    remedy: str
    in_doubt: bool = False
    """Whether the request may have reached the server."""


_AGAIN = "Nothing to do: the daemon retries."
_BUNDLE = (
    "If your own certificate authority signed it, put its certificate into a PEM file and set REQUESTS_CA_BUNDLE to the file's"
    " path in the environment of tconnectsync (docs/user/network.md)."
)

FAILURE_TEXTS: Mapping[HttpFailure, FailureText] = {
    HttpFailure.UNKNOWN_NAME: FailureText(
        "cannot be reached: no connection, because no computer has this name (DNS)",
        "Check the spelling of the address. If it is right: is this computer online?",
    ),
    HttpFailure.LOOKUP_FAILED: FailureText(
        "cannot be reached: no connection, because its name cannot be looked up (DNS does not answer)",
        "Is this computer online? Check its network and its DNS server. The daemon retries.",
    ),
    HttpFailure.REFUSED: FailureText(
        "cannot be reached: no connection, because no program listens there (port {port} refuses it)",
        "Check that the server is running and that the port in its address is right. The daemon retries.",
    ),
    HttpFailure.NO_ROUTE: FailureText(
        "cannot be reached: no connection, because there is no route to it from this computer",
        "Check this computer's network, router or VPN. The daemon retries.",
    ),
    HttpFailure.CONNECT_TIMEOUT: FailureText(
        "cannot be reached: no connection within {connect_s:g} s",
        "Check that the server is running, that its address is right, and that no firewall blocks the connection. The daemon retries.",
    ),
    HttpFailure.TOO_MANY_OPEN: FailureText(
        "cannot be reached: no connection, because this computer can open no further file", TOO_MANY_OPEN
    ),
    HttpFailure.NO_CONNECTION: FailureText("cannot be reached: no connection", "Is this computer online?"),
    HttpFailure.PROXY: FailureText(
        "cannot be reached: the proxy on the way does not let the request through",
        "Check the variables HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY of the program's environment.",
    ),
    HttpFailure.NO_SOCKS: FailureText(
        "cannot be reached: the environment names a SOCKS proxy, and support for SOCKS is not installed",
        "Install PySocks into the program's environment (`python -m pip install PySocks`), or remove the SOCKS address from"
        " ALL_PROXY and HTTPS_PROXY.",
    ),
    HttpFailure.CERTIFICATE_EXPIRED: FailureText(
        "cannot be trusted: its certificate has expired (this computer's clock says {now})",
        "If the clock is wrong, set it: `timedatectl` shows whether it is synchronised. Otherwise renew the server's certificate.",
    ),
    HttpFailure.CERTIFICATE_NOT_YET_VALID: FailureText(
        "cannot be trusted: its certificate is not valid yet; this computer's clock says {now} and is probably behind",
        "Set this computer's clock: `timedatectl` shows whether it is synchronised.",
    ),
    HttpFailure.CERTIFICATE_OTHER_HOST: FailureText(
        "cannot be trusted: its certificate was issued for another host",
        "Use the host name that the certificate was issued for, or give the server a certificate for {host}.",
    ),
    HttpFailure.CERTIFICATE_UNKNOWN_AUTHORITY: FailureText(
        "cannot be trusted: this computer does not know the authority that signed its certificate", _BUNDLE
    ),
    HttpFailure.CERTIFICATE_BAD: FailureText(
        "cannot be trusted: its certificate is not valid ({detail})",
        "Check this computer's date, and that no proxy stands between it and the internet. " + _BUNDLE,
    ),
    HttpFailure.CA_BUNDLE: FailureText(
        "cannot be reached: the file with trusted certificates cannot be read",
        "Check the path in REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE: it must name a readable PEM file. Or unset the variable.",
    ),
    HttpFailure.PLAIN_PORT: FailureText(
        "cannot be reached: the address says https, but port {port} does not speak TLS",
        "Write http:// if the server has no TLS, or use the port on which it speaks TLS.",
    ),
    HttpFailure.TLS_PORT: FailureText(
        "cannot be reached: the address says http, but port {port} speaks TLS",
        "Write https:// instead of http:// in the address.",
    ),
    HttpFailure.TLS_BROKEN: FailureText(
        "broke the TLS connection during the request for {what}", _AGAIN, in_doubt=True
    ),
    HttpFailure.BAD_ADDRESS: FailureText(
        "cannot be reached: this is not a valid address", "Correct the address in the configuration."
    ),
    HttpFailure.BAD_HEADER: FailureText(
        "cannot be reached: {detail}", "Type or copy the secret or token again, without blanks and special characters."
    ),
    HttpFailure.SILENT: FailureText(
        "did not answer in time to the request for {what} (nothing within {silence_s:g} s)", _AGAIN, in_doubt=True
    ),
    HttpFailure.TOO_SLOW: FailureText(
        "did not answer in time to the request for {what} (not complete within {whole_s:g} s)", _AGAIN, in_doubt=True
    ),
    HttpFailure.TOO_LARGE: FailureText(
        "sent an answer to the request for {what} that is too large", _AGAIN, in_doubt=True
    ),
    HttpFailure.UNREADABLE: FailureText(
        "sent an incomplete answer to the request for {what} (it cannot be decompressed)", _AGAIN, in_doubt=True
    ),
    HttpFailure.CUT_OFF: FailureText(
        "broke the connection during the request for {what}: no answer, or an incomplete one", _AGAIN, in_doubt=True
    ),
}

_BROKE_OFF = frozenset(reason for reason, words in FAILURE_TEXTS.items() if words.in_doubt) - {HttpFailure.TLS_BROKEN}

# X509_V_ERR_* of OpenSSL
_CERTIFICATES: Mapping[int, HttpFailure] = {
    9: HttpFailure.CERTIFICATE_NOT_YET_VALID,
    10: HttpFailure.CERTIFICATE_EXPIRED,
    **dict.fromkeys((2, 18, 19, 20, 21), HttpFailure.CERTIFICATE_UNKNOWN_AUTHORITY),
    **dict.fromkeys((62, 64), HttpFailure.CERTIFICATE_OTHER_HOST),
}
_NO_TLS_THERE = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL"}
)
_NOT_CONNECTED: Mapping[int, HttpFailure] = {
    errno.ECONNREFUSED: HttpFailure.REFUSED,
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), HttpFailure.TOO_MANY_OPEN),
    **dict.fromkeys(
        (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL),
        HttpFailure.NO_ROUTE,
    ),
}


def reason_of(error: Exception) -> HttpFailure:
    """Return the reason of an error from requests, urllib3 or a socket. It uses only types, numbers and fixed words."""
    links = tuple(_links(error))
    if any(_is_of_proxy(link) for link in links):
        return HttpFailure.PROXY
    for link in links:
        found = _reason_of_link(link)
        if found is not None:
            return found
    return HttpFailure.BAD_ADDRESS if isinstance(error, ValueError) else HttpFailure.CUT_OFF


def _links(error: BaseException) -> Iterator[BaseException]:
    """Return the chain of errors, the innermost first, because it has the most details."""
    chain: list[BaseException] = []
    next_one: object = error
    while isinstance(next_one, BaseException) and next_one not in chain:
        chain.append(next_one)
        inner = [getattr(next_one, "reason", None), *next_one.args, next_one.__cause__, next_one.__context__]
        next_one = next((each for each in inner if isinstance(each, BaseException) and each not in chain), None)
    return reversed(chain)


def _is_of_proxy(link: BaseException) -> bool:
    kinds = (
        requests.exceptions.ProxyError,
        requests.exceptions.InvalidProxyURL,
        urllib3.exceptions.ProxyError,
        urllib3.exceptions.ProxySchemeUnknown,
    )
    return isinstance(link, kinds) or "Tunnel connection failed" in str(link)


def _reason_of_link(link: BaseException) -> HttpFailure | None:
    if isinstance(link, ssl.SSLCertVerificationError):
        return _CERTIFICATES.get(link.verify_code, HttpFailure.CERTIFICATE_BAD)
    if isinstance(link, ssl.SSLError):
        if link.library in ("X509", "PEM"):
            return HttpFailure.CA_BUNDLE
        return HttpFailure.PLAIN_PORT if link.reason in _NO_TLS_THERE else HttpFailure.TLS_BROKEN
    if isinstance(link, socket.gaierror):
        again = link.errno in (socket.EAI_AGAIN, socket.EAI_FAIL)
        return HttpFailure.LOOKUP_FAILED if again else HttpFailure.UNKNOWN_NAME
    if isinstance(link, OSError) and "CA certificate bundle" in str(link):
        return HttpFailure.CA_BUNDLE
    if isinstance(link, OSError) and link.errno in _NOT_CONNECTED:
        return _NOT_CONNECTED[link.errno or 0]
    if isinstance(link, UnicodeEncodeError) and link.encoding == "idna":  # a host's name, from Python 3.13 on
        return HttpFailure.BAD_ADDRESS
    for kinds, reason in _BY_TYPE:
        if isinstance(link, kinds):
            if reason is HttpFailure.NO_SOCKS and "SOCKS" not in str(link):
                continue
            return reason
    return None


_Kinds = tuple[type[BaseException], ...]
_BY_TYPE: tuple[tuple[_Kinds, HttpFailure], ...] = (
    ((requests.exceptions.InvalidSchema,), HttpFailure.NO_SOCKS),
    ((urllib3.exceptions.NewConnectionError,), HttpFailure.NO_CONNECTION),
    ((urllib3.exceptions.ConnectTimeoutError, requests.exceptions.ConnectTimeout), HttpFailure.CONNECT_TIMEOUT),
    ((urllib3.exceptions.ReadTimeoutError, requests.exceptions.Timeout), HttpFailure.SILENT),
    ((urllib3.exceptions.SSLError, requests.exceptions.SSLError), HttpFailure.TLS_BROKEN),
    ((urllib3.exceptions.DecodeError, requests.exceptions.ContentDecodingError), HttpFailure.UNREADABLE),
    ((requests.exceptions.InvalidHeader, UnicodeEncodeError), HttpFailure.BAD_HEADER),
    ((requests.exceptions.InvalidURL, urllib3.exceptions.LocationValueError, UnicodeError), HttpFailure.BAD_ADDRESS),
)
