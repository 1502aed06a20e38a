"""tconnectsync: pump events in, an append-only log between, outside systems kept equal to it.

These names are the public face for plugin authors; they are imported when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tconnectsync import events as events
    from tconnectsync.clock import Clock as Clock
    from tconnectsync.errors import BadFile as BadFile
    from tconnectsync.errors import CredentialsRefused as CredentialsRefused
    from tconnectsync.errors import Rejected as Rejected
    from tconnectsync.errors import Retryable as Retryable
    from tconnectsync.errors import SourceChanged as SourceChanged
    from tconnectsync.errors import TconnectsyncError as TconnectsyncError
    from tconnectsync.events import Event as Event
    from tconnectsync.events import alarms as alarms
    from tconnectsync.plugin import addresses, pasted
    from tconnectsync.plugin.fold import Document as Document
    from tconnectsync.plugin.fold import Fold as Fold
    from tconnectsync.plugin.fold import document_id as document_id
    from tconnectsync.plugin.http import HttpClient as HttpClient
    from tconnectsync.plugin.http import HttpLimits as HttpLimits
    from tconnectsync.plugin.http import HttpResponse as HttpResponse
    from tconnectsync.plugin.http import host_of as host_of
    from tconnectsync.plugin.http import http_date as http_date
    from tconnectsync.plugin.http import retry_after_s as retry_after_s
    from tconnectsync.plugin.http_failures import HttpFailed as HttpFailed
    from tconnectsync.plugin.http_failures import HttpFailure as HttpFailure
    from tconnectsync.plugin.options import Secret as Secret
    from tconnectsync.plugin.options import option as option
    from tconnectsync.plugin.receiver import Adopting as Adopting
    from tconnectsync.plugin.receiver import Contrast as Contrast
    from tconnectsync.plugin.receiver import Delivery as Delivery
    from tconnectsync.plugin.receiver import Finding as Finding
    from tconnectsync.plugin.receiver import Hold as Hold
    from tconnectsync.plugin.receiver import Older as Older
    from tconnectsync.plugin.receiver import Outcome as Outcome
    from tconnectsync.plugin.receiver import Postponed as Postponed
    from tconnectsync.plugin.receiver import Receiver as Receiver
    from tconnectsync.plugin.receiver import Refused as Refused
    from tconnectsync.plugin.receiver import StoredDocument as StoredDocument
    from tconnectsync.plugin.receiver import Surveyed as Surveyed
    from tconnectsync.plugin.receiver import Taken as Taken
    from tconnectsync.plugin.source import Batch as Batch
    from tconnectsync.plugin.source import History as History
    from tconnectsync.plugin.source import Source as Source
    from tconnectsync.plugin.spec import Context as Context
    from tconnectsync.plugin.spec import Importer as Importer
    from tconnectsync.plugin.spec import ImportOptions as ImportOptions
    from tconnectsync.plugin.spec import Section as Section
    from tconnectsync.plugin.spec import Sink as Sink
    from tconnectsync.plugin.spec import SinkSpec as SinkSpec
    from tconnectsync.plugin.spec import SourceSpec as SourceSpec
    from tconnectsync.plugin.spec import hookimpl as hookimpl
    from tconnectsync.retry.deadline import RememberedDeadline as RememberedDeadline
    from tconnectsync.text.plural import counted as counted

__version__ = "4.0.0"

_HOME = {
    "Adopting": "plugin.receiver",
    "BadFile": "errors",
    "Batch": "plugin.source",
    "Clock": "clock",
    "Context": "plugin.spec",
    "Contrast": "plugin.receiver",
    "CredentialsRefused": "errors",
    "Delivery": "plugin.receiver",
    "Document": "plugin.fold",
    "Event": "events",
    "Finding": "plugin.receiver",
    "Fold": "plugin.fold",
    "History": "plugin.source",
    "Hold": "plugin.receiver",
    "HttpClient": "plugin.http",
    "HttpFailed": "plugin.http_failures",
    "HttpFailure": "plugin.http_failures",
    "HttpLimits": "plugin.http",
    "HttpResponse": "plugin.http",
    "ImportOptions": "plugin.spec",
    "Importer": "plugin.spec",
    "Older": "plugin.receiver",
    "Outcome": "plugin.receiver",
    "Postponed": "plugin.receiver",
    "Receiver": "plugin.receiver",
    "Refused": "plugin.receiver",
    "Rejected": "errors",
    "RememberedDeadline": "retry.deadline",
    "Retryable": "errors",
    "Secret": "plugin.options",
    "Section": "plugin.spec",
    "Sink": "plugin.spec",
    "SinkSpec": "plugin.spec",
    "Source": "plugin.source",
    "SourceChanged": "errors",
    "SourceSpec": "plugin.spec",
    "StoredDocument": "plugin.receiver",
    "Surveyed": "plugin.receiver",
    "Taken": "plugin.receiver",
    "TconnectsyncError": "errors",
    "counted": "text.plural",
    "document_id": "plugin.fold",
    "hookimpl": "plugin.spec",
    "host_of": "plugin.http",
    "http_date": "plugin.http",
    "option": "plugin.options",
    "retry_after_s": "plugin.http",
}

_MODULES = {
    "addresses": "tconnectsync.plugin.addresses",
    "alarms": "tconnectsync.events.alarms",
    "events": "tconnectsync.events",
    "pasted": "tconnectsync.plugin.pasted",
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
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name in _HOME:
        return getattr(import_module(f"tconnectsync.{_HOME[name]}"), name)
    raise AttributeError(name)
