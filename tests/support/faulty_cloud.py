"""Simulated clouds that record requests and have faults: the common part, and Tandem's cloud."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import attrs
import msgspec

from tconnectsync_simulator.cloud.accounts import SimulatedAccount
from tconnectsync_simulator.cloud.server import CloudAnswer, CloudRequest, json_answer
from tconnectsync_simulator.cloud.service import HasNow, SimulatedService
from tconnectsync_simulator.cloud.tandem import TandemCloud, route
from tconnectsync_simulator.cloud.upload_cache import UploadCache
from tconnectsync_simulator.loopback_server import ConnectionBreaks
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import SimulatedPump
from tests.support.cloud_faults import CloudFault
from tests.support.fault_queue import FaultQueue

LOG_KEYS = frozenset({"pumperId", "startDate", "endDate", "eventCodes"})
WINDOW_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")


@attrs.frozen(kw_only=True)
class ReceivedRequest(CloudRequest):
    """A request and its kind, for :meth:`FaultyService.count`."""

    kind: str


class FaultyService(SimulatedService):
    """Records the requests, and can be told to fail. Subclasses define the kind of a request, too."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.faults: FaultQueue[CloudFault] = FaultQueue()
        self.requests: list[ReceivedRequest] = []
        self._closing = threading.Event()
        super().__init__(*arguments, **options)

    def close(self) -> None:
        """Stop serving, also the requests that wait."""
        self._closing.set()
        super().close()

    def fail(self, *faults: CloudFault) -> None:
        """Add faults."""
        with self._guard:
            self.faults.add(*faults)

    def revoke_tokens(self) -> None:
        """Revoke all access tokens and sessions."""
        with self._guard:
            self.forget_tokens()

    def count(self, kind: str) -> int:
        """How many requests of a kind were received."""
        with self._guard:
            return sum(request.kind == kind for request in self.requests)

    def kind_of(self, request: CloudRequest) -> str:
        """The kind of a request, for :meth:`count`."""
        raise NotImplementedError

    def forget_tokens(self) -> None:
        """Revoke all access tokens and sessions, under the lock."""
        raise NotImplementedError

    def respond(self, request: CloudRequest) -> CloudAnswer:
        with self._guard:
            values = {field.name: getattr(request, field.name) for field in attrs.fields(CloudRequest)}
            self.requests.append(ReceivedRequest(**values, kind=self.kind_of(request)))
            fault = self.faults.take(request.method, request.path)
        if fault is None:
            return super().respond(request)
        if fault.wait_s:
            self._closing.wait(fault.wait_s)
        if fault.reset == "before":
            raise ConnectionBreaks
        if fault.status is not None:
            return CloudAnswer(
                status=fault.status,
                body=fault.body.encode(),
                content_type=fault.content_type,
                headers=tuple(fault.headers.items()),
            )
        if fault.revoke:
            self.revoke_tokens()
        answer = super().respond(request)
        if fault.reset == "after":
            raise ConnectionBreaks
        if fault.changes_json:
            answer = attrs.evolve(answer, body=msgspec.json.encode(fault.change(msgspec.json.decode(answer.body))))
        half = answer.body[: len(answer.body) // 2]
        if fault.short:
            return attrs.evolve(answer, body=half, promised=len(answer.body))
        return attrs.evolve(answer, body=half) if fault.cut else answer


class FaultyTandemCloud(FaultyService, TandemCloud):
    """Tandem's cloud with faults, and with habits that it may have::

        with FaultyTandemCloud([simulate(SimulationPlan())], clock) as cloud:
            cloud.fail(answered(503, path="pump-logs", times=2))
            ...  # a client with cloud.endpoints
            cloud.count("pumper")

    ``filters_codes``: whether ``eventCodes`` has an effect. ``largest_window_days``: longer windows get the status
    ``window_status``. ``unused_serials``: pumps of the account that never uploaded. ``newest_overrides``
    (serial -> text): false newest dates.
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
        self.filters_codes = filters_codes
        self.largest_window_days = largest_window_days
        self.window_status = window_status
        self.unused_serials = tuple(unused_serials)
        self.newest_overrides: dict[str, str] = {}
        super().__init__(pumps, clock, accounts=accounts, token_life_s=token_life_s)

    def endpoints_of(self, region: str) -> dict[str, str]:
        """The endpoints for any region; the login refuses accounts of another one."""
        return self.login.endpoints(region)

    def forget_tokens(self) -> None:
        self.login._tokens.clear()
        self.login._sessions.clear()

    def tokens(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Copies of the access tokens and sessions that are valid, for :meth:`restore_tokens`."""
        with self._guard:
            return {**self.login._tokens}, {**self.login._sessions}

    def restore_tokens(self, tokens: tuple[dict[str, Any], dict[str, Any]]) -> None:
        """Make these valid, and no others."""
        with self._guard:
            self.login._tokens, self.login._sessions = {**tokens[0]}, {**tokens[1]}

    def kind_of(self, request: CloudRequest) -> str:
        """login_page, login, authorize, authorize_next, redirect, token, jwks, pumper, pump-logs, other."""
        return route(request)[0]

    def _pumper(self, account: SimulatedAccount) -> dict[str, Any]:
        found = super()._pumper(account)
        return {**found, "pumps": [*found["pumps"], *map(unused_pump, self.unused_serials)]}

    def _entry(self, cache: UploadCache, now_s: float) -> dict[str, Any]:
        newest = self.newest_overrides.get(cache.pump.plan.serial)
        if newest is None:
            return super()._entry(cache, now_s)
        first, _ = cache.reach(now_s) or (None, None)
        return cache.pump.pumper_entry(first_text=first, newest_text=newest, last_upload_s=cache.last_upload_s(now_s))

    def _pump_logs(self, request: CloudRequest, assignment: str, account: SimulatedAccount) -> CloudAnswer:
        answer = _refusal(request) or super()._pump_logs(request, assignment, account)
        if answer.status != 200:
            return answer
        first, last = ((request.value(key) or "")[:10] for key in ("startDate", "endDate"))
        days = (date.fromisoformat(last) - date.fromisoformat(first)).days + 1
        if self.largest_window_days is not None and days > self.largest_window_days:
            return json_answer({"message": "Internal server error"}, self.window_status)
        lists = [value for key, value in request.query if key == "eventCodes"]
        if len(lists) > 1:  # the server finds nothing for a repeated key
            return _only(answer, frozenset())
        wanted = frozenset(int(code) for code in "".join(lists).split(",") if code)
        return _only(answer, wanted) if self.filters_codes and wanted else answer


def _only(answer: CloudAnswer, codes: Collection[int]) -> CloudAnswer:
    """A response with the events of some codes only."""
    found = msgspec.json.decode(answer.body)
    found["events"] = [event for event in found["events"] if event["eventCode"] in codes]
    return attrs.evolve(answer, body=msgspec.json.encode(found))


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


def _refusal(request: CloudRequest) -> CloudAnswer | None:
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
