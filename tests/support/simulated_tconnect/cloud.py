"""The older t:connect as it was before Tandem Source, over real HTTP on the loopback: website, phone app, two data services.

::

    with TconnectCloud(simulate(SimulationPlan()), clock) as cloud:
        cloud.fail(web_page_blocked(path="TherapyEvents"))
        ...  # a client with cloud.endpoints
        cloud.count("timeline")
"""

from __future__ import annotations

import re
from bisect import bisect_right
from datetime import date, datetime

from tconnectsync_simulator.cloud.server import CloudAnswer, CloudRequest, html_answer, json_answer
from tconnectsync_simulator.cloud.service import HasNow
from tconnectsync_simulator.cloud.tandem import NOT_FOUND
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import SimulatedPump, simulate
from tests.support.cloud_faults import WEB_PAGE_BLOCKED
from tests.support.faulty_cloud import FaultyService
from tests.support.simulated_tconnect import responses as answers
from tests.support.simulated_tconnect.login import OlderAccount, TconnectLogin
from tests.support.simulated_tconnect.records import CONTROL_IQ, TconnectRecords, records_from_pump
from tests.support.simulated_tconnect.responses import Days

CONTROL_IQ_BEGAN = date(2020, 2, 1)
MOST_CSV_DAYS = 2
PATHS = {
    "login": r"/login\.aspx",
    "welcome": r"/",
    "phone_token": r"/cloud/oauth2/token",
    "upload": r"/cloud/upload/getlasteventuploaded",
    "features": r"/tconnect/controliq/api/pumpfeatures/users/(?P<guid>[^/]+)",
    "timeline": r"/tconnect/controliq/api/therapytimeline/users/(?P<guid>[^/]+)",
    "events": r"/tconnect/therapyevents/api/TherapyEvents/(?P<first>[^/]+)/(?P<last>[^/]+)/false",
    "csv": r"/therapytimeline2csv/(?P<guid>[^/]+)/(?P<first>[^/]+)/(?P<last>[^/]+)",
    "suspensions": r"/basalsuspension/(?P<guid>[^/]+)/(?P<first>[^/]+)/(?P<last>[^/]+)/(filterbasal/1)?",
    "basal_iq": r"/basaliqtech/(?P<guid>[^/]+)/(?P<first>[^/]+)/(?P<last>[^/]+)",
}
QUERIES = {
    "upload": ["sn"],
    "features": [],
    "timeline": ["startDate", "endDate"],
    "events": ["userId"],
    "csv": ["format"],
    "suspensions": ["callback"],
    "basal_iq": ["callback"],
}
"""The only keys, in the only order, that the firewall accepts."""
DATA_WITH_TOKEN = frozenset({"upload", "features", "timeline", "events"})


