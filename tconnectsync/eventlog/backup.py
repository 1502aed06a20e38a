"""Backs up the event log to one file, and restores it.

A backup has the log's segments up to a durable line, the side files of repairs, and a manifest with checksums. The manifest is
written last, so a truncated backup has none. Some files are excluded on purpose:

- the outboxes: delivered documents are read back from the receiver, which is more reliable than an old outbox;
- the states of the sources: if a source counted as just read, documents newer than the backup would be deleted;
- secrets, login tokens and the configuration.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import IO

import attrs
import msgspec

import tconnectsync
from tconnectsync.clock import Clock
from tconnectsync.errors import MachineTrouble, RequestRefused
from tconnectsync.eventlog import FILE_NAME, Files, OsFiles, copy_of_log
from tconnectsync.eventlog.check import check_log
from tconnectsync.eventlog.index_build import Progress, no_progress
from tconnectsync.folder_owner import as_caller
from tconnectsync.text.durations import size_words

MANIFEST = "manifest.json"
FORMAT = 1
LOG = "log"
_OWN_NAMES = (LOG, "outbox", "state", "index.sqlite")
_TEMPORARY = ".restore-"
_NAME = re.compile(f"{LOG}/{FILE_NAME.pattern}")
_PIECE = 1 << 20
MAX_MANIFEST_BYTES = 16 << 20
"""The manifest of a century is about 3 MB. A larger one is an attack on the memory."""


class _BackupMember(msgspec.Struct, kw_only=True, frozen=True):
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, kw_only=True, frozen=True):
    """The content of a backup. ``log`` is the log's id, ``positions`` its last position; ``made_at`` is UTC."""

    format: int
    version: str
    log: str
    positions: int
    made_at: datetime
    files: Mapping[str, _BackupMember]


@attrs.frozen(kw_only=True)
class Backup:
    """A backup that was made or restored."""

    path: Path
    manifest: Manifest


# --- backup -------------------------------------------------------------------------------------------------------------


def back_up(
    data_dir: Path, target: Path, *, clock: Clock, files: Files | None = None, progress: Progress = no_progress
) -> Backup:
    """Write the log of ``data_dir`` to the file ``target``, or to a new file in the folder ``target``. Needs no lock.

    Errors: LogCorrupt (repair the log first), RequestRefused, MachineTrouble. After an error no file is left.
    """
    now = clock.now()
    copy = copy_of_log(data_dir, files)
    if copy is None:
        raise RequestRefused(
            f"There is no log in {data_dir} yet: nothing to back up.", remedy="Run `tconnectsync sync` first."
        )
    with as_caller():
        path = target / f"tconnectsync-{copy.log_id[:8]}-{now:%Y%m%dT%H%M%SZ}.tar.gz" if target.is_dir() else target
        is_there = path.exists()
    if is_there:
        raise RequestRefused(
            f"{path} exists already. Nothing was written.",
            remedy="Give another file, or a folder: then a new name is used.",
        )
    temporary = path.with_name(path.name + ".tmp")
    found: dict[str, _BackupMember] = {}
    try:
        with as_caller():
            temporary.unlink(missing_ok=True)  # of a backup that was killed
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w:gz", compresslevel=3, format=tarfile.PAX_FORMAT) as archive:
                for name, content in copy.contents():
                    progress(len(found), copy.count)
                    found[f"{LOG}/{name}"] = _BackupMember(
                        bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
                    )
                    _add(archive, f"{LOG}/{name}", content, now)
                manifest = Manifest(
                    format=FORMAT,
                    version=tconnectsync.__version__,
                    log=copy.log_id,
                    positions=copy.end,
                    made_at=now,
                    files=found,
                )
                _add(archive, MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)), now)
            file.flush()
            os.fsync(file.fileno())
        with as_caller():
            temporary.replace(path)
            OsFiles().sync_folder(path.parent)
    except OSError as error:
        raise MachineTrouble(
            f"The backup {path} cannot be written ({error.strerror or error}).",
            remedy="Give a file in an existing folder that has room and that this user may write to.",
        ) from error
    finally:
        with contextlib.suppress(OSError), as_caller():
            temporary.unlink()
    return Backup(path=path, manifest=manifest)


def _add(archive: tarfile.TarFile, name: str, content: bytes, now: datetime) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = len(content), 0o600, int(now.timestamp())
    archive.addfile(member, io.BytesIO(content))


# --- restore --------------------------------------------------------------------------------------------------------------


