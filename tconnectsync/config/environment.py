"""Merges environment variables, systemd credentials and secret files into a table of the configuration file.

A credential wins over the environment, and the environment wins over the file. The origin of each value is kept, so that an
error message names the variable and not the file.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import attrs

from tconnectsync.config.config_file import full_path, is_permanent
from tconnectsync.config.error_words import did_you_mean, found_words
from tconnectsync.config.option_types import is_list, is_literal, is_secret, key_of, nested_class, union_members
from tconnectsync.config.secret_files import ALONE, read_secret, read_secret_list, unreadable_secret
from tconnectsync.folder_owner import readable_by_everyone
from tconnectsync.plugin.options import Secret

_TRUE = frozenset({"1", "on", "true", "yes"})
_FALSE = frozenset({"0", "false", "no", "off"})
_OURS = ("TCONNECT_", "TCONNECTSYNC_")
_PROXIES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
"""The first of these that is set is the proxy for https addresses."""


@attrs.frozen(kw_only=True)
class ConfigSources:
    """Where values other than the file's come from. Relative paths in the file start at ``folder``."""

    environ: Mapping[str, str] = attrs.field(repr=False)
    file_name: str
    folder: Path
    credentials_folder: Path | None = None


@attrs.define(kw_only=True)
class MergedTable:
    """A raw table after the merge. Keys are dotted, from the top of the file.

    - ``origins``: where a value came from, if not from the file.
    - ``unusable``: keys with a value that cannot be used. Each has a sentence in ``problems``.
    - ``temporary``: the problems that may disappear without an edit.
    - ``unread_secrets``: for the key of each secret whose file or credential cannot be used, its problem.
    - ``valid_options``: the options without the ``bad_keys``, for checks of the rest. None if even they are not possible.
    """

    raw: dict[str, Any] = attrs.field(repr=False)
    origins: dict[str, str] = attrs.field(factory=dict)
    unusable: set[str] = attrs.field(factory=set)
    notes: list[str] = attrs.field(factory=list)
    problems: list[str] = attrs.field(factory=list)
    temporary: set[str] = attrs.field(factory=set)
    unread_secrets: dict[str, str] = attrs.field(factory=dict)
    valid_options: Any = attrs.field(default=None, repr=False)
    bad_keys: set[str] = attrs.field(factory=set)


def merge_sources(
    options: type[Any], table: Mapping[str, Any], sources: ConfigSources, *, prefix: str = ""
) -> MergedTable:
    """Return ``table`` merged with the credentials, the environment and the ``…_file`` keys for the fields of ``options``."""
    overlay = MergedTable(raw=dict(table))
    attrs.resolve_types(options)
    for field in attrs.fields(options):
        inner = nested_class(field.type)
        if inner is not None:
            _merge_nested(overlay, inner, key_of(field), sources, prefix)
        else:
            _OptionMerger(overlay=overlay, field=field, sources=sources, prefix=prefix).fill()
    return overlay


