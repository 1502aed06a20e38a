"""``tconnectsync init`` over an older bridge's settings."""

from __future__ import annotations

from tests.cli.harness import CliHarness, CommandResult

OLD = {
    "TCONNECT_EMAIL": "a@example.org",
    "TCONNECT_PASSWORD": "hidden#1 $x",
    "TCONNECT_REGION": "EU",
    "NS_URL": "https://site.example/",
    "NS_SECRET": "site-hidden-1234",
    "TIMEZONE_NAME": "Europe/Berlin",
}


def init(harness: CliHarness, *more: str, **changes: str) -> CommandResult:
    old = harness.folder / "old.env"
    old.write_text("".join(f"{name}='{value}'\n" for name, value in {**OLD, **changes}.items() if value))
    return harness.run("init", "--from-env", str(old), "--output", str(harness.folder / "new.toml"), *more)
