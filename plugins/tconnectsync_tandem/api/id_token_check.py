"""A script that checks an id_token: signed by a listed key, and issued by the right service.

It runs in a subprocess (started by :mod:`tconnectsync_tandem.api.id_token`), so that PyJWT and cryptography (ten
megabytes) do not stay in the daemon's memory. It imports nothing of this project, to start fast.

The arguments are the folders where modules are found. The input is JSON on stdin: ``token``, ``keys`` (of the JWKS) and
``issuer``. It may come much later, or never if the login fails or its process is killed: then stdin ends without it. The result is
JSON on stdout: ``{"claims": {...}}``, or ``{"refused": "issuer" | "key" | "signature", "why": ...}``.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from typing import Any


def verdict(token: str, keys: list[Any], issuer: str) -> dict[str, Any]:
    """Return the claims if signature and issuer are valid. The caller checks times and audience with its own clock."""
    import jwt

    try:
        kid = jwt.get_unverified_header(token).get("kid")
        listed = (key for key in keys if isinstance(key, dict))
        key = next((key for key in listed if key.get("kid") == kid or (kid is None and len(keys) == 1)), None)
        if key is None:
            return {"refused": "key"}
        options: Any = {
            "verify_aud": False,
            "verify_exp": False,
            "verify_iat": False,
            "verify_nbf": False,
            "require": ["iss"],
        }
        signer = jwt.PyJWK(key, algorithm="RS256").key
        return {"claims": jwt.decode(token, signer, algorithms=["RS256"], issuer=issuer, options=options)}
    except jwt.InvalidIssuerError:
        return {"refused": "issuer"}
    except (jwt.PyJWTError, ValueError, KeyError, TypeError) as error:
        return {"refused": "signature", "why": type(error).__name__}


def main() -> None:
    """Check the token on stdin. Ends only with stdin or if its caller kills it: a signal to the whole group does not end it."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.path[:] = sys.argv[1:]
    importlib.import_module("jwt")  # takes long: so it is done before the question is there
    question = sys.stdin.read()
    if not question:
        return
    json.dump(verdict(**json.loads(question)), sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # at once: to take down the modules takes ten times as long as the check


if __name__ == "__main__":
    main()
