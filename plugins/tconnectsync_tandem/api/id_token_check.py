"""A script: whether a listed key signed an id_token, and whether the right service issued it.

It runs in a process of its own (:mod:`tconnectsync_tandem.id_token` starts it), so that what the check needs (PyJWT and
cryptography, ten megabytes) is not in the daemon's memory for years. It imports nothing of this project, to begin soon.

One question comes as JSON on stdin: ``path`` (where to look for modules), ``token``, ``keys`` (of the JWKS) and ``issuer``.
The verdict goes as JSON to stdout: ``{"claims": {...}}``, or ``{"refused": "issuer" | "key" | "signature", "why": ...}``.
"""

from __future__ import annotations

import json
import signal
import sys
from typing import Any


def verdict(token: str, keys: list[Any], issuer: str) -> dict[str, Any]:
    """The claims, if signature and issuer hold; times and audience are the caller's to judge, by a clock that was passed in."""
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
    """Answer the question on stdin. Its asker ends this process where it has to: a signal to the whole group does not."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    question = json.load(sys.stdin)
    sys.path[:] = question.pop("path")
    json.dump(verdict(**question), sys.stdout)


if __name__ == "__main__":
    main()
