"""Prometheus' text: read back with its own parser, complete in the document, used by the dashboard."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tconnectsync_web.metrics import PREFIX, families, metrics_text
from tests.web.test_web_routes import BEARER, STATUS, serving

ROOT = Path(__file__).parents[2]
FULL: dict[str, Any] = {
    "version": "4.0.0",
    "disk": {"state": "ok", "message": "", "free_bytes": 5_000_000},
    "daemon": {"state": "off", "pid": None},
    "log": {"positions": 12, "bytes": 800, "damaged": False},
    "sources": {
        "tandem": {
            "state": "backing_off", "since": "2026-11-01T10:00:00Z", "message": "pump 90556643", "last_fetch": "2026-11-01T09:00:00Z",
            "last_upload": "2026-11-01T08:00:00Z", "newest_event": "2026-11-01T07:00:00Z", "next_poll": None, "set_aside": 3,
            "pumps": {"90556643": {"newest_event": "2026-11-01T07:00:00Z"}},
        },
        "tconnect": {"state": "off"},
    },
    "sinks": {"nightscout-iob": {"state": "ok", "since": None, "pending": 2, "dead": 1, "behind": 0, "last_delivered": "2026-11-01T09:00:00Z"}},
}  # fmt: skip


def samples(status: dict[str, Any]) -> dict[tuple[str, tuple[str, ...]], float]:
    text = metrics_text(status, 0.25).decode()
    return {
        (sample.name.removeprefix(PREFIX), tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_numbers_times_and_states() -> None:
    found = samples(FULL)
    assert found["info", ("4.0.0",)] == 1
    assert found["daemon_running", ()] == 0
    assert found["source_ok", ("tandem",)] == 0
    assert found["source_state", ("tandem", "backing_off")] == 1
    assert found["source_newest_event_timestamp_seconds", ("tandem",)] == 1793516400
    assert found["source_unreadable_records", ("tandem",)] == 3
    assert found["sink_pending_documents", ("nightscout-iob",)] == 2
    assert found["sink_refused_documents", ("nightscout-iob",)] == 1
    assert found["log_records", ()] == 12
    assert found["status_read_seconds", ()] == 0.25


def test_what_is_off_or_unknown_has_no_sample() -> None:
    found = samples(FULL)
    assert not [key for key in found if "tconnect" in key[1]]
    assert not [key for key in found if key[0] == "source_next_poll_timestamp_seconds"]


def test_no_serial_number_and_no_message() -> None:
    assert b"90556643" not in metrics_text(FULL, 0.0)


def test_the_document_lists_every_metric() -> None:
    text = (ROOT / "docs" / "user" / "monitoring.md").read_text(encoding="utf-8")
    assert [name for name, *_ in families(FULL, 0.0) if f"`{name}`" not in text] == []


def test_the_dashboard_uses_metrics_that_there_are() -> None:
    board = json.loads((ROOT / "monitoring" / "grafana-dashboard.json").read_text(encoding="utf-8"))
    used = set(re.findall(rf"{PREFIX}(\w+)", json.dumps([panel["targets"] for panel in board["panels"]])))
    assert len(used) >= 10
    assert used <= {name for name, *_ in families(FULL, 0.0)}


def test_the_route_needs_the_secret() -> None:
    with serving() as world:
        assert world.get("/metrics").status_code == 401
        answer = world.get("/metrics", BEARER)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert 'tconnectsync_sink_pending_documents{sink="nightscout-iob"} 2.0' in answer.text
        assert "1234567" not in answer.text
        assert STATUS["data_dir"] not in answer.text
