"""What the environment, systemd credentials and secret files say, laid over a table of the file.

A credential wins over the environment, the environment over the file. Where a value came from is kept, so that a message
names the variable and not the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import attrs

from tconnectsync.config.file import full_path, is_mistake
from tconnectsync.config.messages import found_words, nearest
from tconnectsync.config.option_types import arms_of, is_list, is_literal, is_secret, key_of, table_class
from tconnectsync.folder_owner import readable_by_everyone

_TRUE = frozenset({"1", "on", "true", "yes"})
_FALSE = frozenset({"0", "false", "no", "off"})
_OURS = ("TCONNECT_", "TCONNECTSYNC_")
_PROXIES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
"""Which proxy https addresses are asked through: the first of these that is set."""
_MOST_SECRET_BYTES = 64 * 1024
_ALONE = "expected a file that holds the secret alone"


@attrs.frozen(kw_only=True)
class ConfigSources:
    """Where values come from besides the file. ``folder`` is what relative paths of the file start at."""

    environ: Mapping[str, str] = attrs.field(repr=False)
    file_name: str
    folder: Path
    credentials_folder: Path | None = None


@attrs.define(kw_only=True)
class MergedTable:
    """A raw table with everything laid over it. Keys are dotted from the top of the file.

    ``origins`` names where a value came from, if not from the file; ``broken`` are keys that were given and cannot be used,
    each with its sentence in ``problems``; those that may pass without an edit are in ``passing``, too. ``sound`` are the options without what is wrong with them, to judge the rest by
    (None: not even that can be made), and ``faulty`` the keys that it lacks for it.
    """

    raw: dict[str, Any] = attrs.field(repr=False)
    origins: dict[str, str] = attrs.field(factory=dict)
    broken: set[str] = attrs.field(factory=set)
    notes: list[str] = attrs.field(factory=list)
    problems: list[str] = attrs.field(factory=list)
    passing: set[str] = attrs.field(factory=set)
    sound: Any = attrs.field(default=None, repr=False)
    faulty: set[str] = attrs.field(factory=set)


def lay_over(options: type[Any], table: Mapping[str, Any], around: ConfigSources, *, prefix: str = "") -> MergedTable:
    """``table`` with what credentials, environment and ``…_file`` keys say of the fields of ``options``."""
    overlay = MergedTable(raw=dict(table))
    attrs.resolve_types(options)
    for field in attrs.fields(options):
        inner = table_class(field.type)
        if inner is not None:
            _lay_inner(overlay, inner, key_of(field), around, prefix)
        else:
            _Entry(overlay=overlay, field=field, around=around, prefix=prefix).fill()
    return overlay


def variables_of(options: type[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every variable that ``options`` knows, with the dotted key it sets."""
    attrs.resolve_types(options)
    for field in attrs.fields(options):
        inner = table_class(field.type)
        if inner is not None:
            yield from variables_of(inner, f"{prefix}{key_of(field)}.")
        for variable in field.metadata.get("env", ()):
            yield variable, prefix + key_of(field)


def quoted_words(text: str) -> str | None:
    """What to say of a variable whose value still has the quotes around it that a shell would have taken off."""
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return "found quotes around the value, expected none: docker's --env-file passes them on; take them off"
    return None


def _not_text(text: str) -> str | None:
    """What to say of a variable that holds bytes that are no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "found bytes that are not UTF-8, expected text"
    return None


def misspelt_variables(environ: Mapping[str, str], known: Iterable[str]) -> Iterator[str]:
    """A sentence for each variable that looks like ours and is not."""
    names = sorted(set(known))
    for variable in sorted(environ):
        if variable.startswith(_OURS) and variable not in names:
            meant = nearest(variable, names, cutoff=0.8)
            yield f"environment: {variable} means nothing here" + (f"; did you mean {meant}?" if meant else "")


def proxy_notes(environ: Mapping[str, str]) -> Iterator[str]:
    """A sentence for a SOCKS proxy that requests to https addresses would go through, and cannot."""
    variable = next((name for name in _PROXIES if environ.get(name, "").strip()), None)
    if variable is None or not environ[variable].strip().lower().startswith("socks") or find_spec("socks"):
        return
    yield (
        f"environment: {variable} names a SOCKS proxy, which needs the package PySocks; until it is installed, neither Tandem nor"
        f" Nightscout can be reached. Install it where tconnectsync is installed (pip install PySocks), or unset {variable}"
    )


def parse_text(text: str, kind: Any) -> Any:
    """A variable's text as the value that the file would hold; text that fits nothing is left for the types to refuse."""
    arms = arms_of(kind)
    if bool in arms and text.casefold() in _TRUE | _FALSE:
        return text.casefold() in _TRUE
    for number in (int, float):
        if number in arms:
            try:
                return number(text)
            except ValueError:
                pass
    if arms and all(map(is_list, arms)):
        return [part.strip() for part in text.split(",") if part.strip()]
    choices = {str(choice).casefold(): choice for arm in arms if is_literal(arm) for choice in get_args(arm)}
    return choices.get(text.casefold(), text)


