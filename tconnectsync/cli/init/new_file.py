"""Writes a new configuration file: first a private draft, then the final name, never over an existing file by accident."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from tconnectsync.cli.invocation import Invocation
from tconnectsync.errors import MachineTrouble
from tconnectsync.storage_errors import disk_steps


@contextlib.contextmanager
def draft_beside(path: Path) -> Iterator[Path]:
    """Give the path of a draft in the folder of ``path``. At the end, delete the draft and the new folders that stayed empty."""
    made = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)
        for folder in made:
            with contextlib.suppress(OSError):  # not empty: it holds the new file
                folder.rmdir()


@contextlib.contextmanager
def all_or_nothing(command: str) -> Iterator[None]:
    """Say of a full or read-only disk that nothing was changed, and name the command to repeat. Errors: MachineTrouble."""
    try:
        yield
    except OSError as error:
        steps = disk_steps(error)
        if steps is None:
            raise
        where = f" {error.filename}" if error.filename else ""
        raise MachineTrouble(
            f"The disk cannot be used, so{where or ' the files'} cannot be written: {error.strerror}. Nothing was changed.",
            remedy=f"{steps} Then run `tconnectsync {command}` again.",
        ) from error


def write_draft(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)


def publish_draft(draft: Path, path: Path, *, force: bool) -> None:
    """Rename the draft to ``path``. Never replace an existing file unless ``force``."""
    try:
        if not force:
            os.link(draft, path)
            return
    except FileExistsError:
        raise click.UsageError(f"{path} exists already: use --force to overwrite it. Nothing was written.") from None
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            raise click.UsageError(
                f"{path} exists already: use --force to overwrite it. Nothing was written."
            ) from None
    draft.replace(path)


def service_hint(invocation: Invocation, draft: Path, path: Path) -> str:
    """Return how the service's user can read the file. With a secret in the file it must not."""
    from tconnectsync.config import config_file as configfile
    from tconnectsync.config.schema import has_secret

    if has_secret(configfile.read_file(draft), invocation.plugins(tolerant=True)):
        return (
            "Only its owner can read it, because it contains secrets. The service runs as another user and cannot read it. For "
            "the service, keep the secrets in files: --password-file, --api-secret-file (see docs/user/install-by-hand.md)."
        )
    system_file, name = configfile.SYSTEM_FILE, shlex.quote(str(path))
    in_place = path.parent == system_file.parent
    command = f"chmod 644 {name}" if in_place else f"install -D -m 644 {name} {system_file}"
    return f"Only its owner can read it. It contains no secrets. To let the service read it: sudo {command}"
