"""A server on 127.0.0.1 that does to each connection what a function says, in plain TCP or TLS; and certificates for it."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Talk = Callable[[socket.socket, threading.Event], None]


@contextlib.contextmanager
def serving(talk: Talk, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port. ``talk`` gets the connection, and an event that is set when the test is over."""
    over = threading.Event()
    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run(connection: socket.socket) -> None:
            with contextlib.suppress(OSError), connection:
                connection.settimeout(5)
                if context is None:
                    talk(connection, over)
                else:
                    with context.wrap_socket(connection, server_side=True) as secure:
                        talk(secure, over)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threads.append(threading.Thread(target=run, args=(connection,)))
                threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for thread in threads:
                thread.join()


def head(connection: socket.socket) -> bytes:
    """The request up to its empty line."""
    found = b""
    while b"\r\n\r\n" not in found:
        piece = connection.recv(65536)
        if not piece:
            return found
        found += piece
        if found[:1] == b"\x16":  # somebody speaks TLS
            return found
    return found


def request(connection: socket.socket) -> bytes:
    """The request up to its empty line. Its body is read too: a server that closes before that may break off its own answer."""
    found = head(connection)
    top, _, body = found.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", top)
    missing = int(length[1]) - len(body) if length else 0
    while missing > 0 and (piece := connection.recv(65536)):
        missing -= len(piece)
    return found


def saying(answer: bytes) -> Talk:
    """One request, this answer, and the connection is closed."""

    def talk(connection: socket.socket, over: threading.Event) -> None:
        request(connection)
        connection.sendall(answer)

    return talk


def dripping(first: bytes, drop: bytes) -> Talk:
    """``first`` at once, then ``drop`` every 20 ms until the client goes away."""

    def talk(connection: socket.socket, over: threading.Event) -> None:
        head(connection)
        connection.sendall(first)
        while not over.wait(0.02):
            connection.sendall(drop)

    return talk


def certificate(
    folder: Path,
    *,
    begins: timedelta = timedelta(days=-1),
    ends: timedelta = timedelta(days=1),
    host: str = "127.0.0.1",
) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS, and the file that makes a client trust it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private, public = folder / "key.pem", folder / "certificate.pem"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return context, public
