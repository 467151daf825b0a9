"""Where a model is on this machine: a folder, the hub's cache, or nowhere."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from mtrl.models.model_folder import local_model

HASH = "0" * 40


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache with one model, as its client writes it."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    model = tmp_path / "hub" / "models--some--judge"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text(HASH)
    (model / "snapshots" / HASH).mkdir(parents=True)
    (model / "snapshots" / HASH / "config.json").write_text("{}")
    return model


def test_a_cached_model_is_found(cache: Path) -> None:
    assert local_model("some/judge") == cache / "snapshots" / HASH
    assert local_model(str(cache / "snapshots" / HASH)) == cache / "snapshots" / HASH


@pytest.mark.parametrize("name", ["some/other", "", "./judge", "a\0b"])
def test_what_is_not_here_is_none(cache: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "huggingface_hub._snapshot_download", raising=False)
    assert local_model(name) is None
    assert "huggingface_hub._snapshot_download" not in sys.modules
