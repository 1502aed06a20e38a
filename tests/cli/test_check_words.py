"""No remedy within ``check`` tells the user to run ``check``."""

from __future__ import annotations

import pytest

from tconnectsync import Rejected, Retryable
from tconnectsync.queries.check_remedies import AGAIN, remedy_within_check

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
