"""Secrets that can be recognised, where each of them may be, and the search for them everywhere else."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qs, quote, quote_plus

from tconnectsync_simulator.cloud.accounts import SimulatedAccount
from tests.support.cloud_faults import CloudFault
from tests.support.fault_proxy import FaultProxy
from tests.support.proxy_responses import ProxiedRequest

PASSWORD = 'Marked pass/word+"q%ä'
SECRET = "marked secret/of the=site ü"
ACCOUNT = SimulatedAccount(email="marked+wearer@example.org", password=PASSWORD)
PERSONAL = {
    "first name": "Markedfirst", "last name": "Markedlast", "full name": "Simulated Wearer", "birth date": "1957-03-09",
    "account": ACCOUNT.account_id, "wearer": ACCOUNT.pumper_id, "email": ACCOUNT.email,
}  # fmt: skip
"""What the cloud knows about the wearer, and nobody else needs."""

PERSON = CloudFault(
    path="/pumper/", times=1_000_000,
    put={"firstName": PERSONAL["first name"], "lastName": PERSONAL["last name"], "dateOfBirth": PERSONAL["birth date"]},
)  # fmt: skip
"""For a simulated cloud: whose pumps they are."""

MAY_BE: Mapping[str, Callable[[ProxiedRequest, str], bool]] = {
    "password": lambda asked, part: part == "body" and asked.path.endswith("/accounts/api/login"),
    "email": lambda asked, part: part == "body" and asked.path.endswith("/accounts/api/login"),
    "wearer": lambda asked, part: part == "target" and "/api/reports/bff/" in asked.path,
    "access token": lambda asked, part: part == "authorization" and "/api/reports/bff/" in asked.path,
    "cookie": lambda asked, part: part == "cookie",
    "code": lambda asked, part: part == "body" and asked.path.endswith("/connect/token"),
    "code verifier": lambda asked, part: part == "body" and asked.path.endswith("/connect/token"),
    "site secret, hashed": lambda asked, part: part == "api-secret",
}
"""The part of a request in which each secret is needed. A secret that is not named here is needed in none."""


def forms(secret: str) -> set[bytes]:
    """The forms that a secret may have in a text or a file."""
    return {hashlib.sha1(secret.encode()).hexdigest().encode(), *plain_forms(secret)}


def plain_forms(secret: str) -> set[bytes]:
    """The same without its hash."""
    return {*_plain_forms(secret)}


def _plain_forms(secret: str) -> Iterator[bytes]:
    plain = secret.encode()
    yield plain
    yield quote(secret).encode()
    yield quote(secret, safe="").encode()
    yield quote_plus(secret).encode()
    yield repr(secret)[1:-1].encode()
    yield json.dumps(secret)[1:-1].encode()
    yield secret.encode("unicode_escape")
    for lead in (b"", b"a", b"ab"):  # as a part of something longer
        encoded = base64.b64encode(lead + plain)
        yield encoded[4 if lead else 0 : -4]
        yield base64.urlsafe_b64encode(lead + plain)[4 if lead else 0 : -4]


def learned(to_cloud: FaultProxy) -> dict[str, set[str]]:
    """The secrets that logins created: what they sent and received. The proxy has to keep its answers."""
    found: dict[str, set[str]] = {
        name: set() for name in ("access token", "id token", "cookie", "code", "code verifier")
    }
    for asked in to_cloud.recorded:
        scheme, _, token = asked.headers.get("authorization", "").partition(" ")
        if scheme == "Bearer":
            found["access token"].add(token)
        for part in asked.headers.get("cookie", "").split(";"):
            value = part.strip().partition("=")[2]
            if len(value) > 8:
                found["cookie"].add(value)
        if asked.path.endswith("/connect/token"):
            form = parse_qs(asked.body.decode())
            found["code"] |= set(form["code"])
            found["code verifier"] |= set(form["code_verifier"])
    for reply in to_cloud.answers:
        if reply.body.startswith(b'{"access_token"'):
            granted = json.loads(reply.body)
            found["id token"].add(granted["id_token"])
            found["access token"].add(granted["access_token"])
    return found


def secrets_in_texts(texts: Iterable[tuple[str, bytes]], secrets: Mapping[str, Iterable[str]]) -> list[str]:
    """Which secret is in which text, in any form."""
    said = list(texts)
    everything = b"\0".join(text for _, text in said)
    looks = {
        name: found_in(everything, [form for mark in marks for form in forms(mark)]) for name, marks in secrets.items()
    }
    return [
        f"{name} in {where}"
        for where, text in said
        for name, sought in looks.items()
        if any(form in text for form in sought)
    ]


def found_in(text: bytes, sought: Iterable[bytes]) -> list[bytes]:
    """Return those that the text has: few, so that only these are searched in each part of it."""
    return [form for form in sought if form in text]


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder except the configuration."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "config.toml":
            yield str(path.relative_to(folder)), path.read_bytes()


def parts(asked: ProxiedRequest) -> list[tuple[str, bytes]]:
    """What was sent with a request, by name."""
    body = gzip.decompress(asked.body) if asked.headers.get("content-encoding") == "gzip" else asked.body
    headers = [(name, value.encode("latin-1")) for name, value in asked.headers.items()]
    return [("target", asked.target.encode()), ("body", body), *headers]


def secrets_in_requests(proxy: FaultProxy, secrets: Mapping[str, Iterable[str]]) -> list[str]:
    """Which secret was sent in a part of a request that does not need it. The site's secret is searched unhashed."""
    found = []
    parts_of = [(asked, parts(asked)) for asked in proxy.recorded]
    everything = b"\0".join(text for _, texts in parts_of for _, text in texts)
    looks = {
        name: found_in(
            everything,
            [form for mark in marks for form in (plain_forms if name.startswith("site secret") else forms)(mark)],
        )
        for name, marks in secrets.items()
    }
    for asked, texts in parts_of:
        for name, sought in looks.items():
            needed = MAY_BE.get(name, lambda _asked, _part: False)
            found += [
                f"{name} in the {part} of {asked.method} {asked.path}"
                for part, text in texts
                if not needed(asked, part) and any(form in text for form in sought)
            ]
    return found


def all_leaks(to_cloud: FaultProxy, to_site: FaultProxy, secret: str) -> list[str]:
    """Every secret that was sent to the wrong place, over both proxies."""
    hashed = hashlib.sha1(secret.encode()).hexdigest()
    clouds = {"password": {PASSWORD}, **learned(to_cloud), **{name: {text} for name, text in PERSONAL.items()}}
    sites = {"site secret": {secret}, "site secret, hashed": {hashed}}
    foreign = {f"the cloud's {name}": marks for name, marks in clouds.items()}
    return secrets_in_requests(to_cloud, {**clouds, **sites}) + secrets_in_requests(to_site, {**foreign, **sites})
