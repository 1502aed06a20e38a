"""Starts tconnectsync in a Home Assistant add-on: the add-on's options become environment variables and a small configuration.

It starts as root, because the options are root's, and continues as the user 10001.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import requests

USER = 10001
SUPERVISOR = "http://supervisor/services/mqtt"
VARIABLES = {
    "email": "TCONNECT_EMAIL",
    "password": "TCONNECT_PASSWORD",
    "region": "TCONNECT_REGION",
    "nightscout_url": "NS_URL",
    "api_secret": "NS_SECRET",
    "timezone": "TIMEZONE_NAME",
    "log_level": "TCONNECTSYNC_LOG_LEVEL",
}
"""Option: environment variable. Home Assistant's own zone comes in TZ, which counts if there is no ``timezone``."""
KEPT = ("PATH", "LANG", "TZ", "SSL_CERT_FILE")


def environment(options: Mapping[str, Any], around: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return the environment of tconnectsync. An empty option is left out. The supervisor's token is not passed on."""
    found = {name: around[name] for name in KEPT if around.get(name)}
    found |= {
        "HOME": str(folder),
        "TCONNECTSYNC_CONFIG": str(folder / "config.toml"),
        "TCONNECTSYNC_DATA_DIR": str(folder / "state"),
    }
    return found | {
        name: str(options[key]).strip() for key, name in VARIABLES.items() if str(options.get(key) or "").strip()
    }


def configuration(broker: Mapping[str, Any] | None) -> str:
    """Return the configuration file: the MQTT broker, or nothing."""
    if broker is None:
        return ""
    keys = {
        "enabled": True,
        "host": broker["host"],
        "port": int(broker["port"]),
        "username": broker.get("username") or None,
        "password": broker.get("password") or None,
        "tls": bool(broker.get("ssl")),
    }
    # JSON's texts, numbers and true/false are TOML's, too
    lines = [f"{key} = {json.dumps(value, ensure_ascii=True)}" for key, value in keys.items() if value is not None]
    return "\n".join(["[sinks.mqtt]", *lines, ""])


def ask_supervisor(token: str) -> Mapping[str, Any] | None:
    """Return the broker that Home Assistant knows; None if it knows none."""
    answer = requests.get(SUPERVISOR, headers={"Authorization": f"Bearer {token}"}, timeout=10)
    if answer.status_code in (400, 404):  # no add-on offers the service
        return None
    answer.raise_for_status()
    found = answer.json()
    data: Mapping[str, Any] | None = found.get("data")
    return data or None


def prepare(
    folder: Path, around: Mapping[str, str], find_broker: Callable[[str], Mapping[str, Any] | None] = ask_supervisor
) -> dict[str, str]:
    """Read the options in ``folder``, write the configuration there, and return the environment of tconnectsync."""
    options = json.loads((folder / "options.json").read_text(encoding="utf-8"))
    broker = None
    if options.get("mqtt"):
        try:
            broker = find_broker(around.get("SUPERVISOR_TOKEN", ""))
        except (OSError, ValueError) as error:
            print(
                f"Home Assistant did not say where its MQTT broker is ({error}). Nightscout is synced without MQTT.",
                flush=True,
            )
        else:
            if broker is None:
                print(
                    "Home Assistant has no MQTT broker. To get the sensors, install the Mosquitto add-on and restart this one.",
                    flush=True,
                )
    path = folder / "config.toml"
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(configuration(broker))
    (folder / "state").mkdir(mode=0o700, exist_ok=True)
    return environment(options, around, folder)


def main() -> None:
    """Become tconnectsync's daemon."""
    folder = Path("/data")
    settings = prepare(folder, os.environ)
    for path in (folder / "config.toml", folder / "state"):
        os.chown(path, USER, USER)
    os.setgroups([])
    os.setgid(USER)
    os.setuid(USER)
    os.environ.clear()
    os.environ.update(settings)
    from tconnectsync.cli.root import run

    sys.exit(run(["run"]))


if __name__ == "__main__":
    main()
