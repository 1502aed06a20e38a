"""A simulated Tandem cloud: login and data over real HTTP on the loopback, for the demo, the tests and the benchmarks.

::

    with TandemCloud([simulate(SimulationPlan())], clock) as cloud:
        ...  # a client with cloud.endpoints
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tconnectsync_simulator.cloud.accounts import Accounts, SimulatedAccount
from tconnectsync_simulator.cloud.server import CloudAnswer, CloudRequest, html_answer, json_answer
from tconnectsync_simulator.cloud.service import HasNow, SimulatedService
from tconnectsync_simulator.cloud.upload_cache import UploadCache, cache_uploads
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import SimulatedPump

CLIENT_ID = "simulated-client"
BLOCKED = (
    "<html><head><title>Request Rejected</title></head><body>The request is blocked. Attack ID: 20000051</body></html>"
)
NOT_FOUND = "<html><head><title>404 Not Found</title></head><body>404 Not Found</body></html>"
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
    when tokens expire, and the ``Date`` of every response. The first account is the wearer's.
    """

    def __init__(
        self,
        pumps: Sequence[SimulatedPump | SimulationPlan | UploadCache],
        clock: HasNow,
        *,
        accounts: Sequence[SimulatedAccount] = (SimulatedAccount(),),
        token_life_s: int = 1800,
    ) -> None:
        self.caches = [each if isinstance(each, UploadCache) else cache_uploads(each) for each in pumps]
        self.accounts = tuple(accounts)
        super().__init__(clock)
        self.login = Accounts(self.url, CLIENT_ID, self.accounts, clock.now, token_life_s)

    @property
    def endpoints(self) -> dict[str, str]:
        """The table ``[sources.tandem.endpoints]`` for the wearer's own region."""
        return self.login.endpoints(self.accounts[0].region)

    def answer(self, request: CloudRequest) -> CloudAnswer:
        kind, region, argument = route(request)
        match (kind, request.method):
            case ("login_page", "GET"):
                return self.login.login_page()
            case ("redirect", "GET"):
                return html_answer("<html><title>Signed in</title></html>")
            case ("login", "POST"):
                return self.login.log_in(request, region)
            case ("authorize", "GET"):
                return self.login.authorize(request)
            case ("authorize_next", "GET"):
                return self.login.authorized(request)
            case ("token", "POST"):
                return self.login.token(request, region)
            case ("jwks", "GET"):
                return self.login.jwks()
            case ("pumper" | "pump-logs", "GET"):
                return self._data(kind, argument, request)
        return html_answer(NOT_FOUND, 404)

    def _data(self, kind: str, argument: str, request: CloudRequest) -> CloudAnswer:
        origin, referer = request.headers.get("origin", self.url), request.headers.get("referer", self.url + "/")
        if origin != self.url or not referer.startswith(self.url + "/"):
            return html_answer(BLOCKED, 403)
        account = self.login.bearer(request)
        if account is None:
            return json_answer({"message": "Unauthorized"}, 401, ("WWW-Authenticate", 'Bearer error="invalid_token"'))
        if kind == "pumper":
            if argument != account.pumper_id:
                return html_answer(NOT_FOUND, 404)
            return json_answer(self._pumper(account))
        return self._pump_logs(request, argument, account)

    def _caches_of(self, _account: SimulatedAccount) -> Sequence[UploadCache]:
        """The pumps that an account sees."""
        return self.caches

    def _now_s(self, _account: SimulatedAccount) -> float:
        """Up to when an account's uploads have arrived."""
        return self.clock.now().timestamp()

    def _pumper(self, account: SimulatedAccount) -> dict[str, Any]:
        now_s = self._now_s(account)
        return {
            "firstName": "Simulated",
            "lastName": "Wearer",
            "name": "Simulated Wearer",
            "dateOfBirth": "1990-01-01",
            "lowGlucoseThreshold": 70,
            "highGlucoseThreshold": 180,
            "country": self.accounts[0].region,
            "pumps": [self._entry(cache, now_s) for cache in self._caches_of(account)],
        }

    def _entry(self, cache: UploadCache, now_s: float) -> dict[str, Any]:
        first, newest = cache.reach(now_s) or (None, None)
        return cache.pump.pumper_entry(first_text=first, newest_text=newest, last_upload_s=cache.last_upload_s(now_s))

    def _pump_logs(self, request: CloudRequest, assignment: str, account: SimulatedAccount) -> CloudAnswer:
        cache = next((each for each in self._caches_of(account) if each.pump.assignment_id == assignment), None)
        if request.value("pumperId") != account.pumper_id or cache is None:
            return html_answer(NOT_FOUND, 404)
        first, last = (request.value("startDate") or "")[:-1], (request.value("endDate") or "")[:-1]
        now_s = self._now_s(account)
        found = cache.events(first, last, now_s)
        body = b'{"events":[' + b",".join(found) + b'],"clockChanges":[' + b",".join(cache.clock_changes(now_s)) + b"]}"
        return CloudAnswer(body=body)


def route(request: CloudRequest) -> tuple[str, str, str]:
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
