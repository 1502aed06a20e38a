"""Mutations: patches that each break one promise on purpose, and the tests that must fail for it.

Each file in ``patches/`` is a header and a diff that ``git apply`` accepts:

    Name: A torn last line stays where it is
    Breaks: corruption is found and reported
    Test: tests/eventlog/test_log_damage.py::test_name     (one or more)

To add or renew one, write the header, break the promise in the code, run ``python -m tests.mutations --record FILE``, and undo
the change to the code.
"""

from __future__ import annotations

from pathlib import Path

import attrs

PATCHES = Path(__file__).parent / "patches"


@attrs.frozen
class Mutation:
    """One patch. Once it is applied, each of ``tests`` (pytest's names) fails by an assertion."""

    path: Path
    name: str
    breaks: str
    tests: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> Mutation:
        """Read the header of a patch. Raises KeyError if a line of it is missing."""
        header, _, _ = path.read_text(encoding="utf-8").partition("\n\n")
        fields: dict[str, list[str]] = {}
        for line in header.splitlines():
            key, _, value = line.partition(": ")
            fields.setdefault(key, []).append(value)
        return cls(path, fields["Name"][0], fields["Breaks"][0], tuple(fields["Test"]))


def read_mutations() -> list[Mutation]:
    """All mutations, by the promise that they break, then by name."""
    return sorted((Mutation.read(path) for path in PATCHES.glob("*.patch")), key=lambda each: (each.breaks, each.name))


def markdown_row(mutation: Mutation) -> str:
    """One line of the table in ``docs/engineering/guarantees.md``."""
    caught_by = ", ".join(f"`{test.removeprefix('tests/')}`" for test in mutation.tests)
    return f"| {mutation.name} | {mutation.breaks} | {caught_by} |"


def markdown_table() -> list[str]:
    """The whole table, line by line."""
    return ["| mutation | breaks | caught by |", "|---|---|---|", *map(markdown_row, read_mutations())]
