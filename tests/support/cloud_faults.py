"""Faults of the simulated clouds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from tconnectsync_simulator.cloud.tandem import BLOCKED, NOT_FOUND
from tests.support.fault_queue import QueuedFault

MAINTENANCE = "<html><head><title>Scheduled maintenance</title></head><body>We will be back soon.</body></html>"
WEB_PAGE_BLOCKED = (
    "<html><head><title>Web Page Blocked!</title></head><body><h1>Web Page Blocked!</h1><p>The page cannot be displayed."
    "</p><p>Attack ID: 20000051</p></body></html>"
)
"""The page of the older website's firewall, sent with status 200."""


@attrs.frozen(kw_only=True)
class CloudFault(QueuedFault):
    """A fault of the cloud. With ``status``, the request is not processed; otherwise its response is changed."""

    body: str = MAINTENANCE
    content_type: str = "text/html; charset=utf-8"
    revoke: bool = False
    """Revoke all access tokens first."""

    cut: bool = False
    """Send only the first half of the body, with a matching Content-Length."""

    short: bool = False
    """Announce the whole body, send half of it, and break the connection."""

    rename: Mapping[str, str] = attrs.field(factory=dict)
    """New names of keys, at every depth of the JSON."""

    drop: frozenset[str] = frozenset()
    """Keys to remove, at every depth."""

    put: Mapping[str, Any] = attrs.field(factory=dict)
    """New values of keys, at every depth."""

    retype: Mapping[str, Callable[[Any], Any]] = attrs.field(factory=dict)
    """Conversions of the values of keys, at every depth."""

    @property
    def changes_json(self) -> bool:
        """Whether the JSON of the response is changed."""
        return bool(self.rename or self.drop or self.put or self.retype)

    def change(self, value: Any) -> Any:
        """Return the JSON value with the changes, at every depth."""
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
    """An error status, with the service's known body for it."""
    known = {403: BLOCKED, 404: NOT_FOUND, 503: MAINTENANCE}
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return CloudFault(path=path, times=times, status=status, body=body or known.get(status, ""), headers=headers)


def html_page(*, path: str = "pump-logs", times: int = 1) -> CloudFault:
    """An HTML page with status 200."""
    return CloudFault(path=path, times=times, status=200)


def web_page_blocked(*, path: str = "", times: int = 1) -> CloudFault:
    """The page of the firewall in front of the older t:connect."""
    return CloudFault(path=path, times=times, status=200, body=WEB_PAGE_BLOCKED)


def null_answer(*, path: str = "pump-logs", times: int = 1) -> CloudFault:
    """``null`` with status 200."""
    return CloudFault(path=path, times=times, status=200, body="null", content_type="application/json")


def login_refused(*, times: int = 1) -> CloudFault:
    """The login refuses the password."""
    body = '{"errors":[{"code":"account/invalid_credentials","message":"Invalid credentials"}]}'
    return CloudFault(path="accounts/api/login", times=times, status=401, body=body, content_type="application/json")


def terms_not_accepted(*, times: int = 1) -> CloudFault:
    """The login requires new terms to be accepted on the web page."""
    body = '{"redirectUrl":"/terms","status":"TERMS_NOT_ACCEPTED"}'
    return CloudFault(path="accounts/api/login", times=times, status=200, body=body, content_type="application/json")
