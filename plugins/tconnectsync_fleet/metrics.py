"""``/metrics`` for Prometheus and ``/healthz`` for a supervisor, of one worker. No names, no credentials."""

from __future__ import annotations

import sys
import threading
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import click

from tconnectsync_fleet.states import MEANINGS, NEW
from tconnectsync_fleet.worker import Worker

_LAST_PORT = 65_535
_HELP = {
    "people": ("gauge", "people that this worker has"),
    "people_in_fleet": ("gauge", "people in the fleet who are not paused, whichever worker has them"),
    "running": ("gauge", "turns that run now"),
    "failing": (
        "gauge",
        "people whose last turn broke off; not those whose login was refused, and not those whose source was not read",
    ),
    "people_never_read": ("gauge", "people that this worker has whose source was never read to its end"),
    "turns": ("counter", "turns since the start"),
    "requests": ("counter", "requests to vendors since the start"),
    "failed_turns": ("counter", "turns that broke off since the start"),
}


def metrics_text(worker: Worker) -> str:
    """Return the metrics in Prometheus' text format."""
    report = worker.report()
    lines: list[str] = []
    for name, (kind, words) in _HELP.items():
        full = f"tconnectsync_fleet_{name}" + ("_total" if kind == "counter" else "")
        lines += [f"# HELP {full} {words}", f"# TYPE {full} {kind}", f"{full} {report[name]}"]
    lines += [
        "# HELP tconnectsync_fleet_people_in_state people that this worker has, by the outcome of their last turn",
        "# TYPE tconnectsync_fleet_people_in_state gauge",
    ]
    for state in (NEW, *MEANINGS.values()):
        count = report["states"].get(state, 0)
        lines.append(f'tconnectsync_fleet_people_in_state{{state="{state}"}} {count}')
    if report["oldest_read"]:
        oldest = datetime.fromisoformat(report["oldest_read"]).timestamp()
        lines += [
            "# HELP tconnectsync_fleet_oldest_read_timestamp_seconds when the source that was read longest ago was read to its end",
            "# TYPE tconnectsync_fleet_oldest_read_timestamp_seconds gauge",
            f"tconnectsync_fleet_oldest_read_timestamp_seconds {oldest:.0f}",
        ]
    lines += [
        "# HELP tconnectsync_fleet_lease 1 while the worker has its lease",
        "# TYPE tconnectsync_fleet_lease gauge",
        f"tconnectsync_fleet_lease {int(worker.lease.holds())}",
    ]
    return "\n".join(lines) + "\n"


class _MetricsServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print the error's traceback, but nothing if the client has gone away."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def host_and_port(address: str) -> tuple[str, int]:
    """Return the parts of HOST:PORT. Errors: UsageError."""
    host, _, port = address.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) <= _LAST_PORT):
        raise click.UsageError(f"--metrics {address}: expected HOST:PORT, such as 127.0.0.1:9110.")
    return host or "127.0.0.1", int(port)


def serve_metrics(worker: Worker, address: str) -> int:
    """Serve at HOST:PORT from now on, and return the port. Errors: ClickException, UsageError."""
    place = host_and_port(address)

    class Handler(BaseHTTPRequestHandler):
        timeout = 10.0

        def do_GET(self) -> None:
            healthy = worker.is_healthy()
            found = {
                "/metrics": (200, metrics_text(worker) if healthy else "tconnectsync_fleet_lease 0\n"),
                "/healthz": (200 if healthy else 503, "ok\n" if healthy else "no lease\n"),
            }
            status, text = found.get(self.path, (404, "there is /metrics and /healthz\n"))
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    try:
        server = _MetricsServer(place, Handler)
    except OSError as error:
        raise click.ClickException(f"--metrics {address} cannot be used ({error}).") from error
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return int(server.server_address[1])
