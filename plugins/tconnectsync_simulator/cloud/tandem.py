"""A simulated Tandem cloud: login and data over real HTTP on the loopback, for the demo, the tests and the benchmarks.

::

    with TandemCloud([simulate(SimulationPlan())], clock) as cloud:
        cloud.fail(answered(503, path="pump-logs", times=2))
        ...  # a client with cloud.endpoints
        cloud.count("pumper")
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from tconnectsync_simulator.cloud.accounts import Accounts, SimulatedAccount
from tconnectsync_simulator.cloud.faults import BLOCKED, NOT_FOUND
from tconnectsync_simulator.cloud.server import CloudAnswer, CloudRequest, html_answer, json_answer
from tconnectsync_simulator.cloud.service import HasNow, SimulatedService
from tconnectsync_simulator.cloud.upload_cache import UploadCache, cache_uploads
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import SimulatedPump

CLIENT_ID = "simulated-client"
LOG_KEYS = frozenset({"pumperId", "startDate", "endDate", "eventCodes"})
WINDOW_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")
SERVICE = re.compile(
    r"/(us|eu)/accounts/api/(login|connect/authorize|connect/authorize/callback|connect/token"
    r"|\.well-known/openid-configuration/jwks)\Z"
)
DATA = re.compile(r"/api/reports/bff/(pumper|pump-logs)/([0-9A-Za-z-]+)\Z")
KINDS = {
    "login": "login",
    "connect/authorize": "authorize",
    "connect/authorize/callback": "authorize_next",
    "connect/token": "token",
    ".well-known/openid-configuration/jwks": "jwks",
}


class TandemCloud(SimulatedService):
    """A running server; close it, or use it as a context manager. Thread-safe.

    ``pumps``: simulated pumps, plans (simulated here, bounded in memory) or caches. ``clock`` determines what was uploaded,
    when tokens expire, and the ``Date`` of every response. ``filters_codes``: whether ``eventCodes`` has an effect.
    ``largest_window_days``: longer windows get the status ``window_status``. ``unused_serials``: pumps of the account
    that never uploaded. ``newest_overrides`` (serial -> text): false newest dates. The first account is the wearer's.
    """

    def __init__(
        self,
        pumps: Sequence[SimulatedPump | SimulationPlan | UploadCache],
        clock: HasNow,
        *,
        accounts: Sequence[SimulatedAccount] = (SimulatedAccount(),),
        token_life_s: int = 1800,
        filters_codes: bool = False,
        largest_window_days: int | None = None,
        window_status: int = 500,
        unused_serials: Sequence[str] = (),
    ) -> None:
        self.caches = [each if isinstance(each, UploadCache) else cache_uploads(each) for each in pumps]
        self.accounts = tuple(accounts)
        self.filters_codes = filters_codes
        self.largest_window_days = largest_window_days
        self.window_status = window_status
        self.unused_serials = tuple(unused_serials)
        self.newest_overrides: dict[str, str] = {}
        super().__init__(clock)
        self._service = Accounts(self.url, CLIENT_ID, self.accounts, clock.now, token_life_s)

    @property
    def endpoints(self) -> dict[str, str]:
        """The table ``[sources.tandem.endpoints]`` for the wearer's own region."""
        return self.endpoints_of(self.accounts[0].region)

    def endpoints_of(self, region: str) -> dict[str, str]:
        """The same for any region; the login refuses accounts of another one."""
        return self._service.endpoints(region)

    def forget_tokens(self) -> None:
        """Revoke all access tokens and sessions."""
        self._service.revoke()

    def kind_of(self, request: CloudRequest) -> str:
        """login_page, login, authorize, authorize_next, redirect, token, jwks, pumper, pump-logs, other."""
        return _route(request)[0]

    def answer(self, request: CloudRequest) -> CloudAnswer:
        """The response to a request."""
        service = self._service
        _, region, argument = _route(request)
        match (request.kind, request.method):
            case ("login_page", "GET"):
                return service.login_page()
            case ("redirect", "GET"):
                return html_answer("<html><title>Signed in</title></html>")
            case ("login", "POST"):
                return service.log_in(request, region)
            case ("authorize", "GET"):
                return service.authorize(request)
            case ("authorize_next", "GET"):
                return service.authorized(request)
            case ("token", "POST"):
                return service.token(request, region)
            case ("jwks", "GET"):
                return service.jwks()
            case ("pumper" | "pump-logs", "GET"):
                return self._data(request, argument)
        return html_answer(NOT_FOUND, 404)

    def _data(self, request: CloudRequest, argument: str) -> CloudAnswer:
        origin, referer = request.headers.get("origin", self.url), request.headers.get("referer", self.url + "/")
        if origin != self.url or not referer.startswith(self.url + "/"):
            return html_answer(BLOCKED, 403)
        account = self._service.bearer(request)
        if account is None:
            return json_answer({"message": "Unauthorized"}, 401, ("WWW-Authenticate", 'Bearer error="invalid_token"'))
        if request.kind == "pumper":
            if argument != account.pumper_id:
                return html_answer(NOT_FOUND, 404)
            return json_answer(self._pumper())
        return self._pump_logs(request, argument, account)

    def _pumper(self) -> dict[str, Any]:
        now_s = self.clock.now().timestamp()
        entries = [self._entry(cache, now_s) for cache in self.caches]
        entries += [unused_pump(serial) for serial in self.unused_serials]
        return {
            "firstName": "Simulated",
            "lastName": "Wearer",
            "name": "Simulated Wearer",
            "dateOfBirth": "1990-01-01",
            "lowGlucoseThreshold": 70,
            "highGlucoseThreshold": 180,
            "country": self.accounts[0].region,
            "pumps": entries,
        }

    def _entry(self, cache: UploadCache, now_s: float) -> dict[str, Any]:
        first, newest = cache.reach(now_s) or (None, None)
        newest = self.newest_overrides.get(cache.pump.plan.serial, newest)
        return cache.pump.pumper_entry(first_text=first, newest_text=newest, last_upload_s=cache.last_upload_s(now_s))

    def _pump_logs(self, request: CloudRequest, assignment: str, account: SimulatedAccount) -> CloudAnswer:
        refusal = _invalid(request)
        if refusal is not None:
            return refusal
        cache = next((each for each in self.caches if each.pump.assignment_id == assignment), None)
        if request.value("pumperId") != account.pumper_id or cache is None:
            return html_answer(NOT_FOUND, 404)
        first, last = (request.value("startDate") or "")[:-1], (request.value("endDate") or "")[:-1]
        if self.largest_window_days is not None and _days(first, last) > self.largest_window_days:
            return json_answer({"message": "Internal server error"}, self.window_status)
        lists = [value for key, value in request.query if key == "eventCodes"]
        now_s = self.clock.now().timestamp()
        found: list[bytes] = []
        if len(lists) < 2:  # the server finds nothing for a repeated key
            wanted = (
                frozenset(int(each) for each in lists[0].split(",") if each) if lists and self.filters_codes else None
            )
            found = cache.events(first, last, now_s, wanted or None)
        body = b'{"events":[' + b",".join(found) + b'],"clockChanges":[' + b",".join(cache.clock_changes(now_s)) + b"]}"
        return CloudAnswer(body=body)


