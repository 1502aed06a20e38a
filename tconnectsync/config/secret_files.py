"""Reads files that contain a secret, or a list of them. No message contains a secret."""

from __future__ import annotations

from pathlib import Path

ALONE = "expected a file that contains only the secret"
_MOST_BYTES = 64 * 1024


def read_secret_list(path: Path) -> tuple[dict[str, str], str | None]:
    """Return the lines of a file with a list of secrets by their names in messages, and the problem with the file, if any.

    Empty lines and ``#`` comments are skipped. A file with nothing else than comments has none, a file with nothing at all is a problem.
    Errors: OSError if the file cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES)
    try:
        lines = [line.strip() for line in content.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        return {}, f"found {path}, which is not UTF-8 text, expected one secret in each line"
    if not any(lines):
        return {}, f"found {path}, which is empty, expected one secret in each line"
    named = {f"line {number} of {path.name}: ": line for number, line in enumerate(lines, start=1)}
    return {name: line for name, line in named.items() if line and not line.startswith("#")}, None


def read_secret(path: Path) -> tuple[str, str | None]:
    """Return the text of a secret file without its line end, and the problem with the file, if any.

    Errors: OSError if the file cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES)
    try:
        text = content.decode("utf-8-sig").strip("\r\n")
    except UnicodeDecodeError:
        return "", f"found {path}, which is not UTF-8 text, {ALONE}"
    if not text.strip():
        return "", f"found {path}, which is empty, {ALONE}"
    if "\n" in text.strip():
        return "", f"found {path}, which has several lines, {ALONE}"
    return text if "\n" not in text else text.strip(), None


def unreadable_secret(path: Path, error: OSError) -> str:
    """Return the problem with a secret file that cannot be read."""
    instead = "; the service gets it as a credential, from /etc/credstore" if isinstance(error, PermissionError) else ""
    return f"found {path}, which cannot be read ({error.strerror or error}{instead}), {ALONE}"
