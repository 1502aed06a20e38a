"""The event log: segments of JSON lines with chained checksums, and a derived index over them."""

from __future__ import annotations

from tconnectsync.eventlog.catchup import INDEX_NAME
from tconnectsync.eventlog.codec import Decoder
from tconnectsync.eventlog.copying import FILE_NAME, LogCopy, copied_log
from tconnectsync.eventlog.files import AppendFile, Files, OsFiles, replace_file
from tconnectsync.eventlog.lent import LentFiles
from tconnectsync.eventlog.lock import FolderLock, lock_holder
from tconnectsync.eventlog.log import EventLog, LogSize
from tconnectsync.eventlog.order import Stream
from tconnectsync.eventlog.repair import Gap, RepairReport, repair_log
from tconnectsync.eventlog.segments import Damage
from tconnectsync.eventlog.survey import CheckLine, check_log
from tconnectsync.eventlog.writer import Appended

__all__ = [
    "FILE_NAME",
    "INDEX_NAME",
    "AppendFile",
    "Appended",
    "CheckLine",
    "Damage",
    "Decoder",
    "EventLog",
    "Files",
    "FolderLock",
    "Gap",
    "LentFiles",
    "LogCopy",
    "LogSize",
    "OsFiles",
    "RepairReport",
    "Stream",
    "check_log",
    "copied_log",
    "lock_holder",
    "repair_log",
    "replace_file",
]
