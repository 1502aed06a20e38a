"""The files that ``setup`` writes: for the service of this computer, or for one user."""

from __future__ import annotations

from pathlib import Path

import attrs

PASSWORD = "tandem-password"  # noqa: S105 - a file name
API_SECRET = "nightscout-api-secret"  # noqa: S105 - a file name
ALERT_URLS = "alert-urls"
TOKEN = "nightscout-token"  # noqa: S105 - a file name


@attrs.frozen(kw_only=True)
class SetupPaths:
    """Where everything goes. ``service``: the service runs as another user and gets the secrets from systemd."""

    config: Path
    secrets_folder: Path
    prefix: str = ""
    """What the names of the secrets' files begin with."""
    data_dir: Path | None = None
    """None: the default of the configuration."""
    service: bool = False

    def secret(self, name: str) -> Path:
        """Return the path of a secret's file."""
        return self.secrets_folder / f"{self.prefix}{name}"


def service_paths(system_file: Path) -> SetupPaths:
    """Return the paths that the unit ``tconnectsync.service`` reads."""
    return SetupPaths(
        config=system_file,
        secrets_folder=Path("/etc/credstore"),
        prefix="tconnectsync.",
        data_dir=Path("/var/lib/tconnectsync"),
        service=True,
    )


def own_paths(config: Path) -> SetupPaths:
    """Return the paths for one user: the secrets are beside the configuration, and only the owner can read them."""
    return SetupPaths(config=config, secrets_folder=config.parent)
