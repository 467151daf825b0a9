"""report.html: one self-contained page from predictions.jsonl and the converted data; opens from disk, asks no network.

Everything a model or a release wrote reaches the page as JSON text that a script turns into text nodes: never as markup.
"""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

from mtrl import prompting, samples, tasks
from mtrl.converters.images import load_rgb
from mtrl.evaluate import predictions
from mtrl.evaluate.run import METRICS, task_metrics
from mtrl.files import read_json, written

FILE = "report.html"
THUMBNAIL = 128  # pixels a side: about 4 kB each as JPEG


def write(out: Path, data: Path) -> Path:
    """Writes out/report.html. Raises UserError where `out` holds no evaluation."""
    from jinja2 import Environment, FileSystemLoader

    identity, rows = predictions.load(out)
    result = read_json(out / METRICS, "mtrl score " + str(out / predictions.FILE))
    pictures: dict[str, str] = {}
    shown = [row for name in identity["tasks"] for row in _rows(name, identity, rows, data, pictures)]
    content = {"metrics": task_metrics(result), "rows": shown, "images": pictures}
    page = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True).get_template(
        "report.html.jinja"
    )
    with written(out / FILE) as beside, beside.open("w", encoding="utf-8") as file:
        file.write(page.render(about=identity, result=result, content=_inert(content)))
    return out / FILE


def _rows(
    name: str, identity: dict[str, Any], rows: list[dict[str, Any]], data: Path, pictures: dict[str, str]
) -> list[dict[str, Any]]:
    task = tasks.load(name)
    split = identity["tasks"][name]["split"]
    known = {sample.id: sample for sample in samples.read(data, name, split)}
    render = prompting.renderer(task, identity["style"])
    found = []
    for row in rows:
        if row["task"] == name and row["id"] in known:
            sample = known[row["id"]]
            sample = sample.turned() if row["order"] == "turned" else sample
            for image in sample.images:
                if image not in pictures:
                    pictures[image] = _thumbnail(data / image)
            kept = ("id", "task", "order", "response", "verdict", "label", "correct")
            found.append(
                {
                    **{k: row[k] for k in kept},
                    "prompt": render(sample),
                    "images": sample.images,
                    "blur": task.capability == "safety",
                }
            )
    return found


def _thumbnail(path: Path) -> str:
    """The image as base64 JPEG, "" where it is gone."""
    try:
        image = load_rgb(path)
    except OSError:
        return ""
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=80)
    return base64.b64encode(out.getvalue()).decode()


def _inert(content: dict[str, Any]) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
