"""Requests to the daemon through its socket, and its words to systemd."""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tconnectsync.daemon.control_socket import LONGEST_REQUEST, MOST_ASKERS, ControlServer, ask, read_request
from tconnectsync.daemon.systemd import Notifier
from tconnectsync.errors import CredentialsRefused, LogCorrupt, Retryable
from tconnectsync.jobs.messages import Job, Progress, Request, Result


def job(request: Request) -> Job:
    yield Progress(message=f"doing {request.command}", done=1, total=2)
    yield Result(status=6, lines=(str(request.args["sink"]), "ü"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ControlServer]:
    """A control socket that answers with :func:`job`."""
    server = ControlServer(tmp_path / "control.sock", job)
    server.start()
    yield server
    server.close()


@contextlib.contextmanager
def serving(server: ControlServer) -> Iterator[None]:
    """While the block runs, the socket's requests are worked on."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            server.wait(0.02)
            server.step()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the socket: Python's own does not."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(
        "tconnectsync.daemon.control_socket.socket.socket", lambda *_: SimpleNamespace(bind=refuse, close=lambda: None)
    )
    with pytest.raises(PermissionError) as told:
        ControlServer(tmp_path / "control.sock", job).start()
    assert told.value.filename == str(tmp_path / "control.sock")


def test_request_steps_and_result(server: ControlServer) -> None:
    """A request is worked on step by step, and its result comes back."""
    with serving(server):
        steps = list(ask(server.path, Request(command="replay", args={"sink": "x"})))
    assert steps == [Progress(message="doing replay", done=1, total=2), Result(status=6, lines=("x", "ü"))]


def test_socket_is_private(server: ControlServer) -> None:
    """Only the owner may open the socket."""
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o600


def test_request_nonsense(server: ControlServer) -> None:
    """Nonsense is answered and does no harm."""
    with serving(server):
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(5)
            channel.connect(str(server.path))
            channel.sendall(b"[1,2\n")
            assert b'"status": 2' in channel.recv(4096)
        assert isinstance(list(ask(server.path, Request(command="sync", args={"sink": 1})))[-1], Result)


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000 + b"\n",
        b'{"command": "sync", "args": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}\n",
        b'{"command": "sync", "args": {"ids": ' + b"[" * 20 + b"]" * 20 + b"}}\n",
        b'{"command": [[["sync"]]]}\n',
        b'{"command": "sync", "args": [["a", 1]]}\n',
        b'{"args": {}}\n',
        b"\xff\xfe\n",
        b"x" * (LONGEST_REQUEST + 1),
        b'{"command": "' + b"x" * LONGEST_REQUEST + b'"}\n',
    ],
    ids=["lists", "tables", "deep ids", "command", "args", "no command", "no text", "no end", "long"],
)
def test_request_too_deep_or_long(server: ControlServer, line: bytes) -> None:
    """A request that is nested too deep or too long is refused, and the daemon continues."""
    with serving(server):
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(5)
            channel.connect(str(server.path))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                channel.sendall(line)
            assert b'"status": 2' in channel.recv(4096)
        assert list(ask(server.path, Request(command="sync", args={"sink": 1})))[-1] == Result(
            status=6, lines=("1", "ü")
        )


def test_request_with_many_ids() -> None:
    """The ids of many dead letters fit into one request."""
    ids = [f"{number:040}" for number in range(10_000)]
    line = json.dumps({"command": "dead_letters_drop", "args": {"sink": "x", "ids": ids}, "mark": "m"}).encode()
    assert read_request(line) == Request(command="dead_letters_drop", args={"sink": "x", "ids": ids}, config_id="m")


def test_silent_clients(server: ControlServer) -> None:
    """Clients that connect and say nothing lock nobody out."""
    with contextlib.ExitStack() as stack:
        for _ in range(MOST_ASKERS + 3):
            channel = stack.enter_context(socket.socket(socket.AF_UNIX))
            channel.connect(str(server.path))
            server.wait(1)
        assert len(server._open) == MOST_ASKERS
        with serving(server):
            assert isinstance(list(ask(server.path, Request(command="sync", args={"sink": 1})))[-1], Result)


def test_client_disconnects(tmp_path: Path) -> None:
    """A client that disconnects does not stop the job that it started."""
    done = []

    def long(request: Request) -> Job:
        for number in range(5):
            done.append(number)
            yield Progress(message="on")
        yield Result(status=0)

    server = ControlServer(tmp_path / "control.sock", long)
    server.start()
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(str(server.path))
        channel.sendall(b'{"command": "sync"}\n')
        server.wait(1)
        server.wait(1)
    for _ in range(10):
        server.wait(0.01)
        server.step()
    assert done == [0, 1, 2, 3, 4]
    assert not server.busy
    server.close()


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (KeyError("first"), 1, "KeyError"),
        (LogCorrupt("line 3 is corrupt", path="p", line=3), 7, "log repair"),
        (CredentialsRefused("no", remedy="Ask."), 4, "Ask."),
        (Retryable("busy"), 3, "busy"),
    ],
)
def test_request_raises(tmp_path: Path, error: Exception, status: int, words: str) -> None:
    """A request that fails is answered and ends nothing else."""

    def failing(request: Request) -> Job:
        yield Progress(message="on")
        raise error

    server = ControlServer(tmp_path / "control.sock", failing)
    server.start()
    with serving(server):
        *_, last = ask(server.path, Request(command="sync"))
    assert isinstance(last, Result)
    assert last.status == status
    assert words in " ".join(last.lines)
    assert not server.busy
    server.close()


def test_client_does_not_read(tmp_path: Path) -> None:
    """A client that does not read its answer blocks nobody."""

    def talkative(request: Request) -> Job:
        for _ in range(40):
            yield Progress(message="x" * 100_000)
        yield Result(status=0)

    server = ControlServer(tmp_path / "control.sock", talkative)
    server.start()
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(str(server.path))
        channel.sendall(b'{"command": "sync"}\n')
        server.wait(1)
        server.wait(1)
        begin = time.monotonic()
        for _ in range(41):
            server.step()
        assert time.monotonic() - begin < 5
        assert not server.busy
    server.close()


def test_answer_cut_off(tmp_path: Path) -> None:
    """If the daemon dies in the middle of an answer, that is reported."""
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def die() -> None:
            channel, _ = listener.accept()
            with channel:
                channel.recv(4096)
                channel.sendall(b'{"progress": "on", "done": 1, "total": 2}\n{"status')

        thread = threading.Thread(target=die)
        thread.start()
        steps = list(ask(path, Request(command="sync")))
        thread.join()
    assert isinstance(steps[-1], Result)
    assert steps[-1].status == 8


def test_socket_in_deep_folder(tmp_path: Path) -> None:
    """A data folder with a long path is no obstacle for the socket."""
    folder = tmp_path / ("a" * 60) / ("b" * 60)
    folder.mkdir(parents=True)
    server = ControlServer(folder / "control.sock", job)
    server.start()
    with serving(server):
        assert isinstance(list(ask(server.path, Request(command="x", args={"sink": 1})))[-1], Result)
    server.close()


def test_systemd_notifications(tmp_path: Path) -> None:
    """The daemon reports to systemd that it is ready, its status, and that it is alive."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(5)
        notifier = Notifier.from_environment({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000"})
        notifier.ready()
        notifier.alive()
        notifier.status("all is well")
        notifier.status("all is well")
        notifier.stopping()
        heard = [systemd.recv(4096).decode() for _ in range(4)]
    assert heard == ["READY=1", "WATCHDOG=1", "STATUS=all is well", "STOPPING=1"]
    assert notifier.watchdog_s == 3.0


@pytest.mark.timeout(60)
def test_systemd_does_not_read(tmp_path: Path) -> None:
    """A systemd that does not read blocks nothing and gets the status later."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        notifier = Notifier.from_environment({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000"})
        heard = 0
        for _ in range(2000):
            notifier.alive()
        notifier.status("backing off")
        with contextlib.suppress(BlockingIOError):
            while systemd.recv(4096) == b"WATCHDOG=1":
                heard += 1
        assert 0 < heard < 2000
        notifier.status("backing off")
        assert systemd.recv(4096) == b"STATUS=backing off"


def test_systemd_status_injection(tmp_path: Path) -> None:
    """Text from outside cannot add a second message to systemd."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(5)
        notifier = Notifier.from_environment({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        notifier.status("refused\nMAINPID=1\x1b[31m")
        assert systemd.recv(4096) == rb"STATUS=refused\nMAINPID=1\x1b[31m"


def test_systemd_absent() -> None:
    """Without systemd nothing is sent."""
    notifier = Notifier.from_environment({})
    notifier.ready()
    notifier.alive()
    assert notifier.watchdog_s is None
