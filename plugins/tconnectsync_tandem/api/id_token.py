"""Verify the id_token of a login: its signature, its issuer, and its validity now."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

from tconnectsync import Retryable
from tconnectsync_tandem.api.transport import login_changed

SignatureCheck: TypeAlias = Callable[[str, Sequence[Any], str], Mapping[str, Any]]
"""A check of an id_token with the JWKS keys and the issuer; the result is that of
:mod:`tconnectsync_tandem.api.id_token_check`.
"""

LEEWAY = timedelta(seconds=300)
LONGEST_CHECK_S = 60.0
"""Much longer than a slow computer with a cold disk needs."""

SCRIPT = Path(__file__).with_name("id_token_check.py")

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


def verify_in_subprocess(token: str, keys: Sequence[Any], issuer: str) -> Mapping[str, Any]:
    """Run the check in a subprocess, over a pipe. Errors: Retryable if it could not run."""
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
    except OSError as error:  # not enough memory or processes, or no interpreter
        raise _unchecked(f"the subprocess could not be started: {error.strerror}") from None
    if done.returncode != 0:
        ended = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
        raise _unchecked(f"its subprocess ended with {ended}")
    try:
        found = json.loads(done.stdout)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not found.keys() & {"claims", "refused"}:
        raise _unchecked("its subprocess returned no result")
    return found


def _unchecked(why: str) -> Retryable:
    return Retryable(f"the signature of Tandem's login could not be checked: {why}", remedy=_REMEDY)
