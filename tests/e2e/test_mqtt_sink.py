"""From the pump to a real MQTT broker."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from tests.e2e.installation import ZONE, Installation, RunningDaemon, daemon, eventually, recent_pump
from tests.support.clocks import ShiftedClock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout
from tests.support.truths import known_at


def heard_on(port: int, topic: str, arrived: threading.Event, found: list[bytes]) -> Client:
    """A client that listens to ``topic`` on a thread of its own."""

    def hear(_client: Client, _data: object, message: MQTTMessage) -> None:
        found.append(message.payload)
        arrived.set()

    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = hear
    client.on_connect = lambda *_: client.subscribe(topic, qos=1)
    client.connect("127.0.0.1", port)
    client.loop_start()
    return client


def test_sync_publishes_last_values(tmp_path: Path, broker: Callable[..., int]) -> None:
    """A sync gives the broker what the pump reported last."""
    port, pump = broker(), recent_pump(3)
    table = f'[sinks.mqtt]\nenabled = true\nhost = "127.0.0.1"\nport = {port}\n'
    with FaultyTandemCloud([pump], ShiftedClock()) as cloud, SimulatedNightscout() as site:
        home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=2, more=table)
        assert "accepts messages" in home.run("check").stdout
        home.run("sync")
        assert home.run("sync").stdout.count("mqtt") == 0
    arrived, found = threading.Event(), list[bytes]()
    client = heard_on(port, "tconnectsync/lasting", arrived, found)
    assert arrived.wait(20)
    client.disconnect()
    client.loop_stop()
    told = json.loads(found[0])
    now = datetime.now(timezone.utc)
    doses = [
        bolus
        for bolus in known_at(pump.truth, now).boluses
        if bolus.delivered_u and bolus.reason != "running" and bolus.uploaded_at <= now
    ]
    assert told["last_bolus"] == round(doses[-1].delivered_u, 3)
    assert now - datetime.fromisoformat(told["data_at"]) < timedelta(hours=2)


def test_daemon_dies(tmp_path: Path, broker: Callable[..., int]) -> None:
    """The broker publishes that the daemon works, was killed (by the last will), or was stopped.

    When Home Assistant starts, the values from before the daemon's start are published again.
    """
    port = broker()
    table = f'[sinks.mqtt]\nenabled = true\nhost = "127.0.0.1"\nport = {port}\n'
    with FaultyTandemCloud([recent_pump(1)], ShiftedClock()) as cloud, SimulatedNightscout() as site:
        home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=1, more=table)
        found: list[bytes] = []
        home.run("sync")
        client = heard_on(port, "tconnectsync/status", threading.Event(), found)
        try:
            eventually(lambda: found, "the status that the sync left")
            with daemon(home):
                eventually(lambda: len(found) > 1, "the daemon is there")
                values, arrived = list[bytes](), threading.Event()
                listener = heard_on(port, "tconnectsync/current", arrived, values)
                client.publish("homeassistant/status", b"online")
                assert arrived.wait(60), "Home Assistant has started, and the values come although no upload did"
                listener.disconnect()
                listener.loop_stop()
            for end, words in ((RunningDaemon.kill, "ended unexpectedly"), (RunningDaemon.stop, "was stopped")):
                with daemon(home) as living:
                    eventually(lambda: found and json.loads(found[-1])["problem"] == "OFF", "the daemon is there")
                    end(living)
                eventually(lambda: words in found[-1].decode(), words)  # noqa: B023 - it is called in this turn
                said = json.loads(found[-1])
                assert (said["availability"], said["problem"]) == ("offline", "ON")
        finally:
            client.disconnect()
            client.loop_stop()


def test_broker_away(tmp_path: Path) -> None:
    """A broker that is away blocks nothing else."""
    table = '[sinks.mqtt]\nenabled = true\nhost = "127.0.0.1"\nport = 1\n'
    with FaultyTandemCloud([recent_pump(2)], ShiftedClock()) as cloud, SimulatedNightscout() as site:
        home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=1, more=table)
        done = home.run("sync", expect=[5])
        assert "127.0.0.1:1 cannot be reached" in done.stdout + done.stderr
        assert json.loads(home.run("status", "--json").stdout)["sinks"]["nightscout-treatments"]["pending"] == 0
