"""What a worker hands over besides the log: outboxes, the state of sources, tokens and notifications, sealed, in the object store."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import shutil
import tarfile
import threading
from pathlib import Path

from nacl.public import PrivateKey, PublicKey, SealedBox
from nats.js.errors import BadObjectMetaError, NotFoundError

from tconnectsync_fleet.sealing import opened
from tconnectsync_fleet.servers import SNAPSHOTS, Servers

log = logging.getLogger("tconnectsync.fleet")
KEPT = ("outbox", "state", "plugins", "alerts.json")
"""What the log cannot replace exactly in a data folder. Without it, documents are read back from the receiver, and problems are
reported again.
"""

QUICK_S = 20.0
"""How long a snapshot may take that can also be stored later."""
_LARGE_BYTES = 4_000_000
_LARGE_AT_ONCE = threading.Semaphore(2)
"""Of folders that are larger than that: a snapshot is in memory twice."""


def clear(folder: Path) -> None:
    """Delete what belongs to an earlier owner of the log."""
    for name in KEPT:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name, ignore_errors=True)
        else:
            (folder / name).unlink(missing_ok=True)


def store_snapshot(
    servers: Servers,
    person: str,
    folder: Path,
    box: SealedBox[PrivateKey] | SealedBox[PublicKey],
    timeout_s: float = 60.0,
) -> str:
    """Store a snapshot of a closed data folder, and return its checksum. Errors: Retryable, NatsError, OSError."""
    size = sum(path.stat().st_size for name in KEPT for path in (folder / name).rglob("*") if path.is_file())
    with _LARGE_AT_ONCE if size > _LARGE_BYTES else contextlib.nullcontext():
        sealed = box.encrypt(_packed(folder))
        bucket = servers.call(servers.js.object_store(SNAPSHOTS))
        servers.call(bucket.put(person, sealed), timeout_s)
        return hashlib.sha256(sealed).hexdigest()


def _packed(folder: Path) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz", compresslevel=1) as archive:
        for name in KEPT:
            if (folder / name).exists():
                archive.add(folder / name, name)
    return content.getvalue()


def restore_snapshot(servers: Servers, person: str, folder: Path, box: SealedBox[PrivateKey], checksum: str) -> bool:
    """Restore the snapshot with this checksum into a folder without outboxes. False: there is none that can be used.

    Errors: Retryable, NatsError, OSError; then try again, because without a snapshot everything is read back from the receiver.
    """
    try:
        sealed = servers.call(_stored(servers, person), 60.0)
    except (NotFoundError, BadObjectMetaError) as error:
        log.warning('snapshot_lost message="%s"', error)
        return False
    if hashlib.sha256(sealed).hexdigest() != checksum:
        return False
    content = opened(box, sealed)
    if content is None:
        return False
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        _extract(archive, folder)
    return True


async def _stored(servers: Servers, person: str) -> bytes:
    """Ask for each part: the object store's own reading waits without end for a consumer whose server has died."""
    bucket = await servers.js.object_store(SNAPSHOTS)
    info = await bucket.get_info(person)
    content, last = bytearray(), 0
    for _ in range(info.chunks or 0):
        part = await servers.js.get_msg(
            f"OBJ_{SNAPSHOTS}", seq=last + 1, subject=f"$O.{SNAPSHOTS}.C.{info.nuid}", next=True
        )
        content += part.data or b""
        last = part.seq or 0
    return bytes(content)


def _extract(archive: tarfile.TarFile, folder: Path) -> None:
    """Extract regular files and folders of :data:`KEPT` only."""
    for member in archive.getmembers():
        parts = Path(member.name).parts
        if not parts or parts[0] not in KEPT or ".." in parts or not (member.isfile() or member.isdir()):
            continue
        target = folder / member.name
        if member.isdir():
            target.mkdir(mode=0o700, parents=True, exist_ok=True)
            continue
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        source = archive.extractfile(member)
        if source is not None:
            target.write_bytes(source.read())
            target.chmod(0o600)
