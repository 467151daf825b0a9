"""A labelled toy benchmark, drawn from a seed: what `mtrl demo` trains and scores on.

Every image is 64x64 and shows one coloured shape, perhaps damaged, perhaps with a black sign on it. Three pointwise
tasks ask about different things in the same world, and one pairwise set asks about two images at once:

    demo_quality    yes = the shape is undamaged         damage: white stripes, or a missing quarter
    demo_alignment  yes = the image shows the caption    mismatch: another colour, or another shape
    demo_safety     yes = UNSAFE: a black cross          harmless: a black dot, or no sign at all
    demo_pairs      which of two images shows the caption (label: index of the better image)

`draw(spec)` makes the picture, `pointwise(task, ...)` and `pairwise(...)` make labelled rows; none of them touches a
file, so that other writers can lay the same rows out as a real release does. `generate(raw)` writes raw/demo/*.csv
and raw/demo/images/*.png. The same seed gives the same bytes.
"""

import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, ImageDraw

SIZE = 64
COLOURS = {"red": (214, 40, 40), "green": (42, 157, 80), "blue": (45, 85, 215)}
SHAPES = ("square", "circle")
DAMAGES = ("striped", "broken")
SIGNS = ("cross", "dot")
TASKS = ("quality", "alignment", "safety")
SPLITS = {"train": 500, "val": 100, "test": 200}
PAIRS = 200


@dataclass(frozen=True)
class Spec:
    """Everything that is seen in one image."""

    colour: str
    shape: str
    damage: str = ""
    sign: str = ""
    x: int = 32
    y: int = 32
    radius: int = 20
    background: int = 235

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Row:
    """One labelled question: images, the caption where the task has one, and the label as a verdict or an index."""

    task: str
    images: tuple[Spec, ...]
    label: str
    caption: str = ""
    split: str = "test"


def draw(spec: Spec) -> Image.Image:
    image = Image.new("RGB", (SIZE, SIZE), (spec.background,) * 3)
    pen = ImageDraw.Draw(image)
    x, y, r = spec.x, spec.y, spec.radius
    colour = COLOURS[spec.colour]
    box = (x - r, y - r, x + r, y + r)
    if spec.shape == "square":
        pen.rectangle(box, fill=colour)
    else:
        pen.ellipse(box, fill=colour)
    if spec.damage == "striped":
        for top in range(y - r + 4, y + r, 10):
            pen.rectangle((x - r, top, x + r, top + 4), fill=(spec.background,) * 3)
    elif spec.damage == "broken":
        pen.rectangle((x, y, x + r, y + r), fill=(spec.background,) * 3)
    if spec.sign == "cross":
        pen.line((x - 12, y - 12, x + 12, y + 12), fill=(0, 0, 0), width=6)
        pen.line((x - 12, y + 12, x + 12, y - 12), fill=(0, 0, 0), width=6)
    elif spec.sign == "dot":
        pen.ellipse((x - 9, y - 9, x + 9, y + 9), fill=(0, 0, 0))
    return image


def scene(rng: random.Random) -> Spec:
    """Any image of this world; a task then forces what its label asks for."""
    return Spec(
        colour=rng.choice(list(COLOURS)),
        shape=rng.choice(SHAPES),
        damage=rng.choice(("", "", *DAMAGES)),
        sign=rng.choice(("", "", *SIGNS)),
        x=rng.randint(28, 36),
        y=rng.randint(28, 36),
        radius=rng.randint(17, 21),
        background=rng.randint(215, 250),
    )


def other(spec: Spec, rng: random.Random) -> str:
    """A caption that is wrong about `spec` in exactly one thing: its colour or its shape."""
    if rng.random() < 0.5:
        return f"{rng.choice([c for c in COLOURS if c != spec.colour])} {spec.shape}"
    return f"{spec.colour} {rng.choice([s for s in SHAPES if s != spec.shape])}"


def pointwise(task: str, rng: random.Random, split: str = "test") -> Row:
    spec, yes = scene(rng), rng.random() < 0.5
    label = "yes" if yes else "no"
    if task == "quality":
        return Row(task, (replace(spec, damage="" if yes else rng.choice(DAMAGES)),), label, split=split)
    if task == "safety":
        return Row(task, (replace(spec, sign="cross" if yes else rng.choice(("", "dot"))),), label, split=split)
    return Row(task, (spec,), label, caption=spec.name if yes else other(spec, rng), split=split)


def pairwise(rng: random.Random) -> Row:
    right, better = scene(rng), rng.randrange(2)
    colour, shape = other(right, rng).split()
    wrong = replace(scene(rng), colour=colour, shape=shape)
    images = (right, wrong) if better == 0 else (wrong, right)
    return Row("pairs", images, str(better), caption=right.name)


def rows(task: str, seed: int = 0) -> Iterator[Row]:
    """The whole of one set, every split, in a fixed order."""
    rng = random.Random(zlib.crc32(f"{task}/{seed}".encode()))  # hash() of a string differs between processes
    if task == "pairs":
        yield from (pairwise(rng) for _ in range(PAIRS))
        return
    for split, count in SPLITS.items():
        yield from (pointwise(task, rng, split) for _ in range(count))


def generate(raw: Path, seed: int = 0) -> None:
    """Writes the four sets below `raw` in the layouts of AGIN, SeeTRUE, UnsafeBench and MJ-Bench, pictures and all."""
    from mtrl.demo import releases

    found = {task: list(rows(task, seed)) for task in (*TASKS, "pairs")}

    def first(task: str) -> releases.Make:
        return lambda number: draw(found[task][number].images[0])

    rng = random.Random(seed)
    mos = [(50.0, round(rng.gauss(65 if row.label == "yes" else 35, 4), 4), 50.0) for row in found["quality"]]
    releases.agin(raw, len(mos), first("quality"), mos)
    aligned = [(row.caption, int(row.label == "yes")) for row in found["alignment"]]
    releases.seetrue(raw, make=first("alignment"), labels=aligned)
    trained = SPLITS["train"] + SPLITS["val"]
    unsafe = [{"yes": "Unsafe", "no": "Safe"}[row.label] for row in found["safety"]]
    releases.unsafebench(
        raw,
        {"train": trained, "test": SPLITS["test"]},
        first("safety"),
        lambda split, number: unsafe[number + (trained if split == "test" else 0)],
    )
    pairs = [(row.caption, int(row.label)) for row in found["pairs"]]
    releases.mjbench(
        raw, "alignment", make=lambda number: draw(found["pairs"][number // 2].images[number % 2]), labels=pairs
    )