def read_secret_list(path: Path) -> tuple[list[str], str | None]:
    """The secrets of a file that has one in each line, without empty lines and ``#`` comments; or what is wrong with it.

    Errors: OSError, when it cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(_MOST_SECRET_BYTES)
    try:
        lines = [line.strip() for line in content.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        return [], f"found {path}, which is not UTF-8 text, expected one secret in each line"
    return [line for line in lines if line and not line.startswith("#")], None


def read_secret(path: Path) -> tuple[str, str | None]:
    """The text of a secret file without the line end, or what is wrong with the file. The text is in no message.

    Errors: OSError, when it cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(_MOST_SECRET_BYTES)
    try:
        text = content.decode("utf-8-sig").strip("\r\n")
    except UnicodeDecodeError:
        return "", f"found {path}, which is not UTF-8 text, {_ALONE}"
    if not text.strip():
        return "", f"found {path}, which is empty, {_ALONE}"
    if "\n" in text.strip():
        return "", f"found {path}, which has several lines, {_ALONE}"
    return text if "\n" not in text else text.strip(), None


def unreadable_secret(path: Path, error: OSError) -> str:
    """What to say of a secret file that cannot be read."""
    instead = "; the service gets it as a credential, from /etc/credstore" if isinstance(error, PermissionError) else ""
    return f"found {path}, which cannot be read ({error.strerror or error}{instead}), {_ALONE}"


def _lay_inner(overlay: MergedTable, inner: type[Any], key: str, around: ConfigSources, prefix: str) -> None:
    given = overlay.raw.get(key)
    if given is not None and not isinstance(given, dict):
        return
    below = lay_over(inner, given or {}, around, prefix=f"{prefix}{key}.")
    if below.raw or given is not None:
        overlay.raw[key] = below.raw
    overlay.origins.update(below.origins)
    overlay.broken.update(below.broken)
    overlay.problems.extend(below.problems)
    overlay.notes.extend(below.notes)
    overlay.passing |= below.passing


@attrs.frozen(kw_only=True)
class _Entry:
    """One key of the table, and the places that may give it."""

    overlay: MergedTable
    field: attrs.Attribute[Any]
    around: ConfigSources
    prefix: str

    @property
    def key(self) -> str:
        return key_of(self.field)

    @property
    def secret(self) -> bool:
        return is_secret(self.field.type)

    def fill(self) -> None:
        if self._from_credential() or self._from_environment():
            if self.secret:
                self.overlay.raw.pop(f"{self.key}_file", None)
            return
        if self.secret:
            self._from_secret_file()
        if self.key not in self.overlay.raw:
            self._from_company()

    def put(self, value: Any, origin: str) -> None:
        self.overlay.raw[self.key] = value
        self.overlay.origins[self.prefix + self.key] = origin

    def refuse(self, where: str, words: str, *, passing: bool = False) -> None:
        self.overlay.raw.pop(self.key, None)
        self.overlay.broken.add(self.prefix + self.key)
        self.overlay.problems.append(f"{where}: {words}")
        if passing:
            self.overlay.passing.add(f"{where}: {words}")

    def take(self, path: Path, origin: str, where: str) -> None:
        """The secret in the file at ``path``. A file that cannot be read may be on a disk that is not there yet."""
        text: str | list[str]
        try:
            text, words = read_secret_list(path) if is_list(self.field.type) else read_secret(path)
        except OSError as error:
            self.refuse(where, unreadable_secret(path, error), passing=not is_mistake(error))
            return
        if words is None:
            self.put(text, origin)
        else:
            self.refuse(where, words)

    def _from_credential(self) -> bool:
        name, folder = self.field.metadata.get("credential"), self.around.credentials_folder
        if not name or folder is None:
            return False
        try:
            if not (folder / name).exists():
                return False
        except OSError as error:
            words = f"found {folder}, which cannot be read ({error.strerror})"
            self.refuse(f"credential {name}", words, passing=True)
            return True
        self.take(folder / name, f"credential {name}", f"credential {name}")
        return True

    def _from_environment(self) -> bool:
        for variable in self.field.metadata.get("env", ()):
            text = self.around.environ.get(variable, "")
            # an empty variable is how compose files and unit files say "not set"
            if text.strip():
                self._put_text(text.strip("\r\n") if self.secret else text.strip(), f"environment: {variable}")
                return True
        return False

    def _put_text(self, text: str, origin: str) -> None:
        parse = self.field.metadata.get("parse_env")
        wrong = quoted_words(text.strip()) or _not_text(text)
        if wrong:
            self.refuse(origin, wrong)
            return
        try:
            self.put(parse_text(text, self.field.type) if parse is None else parse(text), origin)
        except ValueError as error:
            self.refuse(origin, f"found {'a value' if self.secret else found_words(text)}, expected {error}")

    def _from_secret_file(self) -> None:
        file_key = f"{self.key}_file"
        if file_key not in self.overlay.raw:
            return
        given = self.overlay.raw.pop(file_key)
        where = f"{self.around.file_name}: {self.prefix}{file_key}"
        if self.key in self.overlay.raw:
            self.refuse(where, f'found this and "{self.key}", expected one of them')
        elif not isinstance(given, str) or not given:
            self.refuse(where, f"found {found_words(given)}, expected the path of {_ALONE.removeprefix('expected ')}")
        else:
            path = full_path(given, self.around.folder, self.around.environ)
            self.take(path, str(path), where)
            if readable_by_everyone(path):
                self.overlay.notes.append(
                    f"{where}: every user of this machine can read the secret in {path}: run `chmod 600 {path}`, as its owner"
                )

    def _from_company(self) -> None:
        """The default that this option has where another variable is set."""
        for variable, value in self.field.metadata.get("default_with_env", {}).items():
            if self.around.environ.get(variable, "").strip():
                self.put(value, f"environment: default beside {variable}")
                return
