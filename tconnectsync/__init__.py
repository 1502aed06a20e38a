"""tconnectsync: pump events in, an append-only log between, outside systems kept equal to it.

These names are the public face for plugin authors; they are imported when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tconnectsync import addresses as addresses
    from tconnectsync import alarms as alarms
    from tconnectsync import events as events
    from tconnectsync import pasted as pasted
    from tconnectsync.clock import Clock as Clock
    from tconnectsync.deadlines import RememberedDeadline as RememberedDeadline
    from tconnectsync.errors import BadFile as BadFile
    from tconnectsync.errors import CredentialsRefused as CredentialsRefused
    from tconnectsync.errors import Rejected as Rejected
    from tconnectsync.errors import Retryable as Retryable
    from tconnectsync.errors import SourceChanged as SourceChanged
    from tconnectsync.errors import TconnectsyncError as TconnectsyncError
    from tconnectsync.events import Event as Event
    from tconnectsync.hookspecs import Context as Context
    from tconnectsync.hookspecs import Importer as Importer
    from tconnectsync.hookspecs import ImportOptions as ImportOptions
    from tconnectsync.hookspecs import Section as Section
    from tconnectsync.hookspecs import Sink as Sink
    from tconnectsync.hookspecs import SinkSpec as SinkSpec
    from tconnectsync.hookspecs import SourceSpec as SourceSpec
    from tconnectsync.hookspecs import hookimpl as hookimpl
    from tconnectsync.http import HttpClient as HttpClient
    from tconnectsync.http import HttpLimits as HttpLimits
    from tconnectsync.http import HttpResponse as HttpResponse
    from tconnectsync.http import host_of as host_of
    from tconnectsync.http import http_date as http_date
    from tconnectsync.http import retry_after_s as retry_after_s
    from tconnectsync.http_failures import HttpFailed as HttpFailed
    from tconnectsync.http_failures import HttpFailure as HttpFailure
    from tconnectsync.options import Secret as Secret
    from tconnectsync.options import option as option
    from tconnectsync.plural import counted as counted
    from tconnectsync.projection import Document as Document
    from tconnectsync.projection import Fold as Fold
    from tconnectsync.projection import document_id as document_id
    from tconnectsync.receiver import Adopting as Adopting
    from tconnectsync.receiver import Contrast as Contrast
    from tconnectsync.receiver import Delivery as Delivery
    from tconnectsync.receiver import Finding as Finding
    from tconnectsync.receiver import Hold as Hold
    from tconnectsync.receiver import Older as Older
    from tconnectsync.receiver import Outcome as Outcome
    from tconnectsync.receiver import Postponed as Postponed
    from tconnectsync.receiver import Receiver as Receiver
    from tconnectsync.receiver import Refused as Refused
    from tconnectsync.receiver import StoredDocument as StoredDocument
    from tconnectsync.receiver import Surveyed as Surveyed
    from tconnectsync.receiver import Taken as Taken
    from tconnectsync.sources import Batch as Batch
    from tconnectsync.sources import History as History
    from tconnectsync.sources import Source as Source

__version__ = "4.0.0"

_HOME = {
    "Adopting": "receiver",
    "BadFile": "errors",
    "Batch": "sources",
    "Clock": "clock",
    "Context": "hookspecs",
    "Contrast": "receiver",
    "CredentialsRefused": "errors",
    "Delivery": "receiver",
    "Document": "projection",
    "Event": "events",
    "Finding": "receiver",
    "Fold": "projection",
    "History": "sources",
    "Hold": "receiver",
    "HttpClient": "http",
    "HttpFailed": "http_failures",
    "HttpFailure": "http_failures",
    "HttpLimits": "http",
    "HttpResponse": "http",
    "ImportOptions": "hookspecs",
    "Importer": "hookspecs",
    "Older": "receiver",
    "Outcome": "receiver",
    "Postponed": "receiver",
    "Receiver": "receiver",
    "Refused": "receiver",
    "Rejected": "errors",
    "RememberedDeadline": "deadlines",
    "Retryable": "errors",
    "Secret": "options",
    "Section": "hookspecs",
    "Sink": "hookspecs",
    "SinkSpec": "hookspecs",
    "Source": "sources",
    "SourceChanged": "errors",
    "SourceSpec": "hookspecs",
    "StoredDocument": "receiver",
    "Surveyed": "receiver",
    "Taken": "receiver",
    "TconnectsyncError": "errors",
    "counted": "plural",
    "document_id": "projection",
    "hookimpl": "hookspecs",
    "host_of": "http",
    "http_date": "http",
    "option": "options",
    "retry_after_s": "http",
}

__all__ = [  # noqa: PLE0604 - the names are plain strings
    "__version__",
    "addresses",
    "alarms",
    "events",
    "pasted",
    *sorted(_HOME),
]


def __getattr__(name: str) -> Any:
    if name in ("addresses", "alarms", "events", "pasted"):
        return import_module(f"tconnectsync.{name}")
    if name in _HOME:
        return getattr(import_module(f"tconnectsync.{_HOME[name]}"), name)
    raise AttributeError(name)
