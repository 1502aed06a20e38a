"""Seals what only the workers may read: configurations, with their secrets, and snapshots. The key is a file."""

from __future__ import annotations

import errno
import hashlib
import os
import shlex
from collections.abc import Callable
from pathlib import Path

import click
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

_LABEL = "tconnectsync-fleet"


class KeyProblem(click.ClickException):
    """The key's file is missing or wrong."""

    exit_code = 2


def create_key(path: Path) -> None:
    """Create a key: ``path`` for the workers, ``path.pub`` for whoever adds people.

    Errors: OSError. If one of the files exists, nothing is written.
    """
    for where in (path, public_path(path)):
        if os.path.lexists(where):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(where))
    key = PrivateKey.generate()
    for where, mode, word, content in (
        (path, 0o600, "secret", bytes(key)),
        (public_path(path), 0o644, "public", bytes(key.public_key)),
    ):
        with os.fdopen(os.open(where, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="ascii") as file:
            file.write(f"{_LABEL} {word} {content.hex()}\n")


def public_path(path: Path) -> Path:
    """Return the path of the public half."""
    return path.with_name(f"{path.name}.pub")


def sealer(path: Path) -> SealedBox[PublicKey]:
    """Return what can seal: the public half, or the whole key. Errors: KeyProblem."""
    return SealedBox(_public_key(path))


def hasher(path: Path) -> Callable[[str], str]:
    """Return a keyed hash of texts, the same for everybody with the public half. Errors: KeyProblem."""
    key = bytes(_public_key(path))
    return lambda text: hashlib.blake2b(text.encode(), key=key, digest_size=16).hexdigest()


def _public_key(path: Path) -> PublicKey:
    public = path if path.suffix == ".pub" else public_path(path)
    if public.exists():
        return PublicKey(_read(public, "public"))
    return PrivateKey(_read(path, "secret")).public_key


def opener(path: Path) -> SealedBox[PrivateKey]:
    """Return what can open what was sealed. Errors: KeyProblem."""
    return SealedBox(PrivateKey(_read(path, "secret")))


def opened(box: SealedBox[PrivateKey], sealed: bytes) -> bytes | None:
    """Return the content; None if it was sealed for another key, or changed."""
    try:
        return box.decrypt(sealed)
    except CryptoError:
        return None


def _read(path: Path, word: str) -> bytes:
    try:
        label, kind, content = path.read_text(encoding="ascii").split()
        found = bytes.fromhex(content)
    except OSError as error:
        raise KeyProblem(
            f"{path}: cannot be read ({error.strerror}). Copy the fleet's key to this computer. Only for a new fleet, create one:"
            f" `tconnectsync fleet key {shlex.quote(str(path))}`."
        ) from error
    except ValueError as error:
        raise KeyProblem(f"{path} is not a fleet key. Create one: `tconnectsync fleet key FILE`.") from error
    if (label, kind, len(found)) != (_LABEL, word, 32):
        raise KeyProblem(f"{path} is not the {word} half of a fleet key.")
    return found
