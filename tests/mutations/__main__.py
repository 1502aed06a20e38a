"""Apply each mutation to a copy of the tree, and check that its tests fail for it.

Exit status 1 if a mutation is not caught, or if a test fails for another reason than an assertion.
"""

from __future__ import annotations

import argparse
import compileall
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from py_compile import PycInvalidationMode
from queue import SimpleQueue
from xml.etree import ElementTree as ET

import attrs

from tests.mutations import Mutation, markdown_table, read_mutations

ROOT = Path(__file__).parents[2]
GUARANTEES = ROOT / "docs" / "engineering" / "guarantees.md"
TIME_OUT_S = 1800
_NO_PROGRAM = (
    "SyntaxError",
    "IndentationError",
    "ImportError",
    "ModuleNotFoundError",
    "NameError",
    "UnboundLocalError",
)
"""Errors of code that cannot run: they prove nothing."""


class MutationNotCaught(Exception):
    """The tests did not show what they should."""


@attrs.frozen
class Tree:
    """A copy of the working tree. Its tests import its own packages."""

    folder: Path

    @classmethod
    def copied(cls, folder: Path) -> Tree:
        """Copy everything that git knows or would add, as it is now."""
        names = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        for name in filter(None, names.split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        tree = cls(folder)
        # compare by content, not by time and size: a mutation and its original may share both
        compileall.compile_dir(folder, quiet=2, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
        tree.check_imports()
        return tree

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment of its tests."""
        path = os.pathsep.join(str(self.folder / part) for part in (".", "plugins"))
        return {**os.environ, "PYTHONPATH": path, "HYPOTHESIS_PROFILE": "first failure", "CI": "false"}

    def check_imports(self) -> None:
        """Raise MutationNotCaught if installed packages are imported instead of the copy's."""
        packages = ["tconnectsync", *(found.name for found in (self.folder / "plugins").iterdir() if found.is_dir())]
        code = "import importlib, sys\nfor name in sys.argv[1:]: print(importlib.import_module(name).__file__)"
        done = subprocess.run(
            [sys.executable, "-c", code, *packages],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        strange = [path for path in done.stdout.split() if not Path(path).is_relative_to(self.folder)]
        if strange:
            raise MutationNotCaught(f"the copy is not imported, but {strange}")

    @contextmanager
    def mutated(self, mutation: Mutation) -> Iterator[None]:
        """The copy with a mutation applied. Raises MutationNotCaught if the patch does not apply."""
        self._apply(mutation)
        try:
            yield
        finally:
            self._apply(mutation, "--reverse")

    def _apply(self, mutation: Mutation, *options: str) -> None:
        command = ["git", "apply", *options, str(mutation.path)]
        environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(self.folder.parent)}
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MutationNotCaught(f"the patch does not apply: {done.stderr.strip()}")

    def failures(self, tests: Sequence[str], *options: str) -> list[str]:
        """Why tests failed, one line each. Raises MutationNotCaught if they could not be run."""
        report = self.folder / "report.xml"
        report.unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *options, *tests],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=TIME_OUT_S, check=False,
        )  # fmt: skip
        if done.returncode not in (0, 1) or not report.exists():
            raise MutationNotCaught(
                f"pytest ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
            )
        cases = ET.parse(report).getroot().iter("testcase")  # noqa: S314 - pytest has just written it
        outcomes = [found for case in cases for found in case]
        broken = [found for found in outcomes if found.tag in ("error", "skipped")]
        if broken:
            raise MutationNotCaught(f"a test could not be run: {broken[0].get('message')}")
        return [str(found.get("message")) for found in outcomes if found.tag == "failure"]


def prove(tree: Tree, mutation: Mutation) -> None:
    """Check that every test of the mutation fails by an assertion. Raises MutationNotCaught if one does not."""
    with tree.mutated(mutation):
        for test in mutation.tests:
            failures = tree.failures([test], "-x")
            if not failures:
                raise MutationNotCaught(f"{test} does not notice it")
            if re.match(rf"(?:{'|'.join(_NO_PROGRAM)})\b|Failed: Timeout", failures[0]):
                raise MutationNotCaught(f"{test} fails for another reason: {failures[0][:500]}")


def write_table() -> None:
    """Put the table of all mutations into the guarantees."""
    text = GUARANTEES.read_text(encoding="utf-8")
    head, heading, rest = text.partition("| mutation | breaks | caught by |\n")
    tail = rest.partition("\n\n")[2] if "\n\n" in rest else ""
    if not heading:
        raise SystemExit(f"{GUARANTEES} has no table of mutations")
    table = "\n".join(markdown_table())
    GUARANTEES.write_text(f"{head}{table}\n{tail and chr(10) + tail}", encoding="utf-8")


def record(path: Path) -> None:
    """Store the uncommitted changes of the product as the diff of this patch; its header stays."""
    command = ["git", "diff", "--unified=1", "--", "tconnectsync", "plugins"]
    diff = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    if not diff:
        raise SystemExit("nothing to record: break the promise in tconnectsync/ or plugins/ first")
    header, _, _ = path.read_text(encoding="utf-8").partition("\n\n")
    path.write_text(f"{header}\n\n{diff}", encoding="utf-8")


def tried_all(chosen: Sequence[Mutation], jobs: int) -> Iterator[tuple[Mutation, str | None]]:
    """Each mutation and what is wrong with it (None: it was caught), with as many copies of the tree as ``jobs``."""
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder, ThreadPoolExecutor(jobs) as pool:
        trees: SimpleQueue[Tree] = SimpleQueue()
        for number in range(jobs):
            trees.put(Tree.copied(Path(folder) / str(number)))
        tree = trees.get()
        failing = tree.failures(sorted({test for mutation in chosen for test in mutation.tests}))
        trees.put(tree)
        if failing:
            raise SystemExit(f"without any mutation {len(failing)} tests fail: {failing[0]}")

        def tried(mutation: Mutation) -> str | None:
            tree = trees.get()
            try:
                prove(tree, mutation)
            except MutationNotCaught as error:
                return str(error)
            finally:
                trees.put(tree)
            return None

        yield from zip(chosen, pool.map(tried, chosen), strict=True)


def main() -> int:
    """Print which mutations are caught; what is wrong goes to stderr."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="mutations whose file name contains one of these")
    parser.add_argument("--jobs", type=int, default=1, help="how many at once")
    parser.add_argument("--table", action="store_true", help="write the table into the guarantees and end")
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="store the uncommitted changes of the code in this patch and end"
    )
    given = parser.parse_args()
    if given.table:
        write_table()
        return 0
    if given.record:
        record(given.record)
        return 0
    mutations = read_mutations()
    chosen = [each for each in mutations if not given.only or any(word in each.path.stem for word in given.only)]
    missed = 0
    for mutation, problem in tried_all(chosen, given.jobs):
        if problem is None:
            print(f"caught: {mutation.path.stem}", flush=True)
        else:
            missed += 1
            print(f"NOT CAUGHT: {mutation.path.stem}: {problem}", file=sys.stderr, flush=True)
    print(f"{len(chosen)} mutations, {len(chosen) - missed} caught", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
