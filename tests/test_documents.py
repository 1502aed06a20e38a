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
def test_the_prompt_for_secrets_stores_them_and_shows_nothing(line: str, tmp_path: Path) -> None:
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
