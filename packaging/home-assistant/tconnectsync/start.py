"""Starts tconnectsync in a Home Assistant add-on: the add-on's options become environment variables and a small configuration.

It starts as root, because the options are root's, and continues as the user 10001. Home Assistant's ingress reaches the page through nginx,
which takes requests from Home Assistant alone and adds the page's secret: Home Assistant has asked its users for theirs.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import requests

USER = 10001
SUPERVISOR = "http://supervisor/services/mqtt"
INGRESS = "172.30.32.2"
"""The address from which Home Assistant's ingress and watchdog come; always this one."""
INGRESS_PORT, PAGE_PORT = 8099, 8098
PROXY = """worker_processes 1;
daemon off;
pid /tmp/nginx.pid;
error_log stderr warn;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path /tmp/nginx-body;
    proxy_temp_path /tmp/nginx-proxy;
    fastcgi_temp_path /tmp/nginx-fastcgi;
    uwsgi_temp_path /tmp/nginx-uwsgi;
    scgi_temp_path /tmp/nginx-scgi;
    server {{
        listen {ingress_port};
        allow {ingress};
        deny all;
        location / {{
            proxy_pass http://127.0.0.1:{page_port};
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_read_timeout 1h;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header Authorization "Bearer {secret}";
        }}
    }}
}}
"""
VARIABLES = {
    "email": "TCONNECT_EMAIL",
    "password": "TCONNECT_PASSWORD",
    "region": "TCONNECT_REGION",
    "nightscout_url": "NS_URL",
    "api_secret": "NS_SECRET",
    "timezone": "TIMEZONE_NAME",
    "glucose_units": "TCONNECTSYNC_GLUCOSE_UNITS",
    "alert_urls": "TCONNECTSYNC_ALERT_URLS",
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


def configuration(broker: Mapping[str, Any] | None, secret: str) -> str:
    """Return the configuration file: the page behind the proxy, and the MQTT broker if there is one."""
    web = {"host": "127.0.0.1", "port": PAGE_PORT, "behind_router": True, "secret": secret}
    return _table("web", web) + ("" if broker is None else _table("sinks.mqtt", _broker_keys(broker)))


def _broker_keys(broker: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "enabled": True,
        "host": broker["host"],
        "port": int(broker["port"]),
        "username": broker.get("username") or None,
        "password": broker.get("password") or None,
        "tls": bool(broker.get("ssl")),
    }


def _table(name: str, keys: Mapping[str, Any]) -> str:
    # JSON's texts, numbers and true/false are TOML's, too
    lines = [f"{key} = {json.dumps(value, ensure_ascii=True)}" for key, value in keys.items() if value is not None]
    return "\n".join([f"[{name}]", *lines, ""])


def proxy_configuration(
    secret: str, *, ingress: str = INGRESS, ingress_port: int = INGRESS_PORT, page_port: int = PAGE_PORT
) -> str:
    """Return nginx's configuration."""
    return PROXY.format(secret=secret, ingress=ingress, ingress_port=ingress_port, page_port=page_port)


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
    secret = secrets.token_urlsafe(32)
    for name, text in (("config.toml", configuration(broker, secret)), ("nginx.conf", proxy_configuration(secret))):
        path = folder / name
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    (folder / "state").mkdir(mode=0o700, exist_ok=True)
    return environment(options, around, folder)


def start_page(folder: Path, settings: Mapping[str, str]) -> None:
    """Start the page and the proxy beside the daemon. If they fail, the data still flow; Home Assistant's watchdog notices."""
    for words in (
        [sys.executable, "-m", "tconnectsync", "web"],
        ["/usr/sbin/nginx", "-e", "stderr", "-c", str(folder / "nginx.conf")],
    ):
        try:
            subprocess.Popen(words, env=dict(settings), user=USER, group=USER, extra_groups=())  # noqa: S603 - words of this file
        except OSError as error:
            print(f"The page cannot be shown: {words[0]} did not start ({error.strerror}).", flush=True)


def main() -> None:
    """Become tconnectsync's daemon."""
    folder = Path("/data")
    settings = prepare(folder, os.environ)
    for path in (folder / "config.toml", folder / "nginx.conf", folder / "state"):
        os.chown(path, USER, USER)
    start_page(folder, settings)
    os.setgroups([])
    os.setgid(USER)
    os.setuid(USER)
    os.environ.clear()
    os.environ.update(settings)
    from tconnectsync.cli.root import run

    sys.exit(run(["run"]))


if __name__ == "__main__":
    main()
