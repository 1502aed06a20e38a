"""tconnectsync: pump events in, an append-only log between, outside systems kept equal to it.

These names are the public face for plugin authors; they are imported when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tconnectsync import events as events
    from tconnectsync.clock import Clock as Clock
    from tconnectsync.errors import CredentialsRefused as CredentialsRefused
    from tconnectsync.errors import FileUnreadable as FileUnreadable
    from tconnectsync.errors import LogCorrupt as LogCorrupt
    from tconnectsync.errors import Rejected as Rejected
    from tconnectsync.errors import ReplicaFailed as ReplicaFailed
    from tconnectsync.errors import Retryable as Retryable
    from tconnectsync.errors import SourceChanged as SourceChanged
    from tconnectsync.errors import TconnectsyncError as TconnectsyncError
    from tconnectsync.eventlog.replica import LogEnd as LogEnd
    from tconnectsync.eventlog.replica import Replica as Replica
    from tconnectsync.events import Event as Event
    from tconnectsync.events import alarms as alarms
    from tconnectsync.exit_status import ExitStatus as ExitStatus
    from tconnectsync.health.newest_data import newest_data as newest_data
    from tconnectsync.health.newest_data import uploads_without_pump as uploads_without_pump
    from tconnectsync.health.severity import Severity as Severity
    from tconnectsync.health.severity import severity as severity
    from tconnectsync.json_converter import CONVERTER as CONVERTER
    from tconnectsync.plugin import addresses as addresses
    from tconnectsync.plugin import connections as connections
    from tconnectsync.plugin import pasted_text as pasted  # noqa: F401
    from tconnectsync.plugin.base_receiver import BaseReceiver as BaseReceiver
    from tconnectsync.plugin.fold import Document as Document
    from tconnectsync.plugin.fold import Fold as Fold
    from tconnectsync.plugin.fold import NeedsOnlyTimes as NeedsOnlyTimes
    from tconnectsync.plugin.fold import ReportsPending as ReportsPending
    from tconnectsync.plugin.fold import SentOnce as SentOnce
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
    from tconnectsync.plugin.receiver import Accepted as Accepted
    from tconnectsync.plugin.receiver import CheckResult as CheckResult
    from tconnectsync.plugin.receiver import Delivery as Delivery
    from tconnectsync.plugin.receiver import FieldDiff as FieldDiff
    from tconnectsync.plugin.receiver import LegacyMatch as LegacyMatch
    from tconnectsync.plugin.receiver import Outcome as Outcome
    from tconnectsync.plugin.receiver import Postponed as Postponed
    from tconnectsync.plugin.receiver import ReadableReceiver as ReadableReceiver
    from tconnectsync.plugin.receiver import Receiver as Receiver
    from tconnectsync.plugin.receiver import ReceiverConflict as ReceiverConflict
    from tconnectsync.plugin.receiver import Refused as Refused
    from tconnectsync.plugin.receiver import StoredDocument as StoredDocument
    from tconnectsync.plugin.receiver import SupportsAdoption as SupportsAdoption
    from tconnectsync.plugin.receiver import SupportsFormerAddress as SupportsFormerAddress
    from tconnectsync.plugin.receiver import SupportsMemory as SupportsMemory
    from tconnectsync.plugin.receiver import SupportsPresence as SupportsPresence
    from tconnectsync.plugin.receiver import SupportsRendering as SupportsRendering
    from tconnectsync.plugin.receiver import SupportsReplay as SupportsReplay
    from tconnectsync.plugin.receiver import units_in_memory as units_in_memory
    from tconnectsync.plugin.receiver import units_word as units_word
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
    from tconnectsync.plugin.stateless_fold import NoState as NoState
    from tconnectsync.plugin.stateless_fold import each as each
    from tconnectsync.python_api.open_log import open_log as open_log
    from tconnectsync.python_api.pump_log import PumpLog as PumpLog
    from tconnectsync.retry.deadline import RememberedDeadline as RememberedDeadline
    from tconnectsync.statistics.glucose_counts import GlucoseCounts as GlucoseCounts
    from tconnectsync.statistics.glucose_counts import TimeInRange as TimeInRange
    from tconnectsync.statistics.reading import read_therapy as read_therapy
    from tconnectsync.statistics.summary import InsulinSums as InsulinSums
    from tconnectsync.statistics.summary import Summary as Summary
    from tconnectsync.statistics.summary import add_up as add_up
    from tconnectsync.statistics.summary import day_span as day_span
    from tconnectsync.statistics.summary import days_between as days_between
    from tconnectsync.statistics.summary import summarise_day as summarise_day
    from tconnectsync.statistics.summary import summarise_days as summarise_days
    from tconnectsync.statistics.tables import daily_csv as daily_csv
    from tconnectsync.statistics.tables import day_row as day_row
    from tconnectsync.statistics.tables import period_json as period_json
    from tconnectsync.statistics.therapy import BasalSpan as BasalSpan
    from tconnectsync.statistics.therapy import Bolus as Bolus
    from tconnectsync.statistics.therapy import CarbEntry as CarbEntry
    from tconnectsync.statistics.therapy import GlucosePoint as GlucosePoint
    from tconnectsync.statistics.therapy import ModeSpan as ModeSpan
    from tconnectsync.statistics.therapy import Therapy as Therapy
    from tconnectsync.text.durations import parse_duration as parse_duration
    from tconnectsync.text.glucose_units import MG_DL_PER_MMOL_L as MG_DL_PER_MMOL_L
    from tconnectsync.text.glucose_units import GlucoseUnits as GlucoseUnits
    from tconnectsync.text.glucose_units import parse_glucose_units as parse_glucose_units
    from tconnectsync.text.plural import counted as counted
    from tconnectsync.text.serials import short_serial as short_serial
    from tconnectsync.timeline.zones import Zones as Zones
    from tconnectsync.waits import around_waits as around_waits
    from tconnectsync.waits import waiting as waiting

__version__ = "4.0.0"

_NAMES = {
    "clock": "Clock",
    "errors": "CredentialsRefused FileUnreadable LogCorrupt Rejected ReplicaFailed Retryable SourceChanged TconnectsyncError",
    "eventlog.replica": "LogEnd Replica",
    "events": "Event",
    "exit_status": "ExitStatus",
    "json_converter": "CONVERTER",
    "plugin.base_receiver": "BaseReceiver",
    "plugin.fold": "Document document_id Fold NeedsOnlyTimes ReportsPending SentOnce",
    "plugin.http": "host_of http_date HttpClient HttpLimits HttpResponse retry_after_s",
    "plugin.http_failures": "HttpFailed HttpFailure",
    "plugin.options": "option Secret",
    "plugin.receiver": (
        "Accepted CheckResult Delivery FieldDiff LegacyMatch Outcome Postponed ReadableReceiver Receiver ReceiverConflict "
        "Refused StoredDocument SupportsAdoption SupportsFormerAddress SupportsMemory SupportsPresence "
        "SupportsRendering SupportsReplay units_in_memory units_word"
    ),
    "plugin.source": "Batch History Source",
    "plugin.spec": "Context hookimpl Importer ImportOptions Section Sink SinkSpec SourceSpec",
    "plugin.stateless_fold": "each NoState",
    "python_api.open_log": "open_log",
    "python_api.pump_log": "PumpLog",
    "retry.deadline": "RememberedDeadline",
    "health.newest_data": "newest_data uploads_without_pump",
    "health.severity": "severity Severity",
    "statistics.glucose_counts": "GlucoseCounts TimeInRange",
    "statistics.reading": "read_therapy",
    "statistics.summary": "add_up day_span days_between InsulinSums summarise_day summarise_days Summary",
    "statistics.tables": "daily_csv day_row period_json",
    "statistics.therapy": "BasalSpan Bolus CarbEntry GlucosePoint ModeSpan Therapy",
    "text.durations": "parse_duration",
    "text.glucose_units": "GlucoseUnits MG_DL_PER_MMOL_L parse_glucose_units",
    "text.plural": "counted",
    "text.serials": "short_serial",
    "timeline.zones": "Zones",
    "waits": "around_waits waiting",
}
"""The names of the public face, by the module below ``tconnectsync`` that defines them."""

_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}

_FORMER_NAMES = {
    "Adopting": "SupportsAdoption",
    "BadFile": "FileUnreadable",
    "Contrast": "FieldDiff",
    "Finding": "CheckResult",
    "Hold": "ReceiverConflict",
    "Older": "LegacyMatch",
    "Surveyed": "ReadableReceiver",
    "Taken": "Accepted",
}
"""Earlier names of the public face, which keep working."""

_MODULES = {
    "addresses": "tconnectsync.plugin.addresses",
    "alarms": "tconnectsync.events.alarms",
    "connections": "tconnectsync.plugin.connections",
    "events": "tconnectsync.events",
    "pasted": "tconnectsync.plugin.pasted_text",
}

__all__ = ["__version__", *sorted(_MODULES), *sorted(_HOME)]  # noqa: PLE0604 - the names are plain strings


def __getattr__(name: str) -> Any:
    found = _load(name)
    globals()[name] = found  # the next look-up finds it here
    return found


def _load(name: str) -> Any:
    if name in _MODULES:
        return import_module(_MODULES[name])
    home = _FORMER_NAMES.get(name, name)
    if home in _HOME:
        return getattr(import_module(f"tconnectsync.{_HOME[home]}"), home)
    raise AttributeError(name)
