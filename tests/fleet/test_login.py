"""Connections to NATS servers: TLS with client certificates, passwords, nkeys; what a wrong one says; no secret in it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs
import pytest

from tconnectsync import CredentialsRefused, Retryable
from tconnectsync_fleet.nats_login import Connection, NatsLogin
from tconnectsync_fleet.servers import Servers
from tconnectsync_fleet.worker import Worker
from tests.e2e.command_in_process import run_command
from tests.e2e.installation import eventually
from tests.support.certificates import Authority
from tests.support.nats_servers import find_nats_server, greets
from tests.support.raw_server import serving
from tests.support.real_servers import Server

PASSWORD = "päss: wörd@/%20"
REFUSED, NO_ANSWER, WRONG = 4, 3, 2


@attrs.define
class SecureServer:
    """A server that wants certificates of one authority, and a user or an nkey."""

    server: Server
    folder: Path
    authority: Authority
    stranger: Authority

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    @property
    def log(self) -> str:
        return self.server.log.read_text()

    def write_config(self, password: str = PASSWORD, nkey: str = "", days: int = 2) -> None:
        certificate, key = self.authority.sign("server", "127.0.0.1", days=days)
        other = f", {{ nkey: {nkey} }}" if nkey else ""
        (self.folder / "nats.conf").write_text(f"""
            jetstream {{ store_dir: "{self.folder}/streams" }}
            tls {{ cert_file: "{certificate}", key_file: "{key}", ca_file: "{self.authority.certificate}", verify: true }}
            authorization {{ users: [ {{ user: "fleet", password: "{password}" }}{other} ] }}
        """)

    def words(self, *words: str, ca: Authority | None = None, client: Authority | None = None) -> list[str]:
        """The options for TLS: by default the right authority and certificate."""
        certificate, key = (client or self.authority).sign("client")
        return [
            "--ca",
            str((ca or self.authority).certificate),
            "--cert",
            str(certificate),
            "--cert-key",
            str(key),
            *words,
        ]

    def file(self, name: str, content: str) -> str:
        path = self.folder / name
        path.write_text(content)
        return str(path)


def server_with(folder: Path) -> Server:
    """A server with the configuration ``nats.conf`` of a folder; not started yet."""
    program = find_nats_server()
    return Server(
        command=lambda port: [program, "-a", "127.0.0.1", "-p", str(port), "-c", str(folder / "nats.conf")],
        log=folder / "nats-server.log",
        is_up=greets,
    )


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureServer]:
    folder = tmp_path_factory.mktemp("secure")
    server = server_with(folder)
    secure = SecureServer(server, folder, Authority(folder, "authority"), Authority(folder, "stranger"))
    secure.write_config()
    server.start()
    fleet(secure, "init", "--replicas", "1", "--user", "fleet", "--password-file", secure.file("right", PASSWORD))
    yield secure
    server.stop()


def fleet(secure: SecureServer, command: str, *words: str, tls: Sequence[str] | None = None, expect: int = 0) -> str:
    """A command of the fleet; what it printed, in which no secret is."""
    address = f"tls://{secure.address}"
    done = run_command(
        ["fleet", command, *([] if "--servers" in words else ["--servers", address]), *(tls or secure.words()), *words],
        {"HOME": str(secure.folder)},
    )
    said = done.stdout + done.stderr
    assert done.returncode == expect, said
    for text in (said, secure.log):
        assert not any(secret in text for secret in (PASSWORD, quote(PASSWORD, safe=""), "wrong password"))
    return said


def test_passwords(secure: SecureServer) -> None:
    """A password in a file, and one in the address."""
    user = quote(PASSWORD, safe="")
    for words in (
        ["--user", "fleet", "--password-file", secure.file("right", PASSWORD + "\n")],
        ["--servers", f"tls://fleet:{user}@{secure.address}"],
    ):
        assert "0 workers" in fleet(secure, "status", *words)


def test_nkey(secure: SecureServer) -> None:
    """An nkey instead of a user."""
    nkeys = pytest.importorskip("nkeys", reason="it comes with the extra `fleet`")
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    secure.write_config(nkey=nkeys.from_seed(bytearray(seed)).public_key.decode())
    secure.server.reload()
    file = secure.file("nkey", seed.decode())
    eventually(lambda: "reloaded server configuration" in secure.log.lower(), "the new configuration")
    said = fleet(secure, "status", "--nkey", file)
    assert "0 workers" in said
    assert seed.decode() not in said + secure.log


def test_wrong_logins(secure: SecureServer) -> None:
    """Each wrong thing has its own sentence, which names the option, and its exit status."""
    user = ["--user", "fleet", "--password-file"]
    right = [*user, secure.file("right", PASSWORD)]
    assert "--password-file" in fleet(secure, "status", *user, secure.file("wrong", "wrong password"), expect=REFUSED)
    assert "--user" in fleet(secure, "status", expect=REFUSED)
    assert "--ca" in fleet(secure, "status", *right, tls=secure.words(ca=secure.stranger), expect=REFUSED)
    assert "--cert" in fleet(secure, "status", *right, tls=secure.words(client=secure.stranger), expect=REFUSED)
    assert "--cert" in fleet(secure, "status", *right, tls=secure.words()[:2], expect=REFUSED)
    assert "--cert-key" in fleet(secure, "status", *right, tls=secure.words()[:4], expect=WRONG)
    text = secure.file("text", "no certificate")
    assert "text" in fleet(secure, "status", *right, tls=["--ca", text], expect=WRONG)
    assert "nats://" in fleet(secure, "status", *right, "--servers", "http://127.0.0.1", expect=WRONG)


def test_expired_certificates(secure: SecureServer) -> None:
    """A certificate that has expired is called so, the server's and the client's; after a reload with a new one all is well."""
    right = ["--user", "fleet", "--password-file", secure.file("right", PASSWORD)]
    certificate, key = secure.authority.sign("expired", days=0)
    tls = ["--ca", str(secure.authority.certificate), "--cert", str(certificate), "--cert-key", str(key)]
    assert "-enddate" in fleet(secure, "status", *right, tls=tls, expect=REFUSED)
    secure.write_config(days=0)
    secure.server.reload()
    eventually(lambda: "has expired" in fleet(secure, "status", *right, expect=REFUSED), "the expired certificate")
    secure.write_config()
    secure.server.reload()
    eventually(lambda: "0 workers" in fleet(secure, "status", *right), "the new certificate")


@pytest.mark.parametrize("error", [ConnectionResetError(), BrokenPipeError()])
def test_cut_before_the_reason_is_read(error: OSError) -> None:
    """A server that refuses the login or the certificate may cut the connection: the remedy names all that may be wrong."""
    connection = Connection(NatsLogin(servers=["nats://127.0.0.1:1"]))
    connection._client.has_logged_in = True
    found = connection.why(error)
    assert isinstance(found, CredentialsRefused)
    assert all(words in (found.remedy or "") for words in ("--password-file", "--creds", "--cert", "-enddate"))


def test_nothing_is_sent_unencrypted() -> None:
    """A server, or somebody in between, that offers no TLS gets neither the login nor anything else."""
    heard = bytearray()

    def talk(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(b'INFO {"server_id":"x","version":"2.11.0","auth_required":true,"max_payload":1024}\r\n')
        while piece := connection.recv(1000):
            heard.extend(piece)

    with serving(talk) as port, pytest.raises(CredentialsRefused, match="does not encrypt"):
        Servers(NatsLogin.of([f"tls://127.0.0.1:{port}"], user="fleet", password=PASSWORD), name="tests")
    assert not heard


def test_login_ends_while_connected(secure: SecureServer, tmp_path: Path) -> None:
    """A worker whose login the servers have withdrawn ends, so that it is started again. It does not wait endlessly."""
    certificate, key = secure.authority.sign("client")
    login = NatsLogin.of(
        [f"tls://{secure.address}"], user="fleet", password=PASSWORD, ca=secure.authority.certificate, cert=certificate,
        cert_key=key,
    )  # fmt: skip
    servers = Servers(login, name="tests")
    worker = Worker(name="w", folder=tmp_path, servers=servers, box=None, engine=None)  # type: ignore[arg-type]
    ended: list[Retryable] = []

    def run() -> None:
        try:
            worker.run()
        except Retryable as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        eventually(worker.is_healthy, "a lease")
        secure.write_config("another password")
        secure.server.reload()
        thread.join(60)
        assert [error.remedy for error in ended]
        assert "fleet status" in str(ended[0].remedy)
    finally:
        worker.stop()
        servers.close()
        secure.write_config()
        secure.server.reload()


def jwt(issuer: Any, subject: Any, claims: dict[str, Any]) -> str:
    """A token of NATS for the key of ``subject``, signed by ``issuer``."""

    def part(value: Any) -> str:
        raw = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    own = subject.public_key.decode()
    body = {"iat": 1, "iss": issuer.public_key.decode(), "name": own, "sub": own, "nats": {"version": 2, **claims}}
    body["jti"] = base64.b32encode(hashlib.sha256(json.dumps(body).encode()).digest()).rstrip(b"=").decode()
    signed = f"{part({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{part(body)}"
    return f"{signed}.{part(issuer.sign(signed.encode()))}"


def test_creds_file(tmp_path: Path) -> None:
    """A ``.creds`` file of an account that an operator has signed; a user of another account is refused."""
    nkeys = pytest.importorskip("nkeys", reason="it comes with the extra `fleet`")
    kinds = ("OPERATOR", "ACCOUNT", "ACCOUNT", "ACCOUNT", "USER")
    seeds = [nkeys.encode_seed(os.urandom(32), getattr(nkeys, f"PREFIX_BYTE_{kind}")) for kind in kinds]
    operator, account, system, stranger, user = (nkeys.from_seed(bytearray(seed)) for seed in seeds)
    unlimited = dict.fromkeys(
        ("subs", "data", "payload", "imports", "exports", "conn", "leaf", "mem_storage", "disk_storage", "streams", "consumer"), -1
    )  # fmt: skip
    accounts = {
        key.public_key.decode(): jwt(operator, key, {"type": "account", "limits": limits})
        for key, limits in ((account, {**unlimited, "wildcards": True}), (system, {}))
    }
    preloaded = ", ".join(f"{name}: {token}" for name, token in accounts.items())
    (tmp_path / "nats.conf").write_text(f"""
        jetstream {{ store_dir: "{tmp_path}/streams" }}
        operator: {jwt(operator, operator, {"type": "operator"})}
        system_account: {system.public_key.decode()}
        resolver: MEMORY
        resolver_preload: {{ {preloaded} }}
    """)
    server = server_with(tmp_path)
    server.start()
    try:
        for issuer, status in ((account, 0), (stranger, REFUSED)):
            token = jwt(issuer, user, {"type": "user", "subs": -1, "data": -1, "payload": -1})
            path = tmp_path / "user.creds"
            path.write_text(
                f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
                f"-----BEGIN USER NKEY SEED-----\n{seeds[-1].decode()}\n------END USER NKEY SEED------\n"
            )
            words = [
                "fleet",
                "init",
                "--replicas",
                "1",
                "--servers",
                f"nats://127.0.0.1:{server.port}",
                "--creds",
                str(path),
            ]
            done = run_command(words, {"HOME": str(tmp_path)})
            assert done.returncode == status, done.stderr
            assert seeds[-1].decode() not in done.stdout + done.stderr + server.log.read_text()
    finally:
        server.stop()
