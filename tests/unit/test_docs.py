"""README and docs/: short enough to read, and a site without a dead link or a page that no menu names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_readme_is_read_in_one_sitting() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert len(text.split()) <= 1500


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_have_at_most_120_columns(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    assert [number for number, line in enumerate(lines, start=1) if len(line) > 120] == []


def test_the_site_is_built_strictly(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "-q",
        "-f",
        ROOT / "docs" / "site" / "mkdocs.yml",
        "-d",
        tmp_path,
    ]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, capture_output=True, text=True, env=quiet)
    assert built.returncode == 0, built.stderr
    assert {page.stem for page in PAGES[1:]} <= {page.parent.name for page in tmp_path.rglob("index.html")} | {"index"}


def test_a_dead_link_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "docs" / "site").mkdir(parents=True)
    settings = (ROOT / "docs" / "site" / "mkdocs.yml").read_text(encoding="utf-8").partition("nav:\n  -")[0]
    (tmp_path / "docs" / "site" / "mkdocs.yml").write_text(settings + "nav: [index.md]\n", encoding="utf-8")
    (tmp_path / "docs" / "index.md").write_text("[gone](gone.md)\n", encoding="utf-8")
    command = [sys.executable, "-m", "mkdocs", "build", "-f", tmp_path / "docs" / "site" / "mkdocs.yml"]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode != 0 and "gone.md" in built.stderr
