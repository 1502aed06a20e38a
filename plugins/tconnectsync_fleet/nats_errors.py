"""What an error of NATS JetStream means for an operator, and what to do about it."""

from __future__ import annotations

from nats.errors import Error as NatsError
from nats.js.errors import APIError, NoStreamResponseError, ServiceUnavailableError

from tconnectsync import Retryable

_NO_MAJORITY = (
    "the NATS servers have no majority, so JetStream stores and reads nothing",
    "Nothing is lost: work continues when most servers run again. Start those that are stopped; `curl http://127.0.0.1:8222/healthz` on each server's computer says what it waits for.",
)
_NOT_ENABLED = (
    "JetStream is not enabled on the NATS servers, or not for this login's account",
    "Add `jetstream { store_dir: … }` to the servers' configuration, and `jetstream: enabled` to the account if there are accounts.",
)
_SILENT = (
    "JetStream does not answer: too few NATS servers run, or it is not enabled on them",
    f"Start the servers that are stopped. If all run: {_NOT_ENABLED[1][0].lower()}{_NOT_ENABLED[1][1:]}",
)
_NO_SPACE = (
    "the NATS servers have no space left for JetStream",
    "Nothing is lost. Make space on their disks, or raise `max_file_store` in their configuration and reload them.",
)
_TOO_FEW = (
    "fewer NATS servers run than --replicas asks for",
    "Start the others, and wait until they have found each other. For a single server: `tconnectsync fleet init --replicas 1`.",
)
_MEANINGS = {
    10005: _TOO_FEW,
    10008: _NO_MAJORITY,
    10009: _NO_MAJORITY,
    10023: _NO_SPACE,
    10028: _NO_SPACE,
    10039: _NOT_ENABLED,
    10047: _NO_SPACE,
    10074: _TOO_FEW,
    10076: _NOT_ENABLED,
}
"""By JetStream's number of the error."""


def meaning_of(error: NatsError) -> Retryable:
    """Return an error for people, with a remedy."""
    message, remedy = (
        f"the NATS servers answered with an error ({str(error).removeprefix('nats: ')})",
        "Look at the servers' logs, and at `curl http://127.0.0.1:8222/healthz` on each server's computer.",
    )
    number = getattr(error, "err_code", None) or 0  # errors about keys are API errors without these two attributes
    if isinstance(error, NoStreamResponseError) or (isinstance(error, ServiceUnavailableError) and not number):
        message, remedy = _SILENT
    elif isinstance(error, APIError):
        if "no space left" in str(getattr(error, "description", "")):
            message, remedy = _NO_SPACE
        message, remedy = _MEANINGS.get(number, (message, remedy))
    return Retryable(message, remedy=remedy)