def unused_pump(serial: str) -> dict[str, Any]:
    """A pump that never uploaded, as the ``pumper`` response lists it."""
    return {
        "algorithm": "Basal-IQ",
        "availableDataRange": {"start": None, "end": None},
        "assignmentId": f"f6631fff-f403-4ce4-9362-{int(serial):012d}",
        "glucoseUnit": None,
        "lastUploadDate": None,
        "maxDateOfEvents": None,
        "modelNumber": "1000096",
        "modelName": "t:slim X2™ Insulin Pump",
        "partNumber": "1003314",
        "serialNumber": serial,
        "softwareVersion": "6.0.3.0",
        "lastUploadClientType": None,
        "settings": None,
    }


def _route(request: CloudRequest) -> tuple[str, str, str]:
    """(kind, region, argument) of a path."""
    if request.path == "/sso/":
        return "login_page", "", ""
    if request.path == "/sso/auth/callback":
        return "redirect", "", ""
    service = SERVICE.match(request.path)
    if service:
        return KINDS[service[2]], service[1].upper(), ""
    data = DATA.match(request.path)
    return (data[1], "", data[2]) if data else ("other", "", "")


def _invalid(request: CloudRequest) -> CloudAnswer | None:
    """The response to an invalid query; the real body was never published."""
    issues: list[Mapping[str, Any]] = []
    unknown = sorted({key for key, _ in request.query} - LOG_KEYS)
    if unknown:
        names = ", ".join(f"'{key}'" for key in unknown)
        issues.append(
            {
                "code": "unrecognized_keys",
                "keys": unknown,
                "path": [],
                "message": f"Unrecognized key(s) in object: {names}",
            }
        )
    if not request.value("pumperId"):
        issues.append({"code": "invalid_type", "path": ["pumperId"], "message": "Required"})
    issues.extend(
        {"code": "invalid_string", "path": [key], "message": "Invalid datetime"}
        for key in ("startDate", "endDate")
        if not _is_time(request.value(key))
    )
    codes = request.value("eventCodes")
    if codes and not re.fullmatch(r"\d+(,\d+)*", codes):
        issues.append({"code": "invalid_string", "path": ["eventCodes"], "message": "Invalid"})
    return json_answer({"name": "ZodError", "issues": issues}, 400) if issues else None


def _is_time(text: str | None) -> bool:
    if text is None or not WINDOW_TIME.match(text):
        return False
    try:
        datetime.fromisoformat(text[:-1])
    except ValueError:
        return False
    return True


def _days(first: str, last: str) -> int:
    return (date.fromisoformat(last[:10]) - date.fromisoformat(first[:10])).days + 1
