"""Takes the README's pictures of the page: ``python -m tests.web.readme_picture``. They show a simulated pump."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.support.chromium import SANDBOX_OFF, find_chromium
from tests.web.browser_worlds import serve_worlds

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "images"
PICTURES = {
    "page.png": ("good/?hours=12", {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"}),
    "page-phone.png": ("good/?hours=6", {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}),
}


def main() -> None:
    """Write both pictures."""
    from playwright.sync_api import sync_playwright

    with (
        tempfile.TemporaryDirectory(prefix="readme-picture-") as name,
        serve_worlds(Path(name)) as worlds,
        sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path=find_chromium(), args=[SANDBOX_OFF])
        for picture, (path, options) in PICTURES.items():
            page = browser.new_context(locale="en-US", **options).new_page()
            page.goto(worlds.url + path)
            page.screenshot(path=FOLDER / picture, full_page="phone" not in picture)
            print(f"{picture}: {(FOLDER / picture).stat().st_size // 1000} kB")
        browser.close()


if __name__ == "__main__":
    main()
