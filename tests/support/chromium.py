"""A real Chromium, as the distribution brings it, for tests of pages. A module's tests share one browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support.real_servers import in_ci

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome")
SANDBOX_OFF = "--no-sandbox"  # root cannot use the sandbox, and a container often has none


def find_chromium() -> str:
    """The program's path. Without it the test is skipped, and in CI it fails."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        reason = "Chromium is not installed (apt-get install chromium)"
        if in_ci(os.environ):
            pytest.fail(f"in CI the pages are tested in a real browser: {reason}", pytrace=False)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A running headless Chromium."""
    program = find_chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=program, args=[SANDBOX_OFF])
        yield running
        running.close()
