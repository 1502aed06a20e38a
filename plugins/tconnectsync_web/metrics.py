"""Prometheus metrics of the status: ages as times, states, counts. They contain no serial numbers and no health data."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import attrs

PREFIX = "tconnectsync_"


@attrs.frozen
class Metric:
    """One metric: its name without the prefix, its description, and the key of the status that it shows."""

    name: str
    words: str
    key: str


SOURCE_TIMES = (
    Metric("source_last_fetch_timestamp_seconds", "When the source was last read to its end.", "last_fetch"),
    Metric("source_last_upload_timestamp_seconds", "When the phone last uploaded.", "last_upload"),
    Metric("source_newest_event_timestamp_seconds", "The time of the newest data of the worn pump.", "newest_event"),
    Metric("source_next_poll_timestamp_seconds", "When the source is asked next.", "next_poll"),
)
SOURCE_COUNTS = (Metric("source_unreadable_records", "Records that were stored but not understood.", "set_aside"),)
SINK_TIMES = (
    Metric("sink_last_delivered_timestamp_seconds", "When the receiver last accepted something.", "last_delivered"),
    Metric("sink_verified_timestamp_seconds", "When the receiver was last compared with the log.", "verified_at"),
)
SINK_COUNTS = (
    Metric("sink_pending_documents", "Documents that wait to be delivered.", "pending"),
    Metric("sink_refused_documents", "Documents that the receiver refused for good.", "dead"),
    Metric("sink_unread_records", "Records of the log that the sink has not read.", "behind"),
)
LOG_COUNTS = (
    Metric("log_records", "Records in the event log.", "positions"),
    Metric("log_bytes", "Size of the event log.", "bytes"),
)


def metrics_text(status: Mapping[str, Any], read_s: float) -> bytes:
    """Return the metrics in Prometheus' text format. ``read_s``: how long it took to read the status.

    Errors: ImportError if the package prometheus-client is missing.
    """
    client: Any = importlib.import_module("prometheus_client")  # optional, and slow to import
    core: Any = importlib.import_module("prometheus_client.core")

    class Collector:
        def collect(self) -> Iterator[Any]:
            for name, words, labels, samples in families(status, read_s):
                family = core.GaugeMetricFamily(PREFIX + name, words, labels=labels)
                for values, number in samples:
                    family.add_metric(values, number)
                yield family

    registry = client.CollectorRegistry(auto_describe=False)
    registry.register(Collector())
    text: bytes = client.generate_latest(registry)
    return text


Sample = tuple[list[str], float]
Family = tuple[str, str, list[str], list[Sample]]


def families(status: Mapping[str, Any], read_s: float) -> Iterator[Family]:
    """Yield every metric: name, description, names of its labels, and its samples."""
    disk, daemon, log = (status.get(part) or {} for part in ("disk", "daemon", "log"))
    yield "info", "The installed version.", ["version"], [([str(status.get("version"))], 1.0)]
    yield "status_read_seconds", "How long it took to read the status.", [], [([], read_s)]
    yield "daemon_running", "1 if the daemon runs.", [], [([], float(daemon.get("state") == "ok"))]
    yield "disk_free_bytes", "Free space for the data folder.", [], _number([], disk.get("free_bytes"))
    yield "disk_ok", "1 if the disk can be used.", [], [([], float(not disk.get("message")))]
    yield "log_ok", "1 if the event log is not corrupt.", [], [([], float(not log.get("damaged")))]
    for metric in LOG_COUNTS:
        yield metric.name, metric.words, [], _number([], log.get(metric.key))
    yield from _parts("source", _on(status, "sources"), SOURCE_TIMES, SOURCE_COUNTS)
    yield from _parts("sink", _on(status, "sinks"), SINK_TIMES, SINK_COUNTS)


def _on(status: Mapping[str, Any], group: str) -> dict[str, Mapping[str, Any]]:
    return {name: part for name, part in status.get(group, {}).items() if part.get("state") != "off"}


def _parts(
    label: str, parts: Mapping[str, Mapping[str, Any]], times: tuple[Metric, ...], counts: tuple[Metric, ...]
) -> Iterator[Family]:
    ok = [([name], float(part.get("state") == "ok")) for name, part in parts.items()]
    yield f"{label}_ok", f"1 if the {label} is ok.", [label], ok
    states = [([name, str(part.get("state"))], 1.0) for name, part in parts.items()]
    yield f"{label}_state", f"1 for the state that the {label} is in.", [label, "state"], states
    since = [sample for name, part in parts.items() for sample in _time([name], part.get("since"))]
    yield f"{label}_state_since_timestamp_seconds", f"Since when the {label} is in that state.", [label], since
    for metric in times:
        found = [sample for name, part in parts.items() for sample in _time([name], part.get(metric.key))]
        yield metric.name, metric.words, [label], found
    for metric in counts:
        found = [sample for name, part in parts.items() for sample in _number([name], part.get(metric.key))]
        yield metric.name, metric.words, [label], found


def _time(labels: list[str], text: object) -> list[Sample]:
    """A time as seconds since 1970; no sample if it is unknown."""
    if not isinstance(text, str):
        return []
    return [(labels, datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())]


def _number(labels: list[str], value: object) -> list[Sample]:
    return [(labels, float(value))] if isinstance(value, (int, float)) else []