def variables_of(options: type[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield every variable of ``options``, with the dotted key that it sets."""
    attrs.resolve_types(options)
    for field in attrs.fields(options):
        inner = nested_class(field.type)
        if inner is not None:
            yield from variables_of(inner, f"{prefix}{key_of(field)}.")
        for variable in field.metadata.get("env", ()):
            yield variable, prefix + key_of(field)


def quoted_words(text: str) -> str | None:
    """Return the problem if a variable's value has quotes around it, which a shell would have removed; else None."""
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return "found quotes around the value, expected none: docker's --env-file keeps them; remove them"
    return None


def _not_text(text: str) -> str | None:
    """Return the problem if a variable has bytes that are not UTF-8; else None."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "found bytes that are not UTF-8, expected text"
    return None


def misspelt_variables(
    environ: Mapping[str, str], known: Iterable[str], of_commands: Callable[[], Iterable[str]]
) -> Iterator[str]:
    """Yield a sentence for each variable that has our prefix but is unknown.

    ``of_commands`` returns the variables of plugins' commands. It imports all of them, so it is called only if that can matter.
    """
    names = set(known)
    unknown = sorted(variable for variable in environ if variable.startswith(_OURS) and variable not in names)
    if unknown:
        names.update(of_commands())
    for variable in unknown:
        if variable not in names:
            near = did_you_mean(variable, sorted(names), "", cutoff=0.8)
            yield f"environment: {variable} is not a known variable{near}"


def proxy_notes(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence if the proxy for https addresses is a SOCKS proxy and support for SOCKS is not installed."""
    variable = next((name for name in _PROXIES if environ.get(name, "").strip()), None)
    if variable is None or not environ[variable].strip().lower().startswith("socks") or find_spec("socks"):
        return
    yield (
        f"environment: {variable} names a SOCKS proxy, which needs the package PySocks; until it is installed, neither Tandem nor"
        f" Nightscout can be reached. Install it where tconnectsync is installed (pip install PySocks), or unset {variable}"
    )


def parse_text(text: str, kind: Any) -> Any:
    """Return a variable's text as the value that the file would have. Text that fits no type is returned as it is."""
    arms = union_members(kind)
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


def _merge_nested(overlay: MergedTable, inner: type[Any], key: str, sources: ConfigSources, prefix: str) -> None:
    given = overlay.raw.get(key)
    if given is not None and not isinstance(given, dict):
        return
    below = merge_sources(inner, given or {}, sources, prefix=f"{prefix}{key}.")
    if below.raw or given is not None:
        overlay.raw[key] = below.raw
    overlay.origins.update(below.origins)
    overlay.unusable.update(below.unusable)
    overlay.problems.extend(below.problems)
    overlay.notes.extend(below.notes)
    overlay.temporary |= below.temporary
    overlay.unread_secrets |= below.unread_secrets


@attrs.frozen(kw_only=True)
class _OptionMerger:
    """Merges one key of the table."""

    overlay: MergedTable
    field: attrs.Attribute[Any]
    sources: ConfigSources
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
            self._from_companion()

    def put(self, value: Any, origin: str) -> None:
        self.overlay.raw[self.key] = value
        self.overlay.origins[self.prefix + self.key] = origin

    def refuse(self, where: str, words: str, *, temporary: bool = False) -> None:
        self.overlay.raw.pop(self.key, None)
        self.overlay.unusable.add(self.prefix + self.key)
        self.overlay.problems.append(f"{where}: {words}")
        if temporary:
            self.overlay.temporary.add(f"{where}: {words}")

    def refuse_secret(self, where: str, words: str, *, temporary: bool = False) -> None:
        self.refuse(where, words, temporary=temporary)
        self.overlay.unread_secrets[self.prefix + self.key] = f"{where}: {words}"

    def take_secret(self, path: Path, origin: str, where: str) -> None:
        """Use the secret in the file at ``path``.

        A file that cannot be read may be on a disk that is not mounted yet, and one without a byte may be written just now.
        """
        split = self.field.metadata.get("parse_env") or (lambda line: [line])
        try:
            if is_list(self.field.type):
                lines, words = read_secret_list(path)
                texts = [(name, part) for name, line in lines.items() for part in split(line)]
            else:
                text, words = read_secret(path)
                texts = [("", text)]
            is_blank = words is not None and path.stat().st_size == 0
        except OSError as error:
            self.refuse_secret(where, unreadable_secret(path, error), temporary=not is_permanent(error))
            return
        if words is None:
            self.put_secret(texts, origin, where)
        else:
            self.refuse_secret(where, words, temporary=is_blank)

    def put_secret(self, texts: Sequence[tuple[str, Any]], origin: str, where: str) -> None:
        """Use a secret that is not in the configuration's file. Of a list, use the good ones although others are wrong.

        ``texts`` has the name of each in messages, such as ``line 3 of alert-urls: ``.
        """
        listed, good, wrong = is_list(self.field.type), [], dict[str, str]()
        for name, text in texts:
            expected = self._expected(text)
            if expected is None:
                good.append(text)
            else:
                wrong[name] = f"{name}found a value, expected {expected}"
        if wrong:
            self.refuse_secret(where, "; ".join(wrong.values()))
        if good or not wrong:
            self.overlay.unusable.discard(self.prefix + self.key)
            self.put(good if listed else good[0], origin)

    def _expected(self, text: Any) -> str | None:
        """Return what the option's own check expects instead of this secret; None if the secret is good."""
        check, clean = self.field.metadata.get("check"), self.field.metadata.get("clean")
        if check is None or not isinstance(text, str):
            return None
        secret = Secret(clean(text) if clean else text)
        expected: str | None = check((secret,) if is_list(self.field.type) else secret)
        return expected

    def _from_credential(self) -> bool:
        name, folder = self.field.metadata.get("credential"), self.sources.credentials_folder
        if not name or folder is None:
            return False
        try:
            if not (folder / name).exists():
                return False
        except OSError as error:
            words = f"found {folder}, which cannot be read ({error.strerror})"
            self.refuse_secret(f"credential {name}", words, temporary=True)
            return True
        self.take_secret(folder / name, f"credential {name}", f"credential {name}")
        return True

    def _from_environment(self) -> bool:
        for variable in self.field.metadata.get("env", ()):
            text = self.sources.environ.get(variable, "")
            # compose files and unit files use an empty variable for "not set"
            if text.strip():
                self._put_text(text.strip("\r\n") if self.secret else text.strip(), f"environment: {variable}")
                return True
        return False

    def _put_text(self, text: str, origin: str) -> None:
        parse = self.field.metadata.get("parse_env")
        wrong = quoted_words(text.strip()) or _not_text(text)
        if wrong:
            (self.refuse_secret if self.secret else self.refuse)(origin, wrong)
            return
        try:
            value = parse_text(text, self.field.type) if parse is None else parse(text)
        except ValueError as error:
            self.refuse(origin, f"found {'a value' if self.secret else found_words(text)}, expected {error}")
            return
        if self.secret:
            self.put_secret([("", each) for each in (value if isinstance(value, list) else [value])], origin, origin)
        else:
            self.put(value, origin)

    def _from_secret_file(self) -> None:
        file_key = f"{self.key}_file"
        if file_key not in self.overlay.raw:
            return
        given = self.overlay.raw.pop(file_key)
        where = f"{self.sources.file_name}: {self.prefix}{file_key}"
        if self.key in self.overlay.raw:
            self.refuse(where, f'found this and "{self.key}", expected one of them')
        elif not isinstance(given, str) or not given:
            self.refuse(where, f"found {found_words(given)}, expected the path of {ALONE.removeprefix('expected ')}")
        else:
            path = full_path(given, self.sources.folder, self.sources.environ)
            self.take_secret(path, str(path), where)
            if readable_by_everyone(path):
                self.overlay.notes.append(
                    f"{where}: every user of this computer can read the secret in {path}: run `chmod 600 {shlex.quote(str(path))}` as its owner"
                )

    def _from_companion(self) -> None:
        """Use the default that this option has if another variable is set."""
        for variable, value in self.field.metadata.get("default_with_env", {}).items():
            if self.sources.environ.get(variable, "").strip():
                self.put(value, f"environment: default with {variable}")
                return
