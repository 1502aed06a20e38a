"""The id_token of a login: who signed it, who issued it, and whether it is valid now."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

from tconnectsync import Retryable
from tconnectsync_tandem.api.transport import login_changed

Judge: TypeAlias = Callable[[str, Sequence[Any], str], Mapping[str, Any]]
"""Given an id_token, the keys of the JWKS document and the issuer: the verdict, see :mod:`tconnectsync_tandem.id_token_check`."""

LEEWAY = timedelta(seconds=300)
LONGEST_CHECK_S = 60.0
"""Far more than a slow machine with a cold disk needs."""

SCRIPT = Path(__file__).with_name("id_token_check.py")

_REFUSED = {
    "issuer": "the id_token was issued by someone else than Tandem's accounts service",
    "key": "the id_token is signed with a key that Tandem does not list",
}
_REMEDY = "Run `tconnectsync check`. If it stays, look at this computer's free memory, and install tconnectsync again."


def claims_of(found: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
    """The claims in a verdict, if signature, issuer and times hold. Errors: SourceChanged."""
    claims = found.get("claims")
    if not isinstance(claims, dict):
        why = f"the id_token's signature does not hold ({found.get('why')})"
        raise login_changed(_REFUSED.get(str(found.get("refused")), why))
    if time_of(claims, "exp", now) + LEEWAY < now or time_of(claims, "nbf", now) - LEEWAY > now:
        raise login_changed("the id_token is not valid now", "Check this computer's clock: `timedatectl`.")
    return claims


def time_of(claims: Mapping[str, Any], key: str, default: datetime) -> datetime:
    """A claim that is a time; ``default`` where it is none."""
    seconds = claims.get(key)
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < 10**11:
        return default
    return datetime.fromtimestamp(seconds, default.tzinfo)


def verify_in_subprocess(token: str, keys: Sequence[Any], issuer: str) -> Mapping[str, Any]:
    """The verdict, from a process of its own; the question goes there through a pipe. Errors: Retryable (it could not be had)."""
    import subprocess

    question = {"path": sys.path, "token": token, "keys": keys, "issuer": issuer}
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter, and a file of this package
            [sys.executable, "-I", str(SCRIPT)],
            input=json.dumps(question).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=LONGEST_CHECK_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _unchecked(f"it took longer than {LONGEST_CHECK_S:.0f} s") from None
    except OSError as error:  # no memory, no process left, or no interpreter
        raise _unchecked(f"no process for it could be started: {error.strerror}") from None
    if done.returncode != 0:
        ended = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
        raise _unchecked(f"its process ended with {ended}")
    try:
        found = json.loads(done.stdout)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not found.keys() & {"claims", "refused"}:
        raise _unchecked("its process gave no verdict")
    return found


def _unchecked(why: str) -> Retryable:
    return Retryable(f"the signature of Tandem's login could not be checked: {why}", remedy=_REMEDY)
