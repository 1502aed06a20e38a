"""A real InfluxDB 1, as the distribution brings it, for the tests of the sink that writes to it. One for the whole run."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
import pytest
import requests

from tests.support.real_servers import Server, in_ci

__all__ = ["Influx", "influx"]

ADMIN = ("admin", "a password for tests only")


@attrs.frozen(kw_only=True)
class Influx:
    """A running InfluxDB 1 that requires a login."""

    url: str
    session: requests.Session = attrs.field(repr=False)

    def ask(self, query: str, database: str = "") -> list[Mapping[str, object]]:
        """Run InfluxQL as the administrator; the results, one for each statement."""
        answer = self.session.post(
            f"{self.url}/query", params={"db": database, "epoch": "ns"}, data={"q": query}, auth=ADMIN, timeout=60
        )
        answer.raise_for_status()
        results: list[Mapping[str, object]] = answer.json()["results"]
        assert not any("error" in result for result in results), results
        return results

    def rows(self, query: str, database: str) -> list[dict[str, object]]:
        """The rows of a query, with tags and column names."""
        return [
            {**series.get("tags", {}), **dict(zip(series["columns"], row, strict=True))}
            for result in self.ask(query, database)
            for series in result.get("series", ())  # type: ignore[attr-defined]
            for row in series["values"]
        ]


@pytest.fixture(scope="session")
def influx() -> Iterator[Influx]:
    """One real InfluxDB for the whole run. Each test uses its own database."""
    program = shutil.which("influxd")
    if program is None:
        reason = "InfluxDB is not installed (apt-get install influxdb)"
        if in_ci(os.environ):
            pytest.fail(f"in CI the real servers must run: {reason}", pytrace=False)
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="influxdb-") as folder, requests.Session() as session:
        session.trust_env = False
        server = Server(
            command=lambda _: [program, "-config", "/dev/null"],
            log=Path(folder) / "influxd.log",
            is_up=lambda port: _answers(session, port),
            environ=lambda port: _settings(folder, port),
        )
        try:
            server.start()
            url = f"http://127.0.0.1:{server.port}"
            user, password = ADMIN
            answer = session.post(
                f"{url}/query",
                data={"q": f"CREATE USER {user} WITH PASSWORD '{password}' WITH ALL PRIVILEGES"},
                timeout=60,
            )
            answer.raise_for_status()
            yield Influx(url=url, session=session)
        finally:
            server.stop()


def _answers(session: requests.Session, port: int) -> bool:
    try:
        return session.get(f"http://127.0.0.1:{port}/ping", timeout=5).status_code == 204
    except requests.RequestException:
        return False


def _settings(folder: str, port: int) -> Mapping[str, str]:
    return {
        "INFLUXDB_REPORTING_DISABLED": "true",
        "INFLUXDB_BIND_ADDRESS": "127.0.0.1:0",
        "INFLUXDB_META_DIR": f"{folder}/meta",
        "INFLUXDB_DATA_DIR": f"{folder}/data",
        "INFLUXDB_DATA_WAL_DIR": f"{folder}/wal",
        "INFLUXDB_HTTP_BIND_ADDRESS": f"127.0.0.1:{port}",
        "INFLUXDB_HTTP_AUTH_ENABLED": "true",
        "INFLUXDB_HTTP_LOG_ENABLED": "false",
        "INFLUXDB_MONITOR_STORE_ENABLED": "false",
    }
