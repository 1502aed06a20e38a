"""Values that become too old to be shown, on the way and at the broker."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from tconnectsync import Event, GlucoseUnits, events
from tconnectsync_mqtt.discovery import ENTITIES, device_message
from tconnectsync_mqtt.options import MqttOptions
from tconnectsync_mqtt.sink import Broker
from tconnectsync_mqtt.state_fold import StateFold
from tconnectsync_mqtt.value_age import without_expired
from tests.mqtt.broker_harness import DEVICE, NOON, NoonClock, components, deliveries, listening


def said_at(minutes: float) -> dict[str, object]:
    """The values of noon (and a minute later) as published so many minutes later; an expired one is None."""
    now = NOON + timedelta(minutes=minutes)
    said: dict[str, object] = {}
    for each in deliveries():
        assert each.document is not None
        said |= without_expired("current" if each.document.ttl_s else "lasting", each.document.content, now)
    return said


def test_value_that_is_too_old() -> None:
    """The rate is from noon, insulin on board from a minute later; each expires by its own time, seen from now."""
    young, older, old, lost = said_at(29), said_at(30.5), said_at(31.5), said_at(182)
    assert (young["basal_rate"], young["iob"], young["pump_state"]) == (0.8, 3.25, "delivering")
    assert (older["basal_rate"], older["iob"]) == (None, 3.25)
    assert (old["basal_rate"], old["iob"], old["pump_state"], old["last_bolus"]) == (None, None, None, 3.5)
    assert lost["last_bolus"] is None
    assert old["iob_at"] == lost["data_at"] == lost["last_bolus_at"] == "2026-05-14T12:01:00+00:00"


@pytest.mark.parametrize(("minutes", "left_s"), [(1, 1800), (29, 120), (30.9, 6), (45, 1)])
def test_expiry_counts_from_measurement(broker: Callable[..., int], minutes: float, left_s: int) -> None:
    """The remaining time counts from the pump's measurement."""
    port = broker()
    with listening(port) as listener:
        Broker(MqttOptions(host="127.0.0.1", port=port), version="4", clock=NoonClock(minutes)).deliver(deliveries())
        listener.until("tconnectsync/current", DEVICE)
        topics = list(listener.heard)
    assert components(listener)["iob"]["expire_after"] == left_s
    assert topics.index(DEVICE) < topics.index("tconnectsync/current"), (
        "how long a value is good for is known before it comes"
    )


def test_sensor_values_expire() -> None:
    """Each expires by the time of its value; only sensors whose value is a time do not."""
    said = device_message("tconnectsync", "4", GlucoseUnits.MG_DL)["components"]
    for entity in ENTITIES:
        found = said[entity.key]
        if entity.device_class in ("timestamp", "problem") or entity.platform == "event":
            assert "expire_after" not in found
        else:
            assert 0 < found["expire_after"] <= 3 * 3600
            daemon, age = found["availability"]
            assert daemon["topic"] == "tconnectsync/status"
            assert f"value_json.{entity.at}, 0) < {found['expire_after']} " in age["value_template"]


def test_suspended_pump_has_rate_zero() -> None:
    """As long as it sends data."""
    fold = StateFold()
    state = fold.initial()
    for minute, body in ((0, events.PumpingSuspended(reason="alarm")), (45, events.DaySummary(iob_u=1.0))):
        at = NOON + timedelta(minutes=minute)
        kind = "pumping.suspended" if minute == 0 else "day.summary"
        state, _ = fold.step(
            state,
            Event(
                id=f"tandem:1:0:{minute}", kind=kind, pump="1", group=0, seq=minute, pump_time=at.replace(tzinfo=None),
                source="tandem", received_at=at, body=body, at=at,
            ),
        )  # fmt: skip
    current = without_expired("current", fold.running(state)[0].content, NOON + timedelta(minutes=46))
    assert (current["pump_state"], current["basal_rate"], current["iob"]) == ("suspended", 0.0, 1.0)
