"""The Home Assistant add-on: its options reach the program, its broker is found, and its form has words in every language."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

import pytest
import requests
import yaml

import tconnectsync
from tconnectsync.config.load import load_config
from tconnectsync.plugin.manager import load_plugins
from tests.e2e.installation import eventually

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "packaging" / "home-assistant"
ADDON = FOLDER / "tconnectsync"
OPTIONS = {
    "email": "a@example.org", "password": "hidden \"pass\"", "region": "EU", "nightscout_url": "https://site.example",
    "api_secret": "site-hidden-1234", "mqtt": True, "glucose_units": "mmol", "alert_urls": "ntfy://topic mailto://me:pw@example.org", "log_level": "debug",
}  # fmt: skip
BROKER = {"host": "core-mosquitto", "port": 1883, "username": "addons", "password": 'broker \\ "é"', "ssl": False}
AROUND = {"PATH": "/bin", "TZ": "Europe/Vienna", "SUPERVISOR_TOKEN": "hidden-token"}


def start_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("addon_start", ADDON / "start.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prepared(folder: Path, broker: Any = BROKER, **changes: Any) -> dict[str, str]:
    """What the script hands to the program; ``broker`` may be an error."""
    (folder / "options.json").write_text(json.dumps({**OPTIONS, **changes}))

    def find(token: str) -> Mapping[str, Any] | None:
        assert token == "hidden-token"
        if isinstance(broker, BaseException):
            raise broker
        found: Mapping[str, Any] | None = broker
        return found

    settings: dict[str, str] = start_script().prepare(folder, AROUND, find)
    return settings


def described(name: str) -> Any:
    return yaml.safe_load((ADDON / name).read_text(encoding="utf-8"))


def test_every_option_reaches_the_program(tmp_path: Path) -> None:
    config = load_config(None, prepared(tmp_path), load_plugins())
    account, site, broker = config.sources["tandem"], config.sections["nightscout"], config.sinks["mqtt"]
    assert (account.enabled, account.options.email, account.options.region) == (True, "a@example.org", "EU")
    assert account.options.password.reveal() == OPTIONS["password"]
    assert (site.url, site.api_secret.reveal()) == ("https://site.example", OPTIONS["api_secret"])
    assert (broker.enabled, broker.options.host, broker.options.username) == (True, "core-mosquitto", "addons")
    assert broker.options.password.reveal() == BROKER["password"]
    assert [url.reveal() for url in config.alerts.urls] == OPTIONS["alert_urls"].split()
    assert config.log_level == "debug"
    assert config.data_dir == tmp_path / "state"


def test_zone_of_home_assistant(tmp_path: Path) -> None:
    """It is used if no other is given."""
    assert load_config(None, prepared(tmp_path), load_plugins()).timezone == "Europe/Vienna"
    settings = prepared(tmp_path, timezone="America/Denver")
    assert load_config(None, settings, load_plugins()).timezone == "America/Denver"


def test_the_supervisors_token_and_the_secrets_stay_private(tmp_path: Path) -> None:
    settings = prepared(tmp_path)
    assert "hidden-token" not in settings.values()
    assert stat.S_IMODE((tmp_path / "config.toml").stat().st_mode) == 0o600
    assert OPTIONS["password"] not in (tmp_path / "config.toml").read_text()
    assert stat.S_IMODE((tmp_path / "nginx.conf").stat().st_mode) == 0o600


def test_the_page_has_another_secret_at_each_start(tmp_path: Path) -> None:
    """Only the proxy knows it. It listens to Home Assistant alone, at the port of the add-on's description."""
    found = set()
    for _ in range(2):
        web = load_config(None, prepared(tmp_path), load_plugins()).sections["web"]
        proxy = (tmp_path / "nginx.conf").read_text()
        assert f'"Bearer {web.secret.reveal()}"' in proxy
        assert f"proxy_pass http://{web.host}:{web.port};" in proxy
        assert "allow 172.30.32.2;" in proxy
        assert f"listen {described('config.yaml')['ingress_port']};" in proxy
        found.add(web.secret.reveal())
    assert len(found) == 2
    assert min(map(len, found)) > 30


