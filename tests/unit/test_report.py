"""report.html: one file, nothing fetched, and what a model wrote stays text."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from mtrl.evaluate import predictions, report, requests, run
from mtrl.evaluate.engine import Answer
from mtrl.tasks import load

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"><!-- yes"


@pytest.fixture
def folder(project: Path) -> Path:
    """An evaluation of demo_safety and demo_pairs whose answers are hostile markup."""
    out, identity = Path("runs/x/eval"), {}
    found = {
        name: list(requests.build(load(name), "sft", Path("data"), "test", limit=30))
        for name in ("demo_safety", "demo_pairs")
    }
    about = {
        n: {
            "split": "test",
            "prompt_sha256": "",
            "samples_sha256": "",
            "limit": 30,
            "requests": len(r),
            "choices": list(r[0].choices),
        }
        for n, r in found.items()
    }
    sampling = {"max_tokens": 16, "temperature": 0.0, "votes": 1}
    identity = {
        "path": "m</title>",
        "method": "zero_shot",
        "style": "sft",
        "image": {"min_pixels": 1, "max_pixels": 2},
        "sampling": sampling,
        "tasks": about,
    }
    with predictions.Store(out, identity) as store:
        answers = (
            Answer(r, HOSTILE if i % 2 else r.choices[0], 3, "stop", 0.1)
            for rs in found.values()
            for i, r in enumerate(rs)
        )
        list(store.append(predictions.row_of(a, "sft", "") for a in answers))
    run.score(out)
    return out


def test_it_is_self_contained_and_inert(folder: Path) -> None:
    page = report.write(folder, Path("data")).read_text()
    assert "http://" not in page and "https://" not in page
    assert "<script>document.title" not in page and "</title>" in page.split("<style>")[0]
    data = page.split('id="content">')[1].split("</script>")[0]
    content = json.loads(data)
    assert any(row["response"] == HOSTILE for row in content["rows"])
    assert len(content["rows"]) == 30 + 60 and all(content["images"].values())


def test_in_a_browser(folder: Path) -> None:
    """Headless Chromium draws the rows and runs none of the model's markup."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here (apt-get install chromium)")
    page = report.write(folder, Path("data")).resolve()
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    command = [browser, *options, f"--user-data-dir={folder.resolve()}/profile", "--dump-dom", page.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    assert "<title>owned" not in shown and "mtrl: zero_shot" in shown
    assert "90 of 90 answers" in shown and shown.count('class="row"') == 90
    assert 'class="blur"' in shown  # the safety task's thumbnails