class TconnectCloud(FaultyService):
    """A running server; close it, or use it as a context manager. Thread-safe.

    ``clock`` determines what was uploaded and when tokens expire. ``control_iq_since``: the first day of Control:IQ
    (None: never); before it there is only the CSV export. ``csv_fails_every`` N: every Nth export fails with status 500.
    """

    def __init__(
        self,
        pump: SimulatedPump | SimulationPlan,
        clock: HasNow,
        *,
        account: OlderAccount | None = None,
        control_iq_since: date | None = CONTROL_IQ_BEGAN,
        token_life_s: int = 8 * 3600,
        gives_token: bool = True,
        csv_fails_every: int | None = None,
    ) -> None:
        self.pump = pump if isinstance(pump, SimulatedPump) else simulate(pump)
        self.account = account or OlderAccount()
        self.control_iq_since = control_iq_since
        self.csv_fails_every = csv_fails_every
        self.login = TconnectLogin(
            account=self.account, now=clock.now, token_life_s=token_life_s, gives_token=gives_token
        )
        self._uploads = sorted({record.uploaded_s for record in self.pump.log})
        self._book: tuple[int, TconnectRecords] = (0, TconnectRecords())
        self._exports = 0
        super().__init__(clock)

    @property
    def endpoints(self) -> dict[str, str]:
        """The table ``[sources.tconnect.endpoints]``."""
        return dict.fromkeys(("login", "android", "controliq", "ws2"), f"{self.url}/")

    def forget_tokens(self) -> None:
        """Revoke all tokens and sessions."""
        self.login.expire()

    def kind_of(self, request: CloudRequest) -> str:
        """login_page, login, welcome, phone_token, upload, features, timeline, events, csv, suspensions, basal_iq, other."""
        kind = next((kind for kind, path in PATHS.items() if re.fullmatch(path, request.path)), "other")
        return "login_page" if (kind, request.method) == ("login", "GET") else kind

    def answer(self, request: CloudRequest) -> CloudAnswer:
        """The response to a request."""
        match (self.kind_of(request), request.method):
            case ("login_page", "GET"):
                return self.login.page()
            case ("login", "POST"):
                return self.login.submit(request)
            case ("welcome", "GET" | "POST"):
                return self.login.welcome(request)
            case ("phone_token", "POST"):
                return self.login.phone_token(request)
            case (kind, "GET") if kind in QUERIES:
                return self._data(request)
        return html_answer(NOT_FOUND, 404)

    def _data(self, request: CloudRequest) -> CloudAnswer:
        kind = self.kind_of(request)
        if [key for key, _ in request.query] != QUERIES[kind]:
            return html_answer(WEB_PAGE_BLOCKED)
        if kind in DATA_WITH_TOKEN and not self.login.knows(request):
            return json_answer({"message": "Authorization has been denied for this request."}, 401)
        path = re.fullmatch(PATHS[kind], request.path)
        said = {**(path.groupdict() if path else {}), **dict(request.query)}
        if said.get("guid", said.get("userId", self.account.guid)) != self.account.guid:
            return html_answer(NOT_FOUND, 404)
        if kind == "upload":
            return self._upload(said["sn"])
        if kind == "features":
            return json_answer(self._features())
        days = _days(said.get("first", said.get("startDate", "")), said.get("last", said.get("endDate", "")))
        if days is None:
            return json_answer({"message": "The request is invalid."}, 400)
        if kind == "csv":
            return self._csv(days)
        if kind == "suspensions":
            listed = {"BasalSuspension": answers.suspensions(self.records, days)}
            return _jsonp(answers.jsonp(said["callback"], listed))
        if kind == "basal_iq":
            listed = {"BasalIQ": answers.suspensions(self.records, days, reasons=frozenset({CONTROL_IQ}))}
            return _jsonp(answers.jsonp(said["callback"], listed))
        since = self.control_iq_since
        if since is None or days[1] < max(since, CONTROL_IQ_BEGAN):
            return html_answer(NOT_FOUND, 404)
        days = (max(days[0], since), days[1])
        if kind == "timeline":
            return json_answer(answers.therapy_timeline(self.records, days))
        return json_answer(answers.therapy_events(self.records, days, self.pump.plan.serial))

    def _upload(self, serial: str) -> CloudAnswer:
        if serial != self.pump.plan.serial:
            return html_answer(NOT_FOUND, 404)
        return json_answer({"maxPumpEventIndex": self.records.newest_index, "processingStatus": 1})

    def _features(self) -> list[object]:
        since, features = self.control_iq_since, {}
        if since is not None:
            at = datetime(since.year, since.month, since.day)
            features["controlIQ"] = {
                "feature": 1,
                "dateTimeFirstDetected": at.isoformat(),
                "unixTimestamp": answers.pacific_s(at),
            }
        return [{"serialNumber": self.pump.plan.serial, "features": features}]

    def _csv(self, days: Days) -> CloudAnswer:
        self._exports += 1
        overloaded = self.csv_fails_every is not None and self._exports % self.csv_fails_every == 0
        if overloaded or (days[1] - days[0]).days >= MOST_CSV_DAYS:
            return CloudAnswer(status=500, content_type="text/html", body=b"<html>Runtime Error</html>")
        body = answers.csv_export(self.records, days, self.pump.plan.serial, self.control_iq_since)
        return CloudAnswer(body=body, content_type="text/csv")

    @property
    def records(self) -> TconnectRecords:
        """The records that the services have now."""
        place = bisect_right(self._uploads, self.clock.now().timestamp())
        if self._book[0] != place:
            until_s = self._uploads[place - 1]
            self._book = place, records_from_pump(record for record in self.pump.log if record.uploaded_s <= until_s)
        return self._book[1]


def _jsonp(body: bytes) -> CloudAnswer:
    return CloudAnswer(body=body, content_type="application/javascript")


def _days(first: str, last: str) -> Days | None:
    if not all(re.fullmatch(r"\d\d-\d\d-\d{4}", text) for text in (first, last)):
        return None
    try:
        begin, end = (datetime.strptime(text, "%m-%d-%Y").date() for text in (first, last))
    except ValueError:
        return None
    return (begin, end) if begin <= end else None
