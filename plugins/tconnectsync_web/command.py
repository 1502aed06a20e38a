"""The command ``tconnectsync web``."""

from __future__ import annotations

import logging
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any, Protocol

import attrs
import click

from tconnectsync import CheckResult
from tconnectsync_web.options import WebOptions
from tconnectsync_web.secret_gate import SecretGate
from tconnectsync_web.sync_cycles import Cycles, Outcome, at_intervals

log = logging.getLogger("tconnectsync.web")
PATIENCE_S = 10.0
"""A running cycle may take this long when the application ends. An interrupted cycle resumes at the next start."""
ROUTER = {"trusted_proxy": "*", "trusted_proxy_count": 1, "trusted_proxy_headers": "x-forwarded-for"}
"""Trust the last hop of X-Forwarded-For, which the router wrote. The caller may have forged the others.

Without this option the header is removed, so that nobody who reaches the port directly can pretend to be another
client.
"""


class WebConfig(Protocol):
    """The part of the configuration that is used here."""

    @property
    def sections(self) -> Mapping[str, Any]:
        """The loaded sections by name."""


class CommandContext(Protocol):
    """What the command line passes to a plugin's command as click's context object."""

    def config(self) -> WebConfig:
        """Load the configuration. Errors: ConfigError."""

    def request(self, command: str) -> tuple[int, tuple[str, ...]]:
        """Run a command, here or in the daemon. Returns exit status and lines of output."""

    def read_status(self) -> dict[str, Any]:
        """The status, as printed by ``status --json``."""

    def findings(self) -> Iterator[CheckResult]:
        """The findings of ``check``."""

    def redact(self, text: str) -> str:
        """Remove secrets from the text."""

    def serve(self) -> None:
        """Start to write log lines."""


class _NotSetUp(click.ClickException):
    """A setting is missing that a person must provide; restarting does not help."""

    exit_code = 2


@click.command(short_help="Run a web application that syncs on request.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0: all interfaces.")
@click.option(
    "--port",
    default=8080,
    show_default=True,
    envvar="PORT",
    show_envvar=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0: any free port.",
)
@click.option(
    "--behind-router",
    is_flag=True,
    help="All requests come through one router, which adds the caller to X-Forwarded-For.",
)
@click.pass_obj
def web(engine: CommandContext, host: str, port: int, behind_router: bool) -> int:
    """Sync on request over HTTP, for hosting services that only run web applications, and for uptime monitors.

    /run starts a sync cycle, /update waits for its end, / shows the status, /metrics is for Prometheus, /check_login
    tests the logins. Each needs the secret of [web] (TCONNECTSYNC_HEROKU_SECRET). /healthz needs none. It runs
    beside the daemon or instead of it.
    """
    engine.serve()
    options = engine.config().sections["web"]
    secret = b"" if options.secret is None else options.secret.reveal().encode()
    if not secret.strip():
        raise _NotSetUp(
            "the web application needs a secret, and none is configured; nothing was started. Set"
            " TCONNECTSYNC_HEROKU_SECRET, or `secret_file` under [web], to a long random text."
        )
    return _serve(engine, options, secret, host, port, ROUTER if behind_router else {})


def _serve(
    engine: CommandContext, options: WebOptions, secret: bytes, host: str, port: int, router: Mapping[str, Any]
) -> int:
    try:
        from tconnectsync_web.app import web_app
        from tconnectsync_web.server import web_server
    except ImportError as error:
        raise _NotSetUp(
            f"the package {error.name!r} is missing. In the folder of tconnectsync's source run:"
            f" {shlex.quote(sys.executable)} -m pip install '.[web]'"
        ) from error
    cycles = Cycles(lambda: _cycle(engine))
    app = web_app(
        gate=SecretGate(secret, time.monotonic),
        cycles=cycles,
        read_status=engine.read_status,
        read_findings=lambda: [_redacted(engine, finding) for finding in engine.findings()],
    )
    try:
        server = web_server(app, host=host, port=port, router=router)
    except OSError as error:
        raise click.ClickException(
            f"{host} port {port} cannot be used ({error.strerror}); try `tconnectsync web --port 0`"
        ) from error
    address = f"http://{host}:{server.effective_port}/" if hasattr(server, "effective_port") else host
    click.echo(f"Listening on {address}", err=True)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, _end)
    if options.interval_mins:
        interval = (cycles, options.interval_mins * 60.0, stop.wait)
        threading.Thread(target=at_intervals, args=interval, name="interval", daemon=True).start()
    try:
        server.run()
    finally:
        stop.set()
        server.close()
        running = cycles.running
        if running is not None:
            running.wait(PATIENCE_S)
    return 0


def _end(_number: int, _frame: FrameType | None) -> None:
    """Make the server end."""
    raise SystemExit(0)


def _cycle(engine: CommandContext) -> Outcome:
    """Run one ``tconnectsync sync``. An error becomes its outcome."""
    try:
        status, lines = engine.request("sync")
    except Exception as error:  # the border of the thread: the next cycle must run
        log.exception("cycle_failed")
        status, lines = 1, (f"the cycle failed unexpectedly ({type(error).__name__}); the log has the details",)
    outcome = Outcome(status=int(status), lines=tuple(engine.redact(line) for line in lines))
    if outcome.status:
        log.warning("cycle_ended status=%d %s", outcome.status, " ".join(outcome.lines))
    return outcome


def _redacted(engine: CommandContext, finding: CheckResult) -> CheckResult:
    return attrs.evolve(
        finding, what=engine.redact(finding.what), remedy=finding.remedy and engine.redact(finding.remedy)
    )
