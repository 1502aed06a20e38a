"""``requests`` is imported without what guesses encodings."""

from __future__ import annotations

import subprocess
import sys

LOOK = """
import sys
import tconnectsync.plugin.http
from tconnectsync.plugin.http_library import requests
assert not {"chardet", "charset_normalizer"} & sys.modules.keys()
answer = requests.Response()
answer._content = "ä".encode()
assert answer.text == "ä"
import charset_normalizer
assert charset_normalizer.from_bytes
"""


def test_no_guessing_of_encodings() -> None:
    """A text without a charset is UTF-8, there is no warning, and other code can still import the library."""
    subprocess.run([sys.executable, "-W", "error", "-c", LOOK], check=True, timeout=60)
