"""What `mtrl study` writes before its first command: images, tables, tasks, prompts, and a preset per base model."""

from __future__ import annotations

import csv
import io
import random
import secrets
from pathlib import Path
from typing import Any

from mtrl.core import search_path
from mtrl.core.files import dump_yaml, read_yaml, write_text
from mtrl.demo import study_world
from mtrl.demo.lessons import NOT
from mtrl.demo.study_plan import Plan
from mtrl.demo.study_world import HELD, SEEN, Question
from mtrl.demo.world import Row, draw, pairwise, pointwise

COLUMNS = ("image", "other", "caption", "label", "part")


def write(home: Path, plan: Plan) -> None:
    """raw/, recipes/ and prompts/ in the study's folder."""
    preset = read_yaml(search_path.find("recipes", "models/tiny.yaml", "model preset"))
    own = preset["recipe"]
    preset["recipe"] = {**own, "sft": {**own["sft"], **plan.sft}, "rl": {**own["rl"], **plan.rl}}
    for name in plan.bases:
        _yaml(home / f"recipes/models/{name}.yaml", {**preset, "path": f"./../../{base_folder(name)}"})
    for question in study_world.questions():
        _yaml(home / f"recipes/tasks/{question.name}.yaml", _task(question))
        for style in study_world.ENDINGS:
            text = study_world.prompt(style, question.about, question.wording)
            write_text(home / f"prompts/{style}/{question.name}.jinja", text + "\n")
    if not (home / "raw").exists():
        drawn = home / f".raw.{secrets.token_hex(8)}"
        _draw(drawn, plan)
        drawn.rename(home / "raw")


def base_folder(name: str) -> str:
    """Below the study's folder."""
    return f"bases/{name}"


def _yaml(path: Path, content: dict[str, Any]) -> None:
    write_text(path, dump_yaml(content))


def _task(question: Question) -> dict[str, Any]:
    pairs = question.about == "pairs"
    ask = study_world.prompt("sft", question.about, question.wording).replace("<image>", "").split(" Answer ")[0]
    return {
        "title": " ".join(ask.replace("{{ caption }}", "...").split()),
        "capability": "alignment" if pairs else question.about,
        "source": {
            "file": f"{question.name}.csv",
            "images": ["image", "other"] if pairs else ["image"],
            "fields": {"caption": "caption"},
        },
        "label": {"column": "label", "values": {word: [word] for word in ("1 2" if pairs else "yes no").split()}},
        "split": {"column": "part"},
        **({"kind": "pairwise", "pointwise": {"task": "study_alignment"}} if pairs else {}),
    }


def _draw(raw: Path, plan: Plan) -> None:
    """Every image once, and one table per task."""
    (raw / "images").mkdir(parents=True)
    tables: dict[str, list[tuple[str, ...]]] = {question.name: [] for question in study_world.questions()}
    for about in study_world.OPPOSITE:
        rng = random.Random(f"{plan.world_seed}/{about}")
        for part, count in plan.rows.items():
            for number in range(count):
                row = pointwise(about, rng, part, SEEN)
                image = _image(raw, f"{about}_{part}_{number}", row, 0)
                for question in study_world.questions():
                    shift = question.wording in (0, study_world.TRAINED + 1)
                    if question.about != about or (shift and part != "test"):
                        continue
                    if question.part and (part == "test" or number % study_world.TRAINED != question.part - 1):
                        continue
                    label = NOT[row.label] if question.wording == 0 else row.label
                    tables[question.name].append((image, "", row.caption, label, part))
    rng = random.Random(f"{plan.world_seed}/pairs")
    for number in range(plan.pairs):
        row = pairwise(rng, HELD)
        images = [_image(raw, f"pair_{number}_{place + 1}", row, place) for place in (0, 1)]
        tables[study_world.PAIRS].append((*images, row.caption, str(int(row.label) + 1), "test"))
    for name, rows in tables.items():
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
        write_text(raw / f"{name}.csv", text.getvalue())


def _image(raw: Path, name: str, row: Row, place: int) -> str:
    draw(row.images[place]).save(raw / "images" / f"{name}.png")
    return f"images/{name}.png"
