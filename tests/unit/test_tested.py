"""Requirements and lists of keys name the upstream versions of mtrl/backends/envs/tested.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mtrl.backends.envs import build
from mtrl.backends.envs.tested import TESTED
from mtrl.backends.registry import BACKENDS
from mtrl.preflight import keys
from tests.conftest import ROOT


def pins(environment: str) -> list[tuple[Path, str]]:
    return [(file, file.read_text(encoding="utf-8")) for file in sorted(build.HERE.glob(f"{environment}-*.txt"))]


def test_every_backend_has_a_tested_version() -> None:
    assert TESTED.keys() == BACKENDS.keys()


@pytest.mark.parametrize("name", TESTED)
def test_requirements_pin_the_tested_version(name: str) -> None:
    backend, tested = BACKENDS[name], TESTED[name]
    pinned = rf"^{backend.packages[0]}(\[\w+\])?==(.+)$"
    if tested.commit:
        pinned = rf"^-e git\+https://github.com/.*\.git@(\w{{40}})#egg={backend.packages[0]}$"
    found = {match.groups()[-1] for _, text in pins(backend.environment) for match in re.finditer(pinned, text, re.M)}
    assert found == {tested.commit or tested.version}


@pytest.mark.parametrize("name", ["llamafactory", "trl", "easyr1"])
def test_lists_of_keys_are_of_the_tested_version(name: str) -> None:
    head = keys.file(name).read_text(encoding="utf-8").splitlines()[0]
    assert (TESTED[name].commit[:7] or TESTED[name].version) in re.findall(r"[\w.]+", head)


def test_contributing_names_no_commit_that_could_differ() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert "easyr1-cpu.last.txt" in text and not re.search(r"checkout ([0-9a-f]{7,})", text)
