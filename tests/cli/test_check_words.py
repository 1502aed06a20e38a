"""No remedy within ``check`` tells the user to run ``check``, and none within ``setup`` to wait for a retry."""

from __future__ import annotations

import pytest

from tconnectsync import Rejected, Retryable
from tconnectsync.queries.check_remedies import (
    AGAIN,
    remedy_before_writing,
    remedy_within_check,
    remedy_within_setup,
)
from tconnectsync.text.retry_words import LATER, without_retries

CHECK = "`tconnectsync check`"


@pytest.mark.parametrize(
    ("remedy", "within"),
    [
        (None, None),
        ("Wait an hour.", "Wait an hour."),
        (Retryable("x").remedy, "Nothing is lost: the daemon retries."),
        (Rejected("x").remedy, "`tconnectsync dead-letters list` shows the refused documents."),
        (f"Run {CHECK} to see what the site allows.", AGAIN),
        (
            f"Correct the list, then {CHECK}. Nothing was written.",
            f"Correct the list, then {CHECK}. Nothing was written.",
        ),
        (f"Set `nightscout.token`. Then run {CHECK}.", f"Set `nightscout.token`. Then run {CHECK}."),
        (f"Is nightscout.url (NS_URL) right? Run {CHECK} to see.", "Is nightscout.url (NS_URL) right?"),
        (f"Run {CHECK}. If it stays, look at the free memory.", "If it stays, look at the free memory."),
    ],
)
def test_what_only_points_at_check_is_left_out(remedy: str | None, within: str | None) -> None:
    assert remedy_within_check(remedy) == within


@pytest.mark.parametrize(
    ("remedy", "within"),
    [
        (None, None),
        ("Set this computer's clock.", "Set this computer's clock."),
        (Retryable("x").remedy, LATER),
        ("Nothing to do: the daemon retries.", LATER),
        ("Is this computer online? The daemon retries.", "Is this computer online?"),
        (
            "Open the site: does it answer? Nothing is lost; it is retried.",
            "Open the site: does it answer? Nothing is lost.",
        ),
        ("Check for a newer release. Until then the daemon retries about once an hour.", "Check for a newer release."),
        (f"Correct nightscout.url (NS_URL). Then run {CHECK}.", "Correct nightscout.url."),
        (f"Run {CHECK} to see what the site allows.", ""),
        (f"Wait an hour, log in once in a browser, then run {CHECK}.", "Wait an hour, log in once in a browser."),
        (AGAIN, ""),
        (
            "Nothing to do at first: the daemon retries after half an hour or more. If it stays blocked, stop other programs.",
            "Try again after half an hour or more. If it stays blocked, stop other programs.",
        ),
        ("The daemon retries. If it continues, check the proxy.", f"{LATER} If it continues, check the proxy."),
    ],
)
def test_nothing_is_retried_within_setup(remedy: str | None, within: str | None) -> None:
    """Nothing is written yet, so no daemon retries: a reader who waits would wait for ever."""
    assert remedy_within_setup(remedy) == within


def test_variables_stay_within_init() -> None:
    remedy = "Correct nightscout.url (NS_URL). The daemon retries."
    assert remedy_before_writing(remedy) == "Correct nightscout.url (NS_URL)."


def test_command_that_has_ended() -> None:
    """It does not say that the daemon repeats it. What says something about `check` stays."""
    assert without_retries(None) is None
    assert without_retries("Nothing to do: the daemon retries.") == LATER
    assert without_retries(f"Is it online? The daemon retries. Then run {CHECK}.") == f"Is it online? Then run {CHECK}."
