"""Every message and remedy in the code that ``status`` can report, with samples in its places, so that none lacks a translation."""

from __future__ import annotations

import ast
import importlib
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import attrs

from tconnectsync import errors
from tconnectsync.plugin.http_failures import FAILURE_TEXTS
from tconnectsync_mqtt import session

ROOT = Path(__file__).parents[2]
ENGINE = ("daemon/state.py", "disk_check.py", "storage_errors.py", "errors.py", "eventlog/damage.py", "eventlog/segment_continuity.py", "eventlog/last_segment.py", "health", "ingest", "outbox", "projection",
          "queries/status.py", "reconcile", "retry", "runtime", "timeline")  # fmt: skip
PLUGINS = ("tandem", "tconnect", "nightscout", "mqtt", "influxdb", "file")
ELSEWHERE = ("/files/", "tconnectsync_tconnect/importer.py", "/csv_tables.py", "/setup", "/adoption.py", "/data_dir.py",
             "delivery/check.py")  # fmt: skip
"""Text that only commands print, such as an import."""
MADE_BY = frozenset(
    {
        "set",
        "back_off",
        "_fail",
        "ReceiverConflict",
        "PendingNote",
        "Health",
        "login_changed",
        "shape_changed",
        "Disk",
        "error",
    }
)
"""Calls that make a message, beside the errors."""
FUNCTIONS = frozenset(
    {
        "set_aside_words", "twice_text", "rewritten_text", "low_space_message", "messages", "_clock_problem", "drift_message", "reason_words", "waiting",
        "unconfirmed_remedy", "hidden_active_pump", "no_pump_selected", "remedy", "_why_idle", "_log_remedy", "text",
        "with_resume_hint", "terms_remedy", "_source_health", "_not_saved", "error_of", "look_at_disk", "disk_steps",
        "storage_steps", "storage_remedy", "_make_writable", "outbox_failure",
    }
)  # fmt: skip
"""Functions that return messages."""
OTHER_ERRORS = ("RequestRefused", "ConfigError", "FileUnreadable", "MachineTrouble", "DataDirLocked", "ReplicaFailed")
PIECES = (
    "x7 document fails and is",
    "x7 documents fail and are",
    "x7 tried again, while others are accepted: x7",
    "Wait until the clock is set, or check it with `timedatectl`. If the clock is right and the record is wrong:",
    " and x7 more day",
    " and x7 more days",
    "The clock of pump x7 seems to have been x7 x7 since x7.",
    "this computer's clock (x7 UTC) is x7 x7 Tandem's (x7 UTC)",
)  # fmt: skip
"""Texts that are put together from pieces; whole ones are in :data:`WHOLE`."""
NO_MESSAGE = re.compile(r"^SELECT|%s|Control:IQ")
WHOLE = (
    "1 document fails and is tried again, while others are accepted: x7",
    "2 documents fail and are tried again, while others are accepted: x7",
    "Wait until the clock is set, or check it with `timedatectl`. If the clock is right and the record is wrong: `tconnectsync resume x7`.",
    "x7 redirects to x7 (HTTP 301); the secret is not sent to another address",
    *(f"The clock of pump x7 seems to have been x7 {way} since x7." for way in ("ahead", "behind")),
    *(f"this computer's clock (x7 UTC) is x7 {way} Tandem's (x7 UTC)" for way in ("ahead of", "behind")),
    *(f"2 {unit}" for unit in ("minute", "minutes", "hour", "hours", "day", "days")),
    "1 document",
    "2 documents",
)
HELD_IN = frozenset(
    {
        "remedy",
        "message",
        "usual_remedy",
        "cause",
        "again",
        "retry",
        "quoted",
        "rest",
        "words",
        "MAKE_ROOM",
        "READ_ONLY",
        "FAILING",
        "CHECK",
        "FREE_SPACE",
    }
)
"""Names of variables that hold a message, or a part of one."""
SAMPLE = "x7"
"""The sample that replaces a value."""


@attrs.frozen
class WrittenMessage:
    """A text in the code, with samples in its places, and where it is."""

    text: str
    place: str

    @property
    def sentences(self) -> Sequence[str]:
        """Its sentences; a lone value is none."""
        whole = re.sub(rf"(^|\.){SAMPLE} ?(?=[A-Z`])", r"\1 ", self.text)
        parts = (part.strip() for part in re.split(r"(?<=[.?]) ", whole.strip()))
        return [part for part in parts if len(part.replace(SAMPLE, "").split()) > 1]


