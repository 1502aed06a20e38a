"""Real servers on this machine that take notifications: ntfy's HTTP interface, SMTP, and a monitor's pings."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message as Mail
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import attrs
from aiosmtpd.controller import Controller


@attrs.define
class HttpReceiver:
    """Keeps every request. ``status``: what it answers; ``silent``: it never answers."""

    status: int = 200
    silent: bool = False
    requests: list[tuple[str, str, bytes]] = attrs.field(factory=list)
    port: int = 0
    ended: threading.Event = attrs.field(factory=threading.Event)

    @property
    def ntfy(self) -> str:
        """The address for Apprise."""
        return f"ntfy://127.0.0.1:{self.port}/secret-topic-4711"

    @property
    def notifications(self) -> list[dict[str, Any]]:
        """What ntfy would show: topic, title and message."""
        return [json.loads(body) for method, _, body in self.requests if method == "POST" and body.startswith(b"{")]

    @property
    def pings(self) -> list[tuple[str, str]]:
        """Paths with their query, each with the text that was sent."""
        return [(path, body.decode()) for _, path, body in self.requests if not body.startswith(b"{")]


@contextlib.contextmanager
def http_receiver(**settings: Any) -> Iterator[HttpReceiver]:
    """Serve on a free port."""
    receiver = HttpReceiver(**settings)

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if receiver.silent:
                receiver.ended.wait(60)
                return
            parts = urlsplit(self.path)
            receiver.requests.append((self.command, parts.path + (f"?{parts.query}" if parts.query else ""), body))
            answer = b"{}"
            self.send_response(receiver.status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = answer  # noqa: N815 - their names in http.server

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.ended.set()
            server.shutdown()
            thread.join()


@attrs.define
class MailReceiver:
    """Keeps every mail. ``port`` is where SMTP is spoken."""

    mails: list[Mail] = attrs.field(factory=list)
    port: int = 0

    @property
    def address(self) -> str:
        """The address for Apprise."""
        return (
            f"mailto://example.org?smtp=127.0.0.1&port={self.port}&mode=insecure"
            "&from=pump@example.org&to=parent@example.org"
        )

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - its name in aiosmtpd
        self.mails.append(message_from_bytes(envelope.content))
        return "250 OK"


@contextlib.contextmanager
def mail_receiver() -> Iterator[MailReceiver]:
    """Serve SMTP on a free port."""
    import socket

    receiver = MailReceiver()
    with socket.create_server(("127.0.0.1", 0)) as free:
        receiver.port = free.getsockname()[1]
    controller = Controller(receiver, hostname="127.0.0.1", port=receiver.port)
    controller.start()
    try:
        yield receiver
    finally:
        controller.stop()
