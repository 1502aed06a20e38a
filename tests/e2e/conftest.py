"""What the tests of the whole product share."""

from __future__ import annotations

import pytest

from tconnectsync_tandem.source import open_source
from tests.support.in_process_check import check_in_process


@pytest.fixture(autouse=True)
def login_checked_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine in this process checks a login's signature here too: a process for each of thousands of logins is slow.

    The daemon and the commands, which are processes, do it as they always do; ``tests/tandem/test_id_token.py`` tests that.
    """
    monkeypatch.setitem(open_source.__kwdefaults__, "start_check", check_in_process)