def written_messages() -> Sequence[WrittenMessage]:
    """Return every text once."""
    found = {
        each.text: each
        for each in itertools.chain(
            _failures(), (WrittenMessage(text, "whole") for text in WHOLE), *map(_of_module, _modules())
        )
    }
    return sorted(found.values(), key=lambda each: each.place)


def _modules() -> Iterator[Path]:
    for part in ENGINE:
        path = ROOT / "tconnectsync" / part
        yield from [path] if path.suffix else sorted(path.rglob("*.py"))
    for plugin in PLUGINS:
        yield from sorted((ROOT / "plugins" / f"tconnectsync_{plugin}").rglob("*.py"))


def _failures() -> Iterator[WrittenMessage]:
    for reason, words in FAILURE_TEXTS.items():
        for text in (f"{SAMPLE} {words.message}", words.remedy):
            fields = dict.fromkeys(("host", "what", "detail", "port", "now"), SAMPLE)
            yield WrittenMessage(
                text.format(**fields, connect_s=5, silence_s=5, whole_s=5), f"http_failures: {reason.name}"
            )
    for broker_words in (*session.WORDS.values(), *session.WORDS_WITH_TLS.values()):
        for text in (f"{SAMPLE} {broker_words[0]}", broker_words[1]):
            yield WrittenMessage(text.format(port=SAMPLE), "tconnectsync_mqtt/session.py")


def _of_module(path: Path) -> Iterator[WrittenMessage]:
    if any(part in str(path) for part in ELSEWHERE):
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    module = importlib.import_module(
        str(path.relative_to(ROOT).with_suffix("")).removeprefix("plugins/").replace("/", ".")
    )
    unseen = {
        id(node)
        for each in tree.body
        if isinstance(each, ast.ClassDef) and each.name in OTHER_ERRORS
        for node in ast.walk(each)
    }
    for node in ast.walk(tree):
        if id(node) in unseen:
            continue
        if isinstance(node, ast.Call) and _makes_message(node, module):
            given = [
                *node.args,
                *(
                    keyword.value
                    for keyword in node.keywords
                    if keyword.arg in ("remedy", "message", "reason", "words")
                ),
            ]
        elif isinstance(node, ast.FunctionDef) and node.name in FUNCTIONS:
            given = list(_returned(node))
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None and _is_remedy(node):
            given = [node.value]
        else:
            continue
        for part in given:
            for text in _texts(part, module):
                if len(text.replace(SAMPLE, "").split()) > 1 and text not in PIECES and not NO_MESSAGE.search(text):
                    yield WrittenMessage(text, f"{path.relative_to(ROOT)}:{node.lineno}")


def _returned(function: ast.FunctionDef) -> Iterator[ast.expr]:
    """What a function returns, also as the parts of a list that it returns."""
    for node in ast.walk(function):
        if isinstance(node, (ast.Return, ast.Yield, ast.Assign)) and node.value is not None:
            value = node.value
            yield from value.elts if isinstance(value, (ast.Tuple, ast.List)) else [value]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "append":
            yield from node.args


def _makes_message(node: ast.Call, module: ModuleType) -> bool:
    name = (
        node.func.id
        if isinstance(node.func, ast.Name)
        else node.func.attr
        if isinstance(node.func, ast.Attribute)
        else ""
    )
    made = getattr(module, name, None)
    is_error = isinstance(made, type) and issubclass(made, errors.TconnectsyncError) and name not in OTHER_ERRORS
    return is_error or name in MADE_BY


def _is_remedy(node: ast.Assign | ast.AnnAssign) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return any(isinstance(each, ast.Name) and each.id in HELD_IN for each in targets)


def _texts(node: ast.expr, module: ModuleType) -> list[str]:
    """The texts that an expression may be; a value is a sample."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    if isinstance(node, ast.JoinedStr):
        parts = [_texts(part, module) or [SAMPLE] for part in node.values]
        return ["".join(each) for each in itertools.product(*parts)]
    if isinstance(node, ast.FormattedValue):
        return _texts(node.value, module) or [SAMPLE]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        sides = (_texts(node.left, module) or [SAMPLE], _texts(node.right, module) or [SAMPLE])
        return ["".join(each) for each in itertools.product(*sides)]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "counted":
        words = [each.value for each in node.args[1:] if isinstance(each, ast.Constant)]
        return [f"{SAMPLE} {each}" for each in (words if len(words) > 1 else [words[0], f"{words[0]}s"])]
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body, module), *_texts(node.orelse, module)]
    if isinstance(node, ast.BoolOp):
        return [text for part in node.values for text in _texts(part, module)]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("lstrip", "strip"):
        return _texts(node.func.value, module)
    if isinstance(node, ast.Name) and isinstance(getattr(module, node.id, None), str):
        return [getattr(module, node.id)]
    return []
