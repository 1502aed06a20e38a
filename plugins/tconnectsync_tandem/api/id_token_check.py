"""A script that checks an id_token: signed by a listed key, and issued by the right service.

It runs in a subprocess (started by :mod:`tconnectsync_tandem.api.id_token`), so that PyJWT and cryptography (ten
megabytes) do not stay in the daemon's memory. It imports nothing of this project, to start fast.

The input is JSON on stdin: ``path`` (where to find modules), ``token``, ``keys`` (of the JWKS) and ``issuer``.
The result is JSON on stdout: ``{"claims": {...}}``, or ``{"refused": "issuer" | "key" | "signature", "why": ...}``.
"""

from __future__ import annotations

import json
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
    """Check the token on stdin. Ends only if its caller kills it: a signal to the whole group does not."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    question = json.load(sys.stdin)
    sys.path[:] = question.pop("path")
    json.dump(verdict(**question), sys.stdout)


if __name__ == "__main__":
    main()