def restore(path: Path, data_dir: Path, *, progress: Progress = no_progress) -> Backup:
    """Restore the backup at ``path`` into ``data_dir``. The caller holds its lock, and it has no log yet.

    The backup is unpacked and verified in a temporary folder, then moved by one rename. Errors: RequestRefused, MachineTrouble;
    then the data folder is unchanged.
    """
    taken = [name for name in _OWN_NAMES if (data_dir / name).exists()]
    if taken:
        raise RequestRefused(
            f"{data_dir} is not empty ({', '.join(taken)}). A backup is only restored into an empty data folder. Nothing was changed.",
            remedy="Stop the daemon, move these files away (delete nothing), then run `tconnectsync restore` again.",
        )
    for left in data_dir.glob(_TEMPORARY + "*"):  # of a restore that was killed
        shutil.rmtree(left, ignore_errors=True)
    try:
        folder = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=data_dir))
        try:
            manifest = _unpack(path, folder, progress)
            _verify_log(path, folder, manifest, progress)
            (folder / LOG).rename(data_dir / LOG)
            OsFiles().sync_folder(data_dir)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except FileNotFoundError as error:
        if error.filename != str(path):
            raise
        raise RequestRefused(
            f"There is no file {path}. Nothing was changed.", remedy="Give a file that `tconnectsync backup` wrote."
        ) from error
    except OSError as error:
        raise MachineTrouble(
            f"The backup {path} cannot be restored into {data_dir} ({error.strerror or error}).",
            remedy="Check the free space (`df -h`) and that this user may read the backup and write to the folder.",
        ) from error
    return Backup(path=path, manifest=manifest)


def _unpack(path: Path, folder: Path, progress: Progress) -> Manifest:
    """Unpack the backup into ``folder`` and compare the checksums. Errors: RequestRefused for any other content."""
    manifest: Manifest | None = None
    found: dict[str, _BackupMember] = {}
    (folder / LOG).mkdir(mode=0o700)
    try:
        with as_caller():
            opened = path.open("rb")
        with opened as file, tarfile.open(fileobj=file, mode="r:gz") as archive:
            size = os.fstat(file.fileno()).st_size
            for member in archive:
                source = archive.extractfile(member) if member.isreg() else None
                if manifest is not None or source is None:
                    raise _not_a_backup(path, f"{member.name!r} does not belong there")
                if member.name == MANIFEST:
                    if member.size > MAX_MANIFEST_BYTES:
                        raise _not_a_backup(path, f"its manifest of {size_words(member.size)} is too large")
                    manifest = msgspec.json.decode(source.read(), type=Manifest)
                elif _NAME.fullmatch(member.name) and member.name not in found:
                    found[member.name] = _write_member(source, folder / member.name)
                    progress(file.tell(), size)
                else:
                    raise _not_a_backup(path, f"{member.name!r} does not belong there")
    except (tarfile.TarError, EOFError, zlib.error, msgspec.MsgspecError, UnicodeError, ValueError) as error:
        raise _not_a_backup(path, f"{type(error).__name__}: {error}") from error
    except OSError as error:
        if error.errno is None:  # gzip raises this for a corrupt file
            raise _not_a_backup(path, str(error)) from error
        raise
    if manifest is None:
        raise _not_a_backup(path, "it is incomplete: the manifest is missing")
    if manifest.format > FORMAT:
        raise RequestRefused(
            f"{path} was made by a newer release of tconnectsync ({manifest.version}).",
            remedy="Install that release (in its source's folder: `pip install .`), then restore again.",
        )
    wrong = sorted(name for name in {*found, *manifest.files} if found.get(name) != manifest.files.get(name))
    if wrong:
        raise _not_a_backup(path, f"{wrong[0]} differs from the manifest")
    return manifest


def _write_member(source: IO[bytes], path: Path) -> _BackupMember:
    digest, size = hashlib.sha256(), 0
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        while piece := source.read(_PIECE):
            file.write(piece)
            digest.update(piece)
            size += len(piece)
        file.flush()
        os.fsync(file.fileno())
    return _BackupMember(bytes=size, sha256=digest.hexdigest())


def _verify_log(path: Path, folder: Path, manifest: Manifest, progress: Progress) -> None:
    """Check that the log in ``folder`` is correct and is the one of the manifest. Errors: RequestRefused."""
    for line in check_log(folder, progress=progress):
        if not line.good:
            raise _not_a_backup(path, f"{Path(line.path).name}, line {line.line}: {line.what}")
    copy = copy_of_log(folder)
    for _ in copy.contents() if copy is not None else ():
        pass
    if copy is None or (copy.log_id, copy.end) != (manifest.log, manifest.positions):
        raise _not_a_backup(path, "its log is not the one that the manifest names")
    OsFiles().sync_folder(folder / LOG)


def _not_a_backup(path: Path, why: str) -> RequestRefused:
    return RequestRefused(
        f"{path} is not a complete backup of tconnectsync ({why}). Nothing was changed.",
        remedy="Try an older backup. Without one, `tconnectsync backfill --from DATE` fetches what the vendor still has.",
    )
