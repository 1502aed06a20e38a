"""Test suites for plugin authors: inherit a contract, say what to test, and pytest runs it.

- :class:`FoldContract` for folds, with Hypothesis
- :class:`SinkContract` for a sink with its receiver
- :class:`SourceContract` for a source, with a :class:`SourceWorld` of an :class:`EventLog` and a :class:`ManualClock`

Your tests need ``pytest`` and ``hypothesis``; tconnectsync itself does not. See ``docs/engineering/plugin-guide.md``.
"""

from __future__ import annotations

from tconnectsync.eventlog import EventLog
from tconnectsync.testing.events import ManualClock, example_events, make_event, plugin_context
from tconnectsync.testing.fold_checks import check_arrival, check_fold, final_documents
from tconnectsync.testing.fold_contract import FoldContract
from tconnectsync.testing.sink_contract import SinkContract
from tconnectsync.testing.source_contract import SourceContract, SourceWorld
from tconnectsync.testing.strategies import bodies_of, event_runs

__all__ = [
    "EventLog",
    "FoldContract",
    "ManualClock",
    "SinkContract",
    "SourceContract",
    "SourceWorld",
    "bodies_of",
    "check_arrival",
    "check_fold",
    "event_runs",
    "example_events",
    "final_documents",
    "make_event",
    "plugin_context",
]
