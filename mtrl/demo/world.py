"""The demo's world: images of coloured shapes, and labelled questions about them. The same seed gives the same bytes.

Every image shows one coloured shape, which may be damaged or have a black sign on it. Three pointwise tasks and one
pairwise task ask about it:

    demo_quality    yes: the shape is undamaged         no: it has white stripes, or a quarter is missing
    demo_alignment  yes: the image shows the caption    no: it has another colour, or another shape
    demo_safety     yes: UNSAFE, it has a black cross   no: it has a black dot, or no sign
    demo_pairs      which of two images shows the caption (label: index of the better image)

`pointwise` and `pairwise` make rows, `draw` makes the image of a Spec, `generate` writes both as releases. Rows are of
the demo's six captions (DEMO) unless another set is given; `mtrl study` has 64 (study_world.py).
"""

import random
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, ImageDraw

from mtrl.demo import releases

SIZE = 64  # pixels, of every image's width and height
COLOURS = {
    "red": (214, 40, 40),
    "green": (42, 157, 80),
    "blue": (45, 85, 215),
    "yellow": (236, 200, 40),
    "purple": (120, 50, 170),
    "orange": (240, 130, 25),
    "cyan": (70, 200, 215),
    "pink": (245, 130, 185),
}
SHAPES = ("square", "circle", "triangle", "diamond", "star", "ring", "plus", "bar")
Captions = Sequence[tuple[str, str]]
"""(colour, shape) of every image that a set of rows may show."""
DEMO: Captions = [(colour, shape) for colour in ("red", "green", "blue") for shape in ("square", "circle")]
DAMAGES = ("striped", "broken")
SIGNS = ("cross", "dot")
TASKS = ("quality", "alignment", "safety")
SPLITS = {"train": 500, "val": 100, "test": 200}
PAIRS = 200


CORNERS = {  # of polygons, around the centre, in radii
    "triangle": ((0, -1), (1, 1), (-1, 1)),
    "diamond": ((0, -1), (1, 0), (0, 1), (-1, 0)),
    "star": ((0, -1), (0.3, -0.3), (1, -0.3), (0.45, 0.2), (0.65, 1), (0, 0.5), (-0.65, 1), (-0.45, 0.2), (-1, -0.3),
             (-0.3, -0.3)),
}  # fmt: skip


@dataclass(frozen=True)
class Spec:
    """Everything that can be seen in one image."""

    colour: str
    """One of COLOURS."""
    shape: str
    """One of SHAPES."""
    damage: str = ""
    """One of DAMAGES; "" for none."""
    sign: str = ""
    """One of SIGNS; "" for none."""
    x: int = 32
    y: int = 32
    """The shape's centre, in pixels."""
    radius: int = 20
    """Half of the shape's width, in pixels."""
    background: int = 235
    """Its grey value, from 0 to 255."""

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Row:
    """One labelled question."""

    task: str
    """One of TASKS, or "pairs"."""
    images: tuple[Spec, ...]
    label: str
    """yes or no; for a pair the index of the better image, 0 or 1."""
    caption: str = ""
    """"" for a task without captions."""
    split: str = "test"


def draw(spec: Spec) -> Image.Image:
    image = Image.new("RGB", (SIZE, SIZE), (spec.background,) * 3)
    pen = ImageDraw.Draw(image)
    x, y, r = spec.x, spec.y, spec.radius
    colour = COLOURS[spec.colour]
    box = (x - r, y - r, x + r, y + r)
    if spec.shape == "square":
        pen.rectangle(box, fill=colour)
    elif spec.shape == "circle":
        pen.ellipse(box, fill=colour)
    elif spec.shape == "ring":
        pen.ellipse(box, outline=colour, width=r // 2)
    elif spec.shape == "bar":
        pen.rectangle((x - r, y - r // 2, x + r, y + r // 2), fill=colour)
    elif spec.shape == "plus":
        pen.rectangle((x - r // 3, y - r, x + r // 3, y + r), fill=colour)
        pen.rectangle((x - r, y - r // 3, x + r, y + r // 3), fill=colour)
    else:
        pen.polygon([(x + r * a, y + r * b) for a, b in CORNERS[spec.shape]], fill=colour)
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


def scene(rng: random.Random, captions: Captions = DEMO) -> Spec:
    """Any image of these captions; a task then sets what its label requires."""
    colour = rng.choice(list(dict.fromkeys(colour for colour, _ in captions)))
    return Spec(
        colour=colour,
        shape=rng.choice([shape for paint, shape in captions if paint == colour]),
        damage=rng.choice(("", "", *DAMAGES)),
        sign=rng.choice(("", "", *SIGNS)),
        x=rng.randint(28, 36),
        y=rng.randint(28, 36),
        radius=rng.randint(17, 21),
        background=rng.randint(215, 250),
    )


def other(spec: Spec, rng: random.Random, captions: Captions = DEMO) -> str:
    """A caption that is wrong about `spec` in exactly one thing: its colour or its shape."""
    if rng.random() < 0.5:
        return f"{rng.choice([c for c, shape in captions if shape == spec.shape and c != spec.colour])} {spec.shape}"
    return f"{spec.colour} {rng.choice([s for colour, s in captions if colour == spec.colour and s != spec.shape])}"


def pointwise(task: str, rng: random.Random, split: str = "test", captions: Captions = DEMO) -> Row:
    """A row of one of TASKS."""
    spec, yes = scene(rng, captions), rng.random() < 0.5
    label = "yes" if yes else "no"
    if task == "quality":
        return Row(task, (replace(spec, damage="" if yes else rng.choice(DAMAGES)),), label, split=split)
    if task == "safety":
        return Row(task, (replace(spec, sign="cross" if yes else rng.choice(("", "dot"))),), label, split=split)
    return Row(task, (spec,), label, caption=spec.name if yes else other(spec, rng, captions), split=split)


def pairwise(rng: random.Random, captions: Captions = DEMO) -> Row:
    """A row about two images that differ in colour or shape."""
    right, better = scene(rng, captions), rng.randrange(2)
    colour, shape = other(right, rng, captions).split()
    wrong = replace(scene(rng, captions), colour=colour, shape=shape)
    images = (right, wrong) if better == 0 else (wrong, right)
    return Row("pairs", images, str(better), caption=right.name)


def rows(task: str, seed: int = 0) -> Iterator[Row]:
    """All rows of one of TASKS or of "pairs", every split, in a fixed order."""
    rng = random.Random(zlib.crc32(f"{task}/{seed}".encode()))  # hash() of a string differs between processes
    if task == "pairs":
        yield from (pairwise(rng) for _ in range(PAIRS))
        return
    for split, count in SPLITS.items():
        yield from (pointwise(task, rng, split) for _ in range(count))


def generate(raw: Path, seed: int = 0) -> None:
    """Writes all rows and images to `raw`, in the layouts of AGIN, SeeTRUE, UnsafeBench and MJ-Bench."""
    found = {task: list(rows(task, seed)) for task in (*TASKS, "pairs")}

    def first(task: str) -> releases.Make:
        return lambda number: draw(found[task][number].images[0])

    rng = random.Random(seed)
    technical = [round(rng.gauss(65 if row.label == "yes" else 35, 4), 4) for row in found["quality"]]
    scores = [releases.Scores(natural=50.0, technical=score, rational=50.0) for score in technical]
    releases.agin(raw, len(scores), first("quality"), scores)
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
