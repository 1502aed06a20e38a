"""Imports ``requests`` without the libraries that guess an answer's encoding: 2.5 MB of memory that a daemon would keep for years.

Nothing here asks for a guess. Without them, ``requests`` takes UTF-8, as it documents.
"""

from __future__ import annotations

import sys
import warnings
from types import ModuleType
from typing import cast

__all__ = ["requests"]

_GUESSERS = ("chardet", "charset_normalizer")

_hidden = [name for name in _GUESSERS if name not in sys.modules]
sys.modules.update(cast("dict[str, ModuleType]", dict.fromkeys(_hidden)))  # None: an import of it fails
try:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Unable to find acceptable character detection")
        import requests
finally:
    for _name in _hidden:
        del sys.modules[_name]
