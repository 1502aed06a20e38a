"""The vocabulary of pump facts, whatever source they came from: importable as ``tconnectsync.events``."""

from tconnectsync.events.vocabulary import *
from tconnectsync.events.vocabulary import __all__ as __all__
