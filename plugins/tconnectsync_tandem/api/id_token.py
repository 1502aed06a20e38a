"""Verify the id_token of a login: its signature, its issuer, and its validity now."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tconnectsync import Retryable
from tconnectsync_tandem.api.transport import login_changed

if TYPE_CHECKING:
    from subprocess import Popen

SignatureCheck: TypeAlias = Callable[[str, Sequence[Any], str], Mapping[str, Any]]
"""A check of an id_token with the JWKS keys and the issuer; the result is that of
:mod:`tconnectsync_tandem.api.id_token_check`.
"""

StartCheck: TypeAlias = Callable[[], AbstractContextManager[SignatureCheck]]
"""Prepares a check that will be needed in the block."""

LEEWAY = timedelta(seconds=300)
LONGEST_CHECK_S = 60.0
"""From the question to the result. Much longer than a slow computer with a cold disk needs."""
MOST_EARLY = 4
"""How many subprocesses may wait for their question: in a fleet, many logins may wait for Tandem, and each process takes 30 MB."""

SCRIPT = Path(__file__).with_name("id_token_check.py")

_early = threading.BoundedSemaphore(MOST_EARLY)
_REFUSED = {
    "issuer": "the id_token was not issued by Tandem's accounts service",
    "key": "the id_token is signed with a key that Tandem does not list",
}
_REMEDY = "Run `tconnectsync check`. If it fails again, check this computer's free memory, and reinstall tconnectsync."


def claims_of(found: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
    """The claims in a verdict, if signature, issuer and times hold. Errors: SourceChanged."""
    claims = found.get("claims")
    if not isinstance(claims, dict):
        why = f"the id_token's signature is invalid ({found.get('why')})"
        raise login_changed(_REFUSED.get(str(found.get("refused")), why))
    if time_of(claims, "exp", now) + LEEWAY < now or time_of(claims, "nbf", now) - LEEWAY > now:
        raise login_changed("the id_token is not valid at this time", "Check this computer's clock: `timedatectl`.")
    return claims


def time_of(claims: Mapping[str, Any], key: str, default: datetime) -> datetime:
    """Return a claim as a time; ``default`` if it is not one."""
    seconds = claims.get(key)
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < 10**11:
        return default
    return datetime.fromtimestamp(seconds, default.tzinfo)


@contextmanager
def check_in_subprocess() -> Iterator[SignatureCheck]:
    """Start a subprocess now, which imports what it needs while the login goes on. It ends with the block at the latest.

    The check raises Retryable if it could not run. If too many subprocesses wait already, it starts its own when it is needed.
    """
    if not _early.acquire(blocking=False):
        yield verify_in_subprocess
        return
    try:
        with _subprocess() as process:
            yield partial(_verify, process)
    finally:
        _early.release()


def verify_in_subprocess(token: str, keys: Sequence[Any], issuer: str) -> Mapping[str, Any]:
    """Check it in a subprocess that is started now. Errors: Retryable if the check could not run."""
    with _subprocess() as process:
        return _verify(process, token, keys, issuer)


@contextmanager
def _subprocess() -> Iterator[Popen[bytes] | OSError]:
    """A subprocess for one check, or why there is none: that matters only to a login that comes as far as its check."""
    process = _started()
    try:
        yield process
    finally:
        if not isinstance(process, OSError):
            process.kill()
            process.communicate()


def _started() -> Popen[bytes] | OSError:
    import subprocess

    command = [sys.executable, "-I", "-S", str(SCRIPT), *sys.path]
    try:
        return subprocess.Popen(  # noqa: S603 - this interpreter, and a file of this package
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except OSError as error:  # not enough memory or processes, or no interpreter
        return error


def _verify(process: Popen[bytes] | OSError, token: str, keys: Sequence[Any], issuer: str) -> Mapping[str, Any]:
    from subprocess import TimeoutExpired

    if isinstance(process, OSError):
        raise _unchecked(f"the subprocess could not be started: {process.strerror}")
    question = json.dumps({"token": token, "keys": keys, "issuer": issuer}).encode()
    try:
        answer, _ = process.communicate(question, LONGEST_CHECK_S)
    except TimeoutExpired:
        raise _unchecked(f"it took longer than {LONGEST_CHECK_S:.0f} s") from None
    if process.returncode != 0:
        ended = f"signal {-process.returncode}" if process.returncode < 0 else f"status {process.returncode}"
        raise _unchecked(f"its subprocess ended with {ended}")
    try:
        found = json.loads(answer)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not found.keys() & {"claims", "refused"}:
        raise _unchecked("its subprocess returned no result")
    return found


def _unchecked(why: str) -> Retryable:
    return Retryable(f"the signature of Tandem's login could not be checked: {why}", remedy=_REMEDY)
