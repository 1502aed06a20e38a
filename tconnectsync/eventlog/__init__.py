"""The event log: segments of JSON lines with chained checksums, and an index that can be rebuilt from them."""

from __future__ import annotations

from tconnectsync.eventlog.codec import Decoder
from tconnectsync.eventlog.damage import Damage
from tconnectsync.eventlog.index_build import INDEX_NAME
from tconnectsync.eventlog.index_queries import Stream
from tconnectsync.eventlog.lock import FolderLock, lock_holder
from tconnectsync.eventlog.log import EventLog
from tconnectsync.eventlog.log_size import LogSize
from tconnectsync.eventlog.preview_files import OverlayFiles
from tconnectsync.eventlog.replica import LogEnd, Replica
from tconnectsync.eventlog.snapshot import FILE_NAME, LogCopy, copy_of_log
from tconnectsync.eventlog.writer import Appended
from tconnectsync.filesystem import AppendFile, Files, OsFiles, replace_file, replace_or_overwrite

__all__ = [
    "FILE_NAME",
    "INDEX_NAME",
    "AppendFile",
    "Appended",
    "Damage",
    "Decoder",
    "EventLog",
    "Files",
    "FolderLock",
    "LogCopy",
    "LogEnd",
    "LogSize",
    "OsFiles",
    "OverlayFiles",
    "Replica",
    "Stream",
    "copy_of_log",
    "lock_holder",
    "replace_file",
    "replace_or_overwrite",
]
