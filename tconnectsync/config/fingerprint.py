"""Short fingerprints that tell one configuration from another without revealing it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import attrs

from tconnectsync.config.model import Config
from tconnectsync.plugin.options import Secret


def config_fingerprint(config: Config) -> str:
    """Return a fingerprint of the parts that decide what is fetched and delivered: eight hexadecimal digits."""
    parts = (config.sources, config.sinks, config.sections, config.zones, config.limits, config.daemon)
    return options_fingerprint(str(config.data_dir), dict(enumerate(parts)))


def options_fingerprint(log_id: str, options: Any) -> str:
    """Return a fingerprint of options or credentials, which does not reveal them: eight hexadecimal digits."""
    digest = hashlib.blake2b(key=log_id.encode()[:64], digest_size=4)

    def feed(value: Any) -> None:
        if isinstance(value, Secret):
            digest.update(b"s" + value.reveal().encode())
        elif attrs.has(type(value)):
            for field in attrs.fields(type(value)):
                feed(getattr(value, field.name))
        elif isinstance(value, Mapping):
            for key in sorted(value):
                feed(value[key])
        else:
            digest.update(repr(value).encode())

    feed(options)
    return digest.hexdigest()
