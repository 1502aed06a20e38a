"""What the tests of the whole product share."""

from __future__ import annotations

import pytest

from tconnectsync_tandem.api.id_token_check import verdict
from tconnectsync_tandem.source import open_source


@pytest.fixture(autouse=True)
def login_checked_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine in this process checks a login's signature here too: a process for each of thousands of logins is slow.

    The daemon and the commands, which are processes, do it as they always do; ``tests/tandem/test_id_token.py`` tests that.
    """
    monkeypatch.setitem(open_source.__kwdefaults__, "verify_signature", verdict)
