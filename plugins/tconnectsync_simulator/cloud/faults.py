"""What can go wrong at the simulated cloud, on request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

BLOCKED = (
    "<html><head><title>Request Rejected</title></head><body>The request is blocked. Attack ID: 20000051</body></html>"
)
MAINTENANCE = "<html><head><title>Scheduled maintenance</title></head><body>We will be back soon.</body></html>"
WEB_PAGE_BLOCKED = (
    "<html><head><title>Web Page Blocked!</title></head><body><h1>Web Page Blocked!</h1><p>The page cannot be displayed."
    "</p><p>Attack ID: 20000051</p></body></html>"
)
"""The older website's firewall, with status 200."""
NOT_FOUND = "<html><head><title>404 Not Found</title></head><body>404 Not Found</body></html>"


@attrs.frozen(kw_only=True)
class CloudFault:
    """What goes wrong with the next ``times`` requests whose path contains ``path`` (empty: any).

    With ``status`` the request is not served at all; without, it is served and its answer is harmed as told.
    """

    path: str = ""
    times: int = 1
    status: int | None = None
    body: str = MAINTENANCE
    content_type: str = "text/html; charset=utf-8"
    headers: Mapping[str, str] = attrs.field(factory=dict)
    wait_s: float = 0.0
    """Wait before serving."""

    reset: str = attrs.field(default="", validator=attrs.validators.in_(("", "before", "after")))
    """``"before"`` or ``"after"`` the request is served: break the connection instead of answering."""

    revoke: bool = False
    """Forget every access token first."""

    cut: bool = False
    """Send only the first half of the body, as if it were all."""

    short: bool = False
    """Promise the whole body, send half of it, and break the connection."""

    rename: Mapping[str, str] = attrs.field(factory=dict)
    """Keys that have another name wherever they stand in the JSON."""

    drop: frozenset[str] = frozenset()
    """Keys that are missing wherever they stand in the JSON."""

    put: Mapping[str, Any] = attrs.field(factory=dict)
    """Keys that have another value wherever they stand in the JSON."""

    retype: Mapping[str, Callable[[Any], Any]] = attrs.field(factory=dict)
    """Keys whose value is sent as something else wherever they stand in the JSON."""

    @property
    def changes_json(self) -> bool:
        """Whether the answer has to be taken apart."""
        return bool(self.rename or self.drop or self.put or self.retype)

    def change(self, value: Any) -> Any:
        """The JSON value with the keys renamed, dropped, replaced and retyped, at every depth."""
        if isinstance(value, list):
            return [self.change(each) for each in value]
        if not isinstance(value, dict):
            return value
        return {
            self.rename.get(key, key): self._harmed(key, each) for key, each in value.items() if key not in self.drop
        }

    def _harmed(self, key: str, value: Any) -> Any:
        found = self.put[key] if key in self.put else self.change(value)
        return self.retype[key](found) if key in self.retype else found


def answered(
    status: int, *, path: str = "", times: int = 1, retry_after: str | None = None, body: str = ""
) -> CloudFault:
    """An error status, with the body that the service is known to give for it."""
    known = {403: BLOCKED, 404: NOT_FOUND, 503: MAINTENANCE}
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return CloudFault(path=path, times=times, status=status, body=body or known.get(status, ""), headers=headers)


def html_page(*, path: str = "pump-logs", times: int = 1) -> CloudFault:
    """A page of HTML with status 200."""
    return CloudFault(path=path, times=times, status=200)


def web_page_blocked(*, path: str = "", times: int = 1) -> CloudFault:
    """The firewall before the older t:connect."""
    return CloudFault(path=path, times=times, status=200, body=WEB_PAGE_BLOCKED)


def null_answer(*, path: str = "pump-logs", times: int = 1) -> CloudFault:
    """``null`` with status 200."""
    return CloudFault(path=path, times=times, status=200, body="null", content_type="application/json")


def login_refused(*, times: int = 1) -> CloudFault:
    """The login says no."""
    body = '{"errors":[{"code":"account/invalid_credentials","message":"Invalid credentials"}]}'
    return CloudFault(path="accounts/api/login", times=times, status=401, body=body, content_type="application/json")


def terms_not_accepted(*, times: int = 1) -> CloudFault:
    """The login wants new terms to be accepted on the web page."""
    body = '{"redirectUrl":"/terms","status":"TERMS_NOT_ACCEPTED"}'
    return CloudFault(path="accounts/api/login", times=times, status=200, body=body, content_type="application/json")


@attrs.define
class CloudFaults:
    """The faults still to come, in order."""

    _coming: list[CloudFault] = attrs.field(factory=list)

    def __iter__(self) -> Iterator[CloudFault]:
        return iter(tuple(self._coming))

    def add(self, *faults: CloudFault) -> None:
        """Let them happen after those that are there."""
        self._coming.extend(faults)

    def clear(self) -> None:
        """Forget those that are left."""
        self._coming.clear()

    def take(self, path: str) -> CloudFault | None:
        """The first that fits this path, used up by one."""
        for index, fault in enumerate(self._coming):
            if fault.path in path:
                if fault.times > 1:
                    self._coming[index] = attrs.evolve(fault, times=fault.times - 1)
                else:
                    del self._coming[index]
                return fault
        return None
