"""The vocabulary of pump facts, whatever source they came from: importable as ``tconnectsync.events``."""

from tconnectsync.events.vocabulary import *  # noqa: F403 - the vocabulary is one list, kept in one place
from tconnectsync.events.vocabulary import __all__ as __all__
