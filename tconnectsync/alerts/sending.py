"""Sends one notification to one address, in a subprocess with a deadline."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import threading
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import attrs

from tconnectsync.alerts.notification_text import HIDDEN, Notification
from tconnectsync.plugin.options import Secret
from tconnectsync.text.printable import one_line

SCRIPT = Path(__file__).with_name("apprise_process.py")
DEADLINE_S = 60.0
"""A notification takes a second or two; a Raspberry Pi needs some more to start the process."""
_SHORTENED = re.compile(r"\S+://\S*\.\.\.\S*")
"""An address as Apprise shows it: the first and last letters of each secret remain."""
_SHORTEST_PART = 4
_LONGEST_REASON = 200


class SendResult(str, Enum):
    """What came of an attempt; the words of the subprocess."""

    SENT = "sent"
    USABLE = "usable"
    """The address can be used; nothing was sent."""
    UNKNOWN = "unknown"
    """No service of Apprise has such an address."""
    MISSING = "missing"
    """The package is not installed."""
    FAILED = "failed"

    def __str__(self) -> str:
        return self.value


@attrs.frozen(kw_only=True)
class Attempt:
    """One attempt and, if it failed, why."""

    result: SendResult
    why: str = ""

    @property
    def words(self) -> str:
        """The failure in words, with what to do."""
        if self.result is SendResult.MISSING:
            return f"the package apprise is missing. In the folder of tconnectsync's source run: {install_command()}"
        if self.result is SendResult.UNKNOWN:
            why = f" ({self.why})" if self.why else ""
            return f"Apprise does not know this kind of address, or a part of it is missing{why}. See the table in docs/user/alerts.md."
        return self.why


def install_command() -> str:
    """Return the command that installs the package beside this program."""
    return f"{shlex.quote(sys.executable)} -m pip install '.[alerts]'"


def is_installed() -> bool:
    """Whether Apprise is installed. It is not imported."""
    return find_spec("apprise") is not None


def service_of(url: Secret) -> str:
    """Return how messages name an address: its kind alone, such as ``ntfy``."""
    return url.reveal().partition("://")[0].lower()


@attrs.define
class AppriseSender:
    """Sends notifications. :meth:`stop`, from another thread, ends an attempt that is under way."""

    deadline_s: float = DEADLINE_S
    _child: subprocess.Popen[bytes] | None = None
    _stopped: bool = False
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def send(self, url: Secret, message: Notification) -> Attempt:
        """Send it. Never raises for what the other side or the network does."""
        return self._ask(url, {"title": message.title, "body": message.body})

    def look_at(self, url: Secret) -> Attempt:
        """Whether the address can be used. Nothing is sent."""
        return self._ask(url, {})

    def stop(self) -> None:
        """End the attempt under way, and refuse new ones."""
        with self._lock:
            self._stopped = True
            if self._child is not None:
                self._child.kill()

    def _ask(self, url: Secret, words: dict[str, str]) -> Attempt:
        question = json.dumps({"path": sys.path, "url": url.reveal(), **words}).encode()
        with self._lock:
            if self._stopped:
                return Attempt(result=SendResult.FAILED, why="the daemon is being stopped")
            try:
                child = subprocess.Popen(  # noqa: S603 - this interpreter, and a file of this package
                    [sys.executable, "-I", str(SCRIPT)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
            except OSError as error:
                return Attempt(result=SendResult.FAILED, why=f"no process could be started: {error.strerror}")
            self._child = child
        try:
            found, _ = child.communicate(question, timeout=self.deadline_s)
        except subprocess.TimeoutExpired:
            return Attempt(result=SendResult.FAILED, why=f"no answer within {self.deadline_s:.0f} s")
        finally:
            with self._lock:
                self._child = None
            child.kill()
            child.communicate()
        return _attempt(found, url)


def _attempt(found: bytes, url: Secret) -> Attempt:
    try:
        answer = json.loads(found)
        result, why = SendResult(answer["result"]), str(answer.get("why") or "")
    except (ValueError, KeyError, TypeError):
        return Attempt(result=SendResult.FAILED, why="the process that sends it ended without a result")
    return Attempt(result=result, why=one_line(without_address(why, url))[:_LONGEST_REASON])


def without_address(text: str, url: Secret) -> str:
    """Return the text without the address and its parts: passwords, tokens, topics, hosts."""
    whole = url.reveal()
    try:
        parts = urlsplit(whole)
        pieces = [*_pieces(whole), parts.netloc, parts.path.strip("/"), parts.query]
    except ValueError:
        pieces = _pieces(whole)
    pieces += [unquote(piece) for piece in pieces]
    text = _SHORTENED.sub(HIDDEN, text)
    for piece in sorted({whole, *pieces}, key=len, reverse=True):
        if len(piece) >= _SHORTEST_PART:
            text = text.replace(piece, HIDDEN)
    return text


def _pieces(url: str) -> list[str]:
    return re.split(r"[/?&=@:#]", url.partition("://")[2])
