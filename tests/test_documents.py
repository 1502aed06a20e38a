"""What README and docs/ tell people to paste into a shell can be pasted."""

from __future__ import annotations

import os
import pty
import re
import select
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
SAYING = [*DOCUMENTS, *ROOT.glob("tconnectsync/**/*.py"), *ROOT.glob("plugins/**/*.py"), ROOT / "config.toml.example"]
BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
PLACEHOLDER = re.compile(r"<[A-Za-z][^>\n(]*>|…")


def blocks(path: Path) -> list[str]:
    return BLOCK.findall(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_block_is_whole_shell(path: Path) -> None:
    for block in blocks(path):
        assert not PLACEHOLDER.search(block), block
        done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), block


def test_nothing_sends_people_to_the_package_index() -> None:
    """The name there is somebody else's program."""
    named = re.compile(r"pip3? install (?:-\S+ |--\S+ )*['\"]?tconnectsync")
    assert [str(path.relative_to(ROOT)) for path in SAYING if named.search(path.read_text(encoding="utf-8"))] == []


LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


@pytest.mark.parametrize("path", [*DOCUMENTS, ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"], ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    """Every relative link and picture of a document names a file that exists."""
    assert [link for link in LINK.findall(path.read_text(encoding="utf-8")) if not (path.parent / link).exists()] == []


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", [*DOCUMENTS, ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"], ids=lambda path: path.name)
def test_anchors_exist(path: Path) -> None:
    """Every link to a heading, on the same page or on another one, names a heading that exists."""
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)", path.read_text(encoding="utf-8"))
    assert [link for link in links if link[1] not in anchors(path.parent / link[0] if link[0] else path)] == []


CONTINUED = re.compile(r"(?<=\S)\n *(?=\S)(?![|#>]|[-*] |\d+\. )")
"""Paragraphs and list items that continue on the next line."""


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_rows_of_a_table_have_its_columns(path: Path) -> None:
    """A | in a cell needs a backslash, even inside of code."""
    tables = re.findall(r"(?:^\|.*\n)+", path.read_text(encoding="utf-8"), re.MULTILINE)
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1, table


def screen_lines(text: str) -> int:
    """Return the number of lines that a page takes at 100 columns, with its paragraphs wrapped again."""
    parts = re.split(r"^( *```.*?^ *```)$", text, flags=re.DOTALL | re.MULTILINE)
    shown = "".join(part if part.lstrip().startswith("```") else CONTINUED.sub(" ", part) for part in parts)
    return sum(max(1, -(-len(line) // 100)) for line in shown.splitlines())


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "user").glob("*.md")), ids=lambda path: path.name)
def test_user_pages_stay_short(path: Path) -> None:
    """A page for users takes two screens: at most 110 lines of 100 columns."""
    assert screen_lines(path.read_text(encoding="utf-8")) <= 110


def test_every_user_page_is_in_the_readme() -> None:
    """The README links to each page in docs/user."""
    linked = set(LINK.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    assert [page for page in (ROOT / "docs" / "user").glob("*.md") if f"docs/user/{page.name}" not in linked] == []


def test_the_readme_installs_as_the_install_page_does() -> None:
    """A command under "Install" in the README is also on the page that explains it."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Install")[2].partition("\n## ")[0]
    commands = [line.strip() for block in BLOCK.findall(section) for line in block.splitlines()]
    page = {line.strip() for block in blocks(ROOT / "docs" / "user" / "install.md") for line in block.splitlines()}
    assert "sudo ./install.sh" in commands
    assert [line for line in commands if line not in page] == []


def test_the_readme_stays_short() -> None:
    """At most 120 lines; everything longer has a page in docs/user."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def secret_prompts() -> list[str]:
    return [line for path in DOCUMENTS for block in blocks(path) for line in block.splitlines() if "read -rsp" in line]


def test_secrets_are_never_typed_in_the_clear() -> None:
    for path in DOCUMENTS:
        for block in blocks(path):
            assert not re.search(r"install [^|\n]*/dev/stdin", re.sub(r"\|\s*install.*", "", block)), block
            assert not re.search(r"(SECRET|PASSWORD|TOKEN)=[A-Za-z0-9]", block), block
    assert len(secret_prompts()) >= 2


@pytest.mark.parametrize("line", secret_prompts())
def test_prompt_for_secrets(line: str, tmp_path: Path) -> None:
    """It stores them and shows nothing."""
    names = re.findall(r"for name in ([\w -]+);", line)[0].split()
    secrets = {name: f"pass word {name}'\"$1\\" for name in names}
    controller, terminal = pty.openpty()
    command = line.strip().removeprefix("sudo ").replace("/etc/credstore", str(tmp_path))
    process = subprocess.Popen(
        ["bash", "-c", command], stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
    )
    os.close(terminal)
    shown = b""
    for name, secret in secrets.items():
        while f"{name}: ".encode() not in shown:
            assert select.select([controller], [], [], 10)[0], shown
            shown += os.read(controller, 4096)
        os.write(controller, secret.encode() + b"\n")
    assert process.wait(10) == 0
    os.close(controller)
    files = [*tmp_path.iterdir()]
    assert {path.name.rpartition(".")[2]: path.read_text() for path in files} == secrets
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert not any(secret.encode() in shown for secret in secrets.values())