@contextlib.contextmanager
def running(*words: str, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(words, env=dict(environment), stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def test_home_assistant_reaches_the_page_and_others_do_not(tmp_path: Path) -> None:
    """With the real proxy: users of Home Assistant type no secret, and links have its path; another caller gets nothing."""
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if nginx is None:
        pytest.skip("nginx is not here (apt install nginx-light)")
    settings = prepared(tmp_path, mqtt=False)
    secret = load_config(None, settings, load_plugins()).sections["web"].secret.reveal()
    prefix = "/api/hassio_ingress/a-token"
    web_words = (sys.executable, "-m", "tconnectsync", "web", "--port", "0")
    with running(*web_words, environment={**settings, "PYTHONPATH": os.pathsep.join(sys.path)}) as web:
        assert web.stderr is not None
        line = next(line for line in web.stderr if "Listening on" in line)
        page = int(line.rstrip("/\n").rpartition(":")[2])
        assert requests.get(f"http://127.0.0.1:{page}/", timeout=30).status_code in (401, 403)
        for allowed in ("127.0.0.1", "172.30.32.2"):
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            text = start_script().proxy_configuration(secret, ingress=allowed, ingress_port=port, page_port=page)
            (tmp_path / "nginx.conf").write_text(text.replace("/tmp/", f"{tmp_path}/"))
            with running(nginx, "-e", "stderr", "-c", str(tmp_path / "nginx.conf"), environment=settings):
                eventually(lambda port=port: reachable(port), "the proxy")
                headers = {"X-Ingress-Path": prefix, "Accept": "text/html"}
                answer = requests.get(f"http://127.0.0.1:{port}/", headers=headers, timeout=60)
                if allowed == "127.0.0.1":
                    assert answer.status_code == 200, answer.text
                    assert f'"{prefix}/' in answer.text
                    assert secret not in answer.text
                    assert requests.get(f"http://127.0.0.1:{port}/healthz", timeout=30).status_code == 200
                else:
                    assert answer.status_code == 403
                    assert "nginx" in answer.text


def reachable(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    ("broker", "mqtt", "told"),
    [(None, True, "Mosquitto"), (OSError("refused"), True, "without MQTT"), (BROKER, False, "")],
)
def test_without_a_broker_nightscout_is_still_synced(
    tmp_path: Path, broker: Any, mqtt: bool, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = load_config(None, prepared(tmp_path, broker, mqtt=mqtt), load_plugins())
    assert not config.sinks["mqtt"].enabled
    assert config.sinks["nightscout-treatments"].enabled
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(("status", "found"), [(200, BROKER), (400, None)])
def test_the_supervisor_is_asked_for_the_broker(
    status: int, found: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Supervisor(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps({"result": "ok", "data": found or {}}).encode())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Supervisor) as server:
        Thread(target=server.handle_request).start()
        script = start_script()
        monkeypatch.setattr(script, "SUPERVISOR", f"http://127.0.0.1:{server.server_port}/services/mqtt")
        assert script.ask_supervisor("hidden-token") == found
    assert asked == [("/services/mqtt", "Bearer hidden-token")]


def test_form_is_translated() -> None:
    """It has words for every option in every language."""
    schema = described("config.yaml")["schema"]
    assert set(start_script().VARIABLES) | {"mqtt"} == set(schema)
    for name in ("translations/en.yaml", "translations/de.yaml"):
        words = described(name)["configuration"]
        assert set(words) == set(schema)
        assert all(entry["name"] and entry["description"] for entry in words.values())


def test_its_version_and_options_are_the_programs() -> None:
    config = described("config.yaml")
    assert config["version"] == tconnectsync.__version__
    assert set(config["options"]) <= set(config["schema"])
    assert set(described("build.yaml")["build_from"]) == set(config["arch"])


def test_the_built_folder_has_the_source(tmp_path: Path) -> None:
    done = subprocess.run([FOLDER / "build", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = Path(done.stdout.strip())
    copied = [line.split()[1] for line in (built / "Dockerfile").read_text().splitlines() if line.startswith("COPY")]
    assert copied == ["source", "start.py"]
    assert all((built / name).exists() for name in copied)
    assert (built / "source/tconnectsync/cli/root.py").exists()
    assert (built / "source/requirements.lock").exists()
