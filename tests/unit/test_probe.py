"""A probe finds a planted blind judge, a planted colour bias and a place bias; and calls a judge that looks no such
thing. Engines are stand-ins whose answers follow from what they are shown.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from PIL import Image, ImageStat

from mtrl.config import task_files
from mtrl.config.samples import Sample
from mtrl.core.errors import UserError
from mtrl.core.files import sha256_file
from mtrl.evaluate import predictions, run
from mtrl.evaluate.engines.base import Answer
from mtrl.evaluate.engines.request import Request
from mtrl.evaluate.html import probe_page
from mtrl.evaluate.metrics import shares
from mtrl.evaluate.metrics.prediction import Prediction
from mtrl.evaluate.probing import effects, exchange, findings, perturbations, pictures, words
from mtrl.evaluate.probing.asked import FOLDER, Plan
from mtrl.evaluate.probing.drawings import Drawings
from mtrl.evaluate.probing.effects import Pair, TaskProbe
from mtrl.evaluate.probing.folder import LOCK, taken
from mtrl.evaluate.requests import of_sample
from tests.unit.standin import MODELS, Reply, completion, standin
from tests.unit.test_scored import judge

Says = Callable[[Request], str]
DATA, OUT = Path("data"), Path("runs/p/probe")
ROWS = 160  # a blind judge flips none of them, nor of the pairs of rows that exchange images: upper ends below 5%


class Engine:
    """Answers what `says` says, `most` times at most."""

    def __init__(self, says: Says, most: int | None = None, continues: bool = True) -> None:
        self.says, self.most, self.asked, self.continues = says, most, 0, continues
        self.images: dict[tuple[str, str, str], tuple[bytes, ...]] = {}

    def describe(self) -> dict[str, Any]:
        return {"engine": "test"}

    def answers(self, asked: Iterable[Request], _: Any) -> Iterator[Answer]:
        for one in asked:
            if self.asked == self.most:
                raise KeyboardInterrupt
            self.asked += 1
            self.images[one.task, one.id, one.variant] = tuple(file.read_bytes() for file in one.images)
            yield Answer(one, one.prefix + self.says(one), 1, "stop", 0.1)


def right(request: Request) -> str:
    """Says what is right, "no" to a grey image, and of another image what its own label is."""
    if request.variant == "blank":
        return request.choices[-1]
    if request.variant == "other":
        return next(choice for choice in request.choices if choice != request.label)
    return request.label


def blind(request: Request) -> str:
    """Half yes and half no, whatever it is shown."""
    return request.choices[hashlib.sha256(request.id.encode()).digest()[0] % 2]


def by_colour(request: Request) -> str:
    """Says yes to what is reddest of its three colours."""
    r, g, b = ImageStat.Stat(Image.open(request.images[0]).convert("RGB")).mean
    return "yes" if r > max(g, b) else "no"


def probe(
    name: str = "demo_quality", says: Says = right, *, only: list[str] | None = None, style: str = "sft",
    rows: int = ROWS, seed: int = 0, engine: Engine | None = None, of: str = "m", data: Path = DATA,
) -> tuple[TaskProbe, Plan, Engine]:  # fmt: skip
    plan, engine = Plan(data, "test", OUT, rows, seed, only), engine or Engine(says)
    subject = judge(of, style=style)
    loaded = []
    run.ask(
        subject, [name], data, "test", OUT, 1, None, lambda *_: loaded.append(1) or engine, lambda *_: None, probe=plan
    )
    assert len(loaded) <= 1  # one engine for all changes
    return (
        effects.of_task(predictions.load(OUT, purpose="probe"), name, plan.left_out[name], plan.unchanged[name]),
        plan,
        engine,
    )


@pytest.fixture
def here(converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the demo's tasks and prompts, and a link to its data, which a probe only reads."""
    for name in ("recipes", "prompts"):
        shutil.copytree(converted / name, tmp_path / name)
    (tmp_path / "data").symlink_to(converted / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(found: TaskProbe) -> str:
    return " ".join(findings.of_task(found))


def rate(found: TaskProbe, variant: str) -> float:
    return next(one.flip_rate.value or 0.0 for one in found.effects if one.variant == variant)


def test_a_planted_blind_judge_is_found(here: Path) -> None:
    found, _, _ = probe(says=blind, only=["blank", "other", "hue", "invert"])
    assert found.looks == "blind" and found.constant is None
    assert "This judge is BLIND: its verdicts do not depend on the image" in told(found)
    assert all(one.flips == 0 for one in found.effects)
    assert "What should not move it" not in told(found)
    assert "What should move it does not: invert (0.0%" in told(found)


def test_a_judge_that_always_says_the_same_is_blind_too(here: Path) -> None:
    found, _, _ = probe(says=lambda request: "yes", only=["blank", "other", "blur"])
    assert found.looks == "blind" and "It says yes to every row" in told(found)


def test_a_planted_colour_bias_is_found(here: Path) -> None:
    found, _, _ = probe(says=by_colour, only=["blank", "other", "crop", "hue", "paraphrase"])
    assert found.looks == "looks" and "BLIND" not in told(found)
    assert rate(found, "hue-3") > 0.3 and rate(found, "crop-1") == 0 == rate(found, "paraphrase-1")
    moved = next(line for line in findings.of_task(found) if "hue" in line)
    assert moved.startswith("It is moved by hue") and moved.endswith("this is a colour bias.")


def test_a_judge_that_is_right_looks_and_is_moved_by_nothing(here: Path) -> None:
    for name in ("demo_quality", "demo_alignment"):
        shutil.rmtree(OUT, ignore_errors=True)
        found, _, _ = probe(name, rows=30)
        assert found.looks == "looks" and found.effects and not any(map(findings.unwanted, found.effects))
        assert "nothing is proven to move more than 5%" in told(found) and "does not" not in told(found)
        for one in found.effects:
            assert one.accuracy_before == 1 and (one.accuracy_after == 1 or one.expected == "look")
            assert (one.flip_rate.value == 1) is (one.expected == "opposite" or one.variant == "other")
        assert ("caption" in found.left_out) is (name == "demo_quality")
        assert found.left_out["order"] == "it is no pair" and "sft has no reasoning" in found.left_out["prefill"]


def test_a_place_bias_of_pairs_is_found_and_is_read_in_the_order_as_it_is(here: Path) -> None:
    found, _, _ = probe("demo_pairs", says=lambda request: "1", only=["order"])
    order = next(one for one in found.effects if one.variant == "order")
    assert order.flip_rate.value == 1 and order.moves == {"1 to 2": ROWS} and findings.unwanted(order)
    shutil.rmtree(OUT)
    found, _, _ = probe("demo_pairs", only=["other", "order"])
    assert rate(found, "order") == 0 and rate(found, "other") == 1


def test_two_equal_sides_are_not_asked_in_the_other_order(here: Path) -> None:
    files = [here / name for name in ("a.png", "same.png", "b.png")]
    image = Image.effect_noise((16, 16), 90).convert("RGB")
    for file, level, shown in zip(
        files, (0, 9, 0), (image, image, pictures.hue(image.rotate(90), 0, Random(0))), strict=True
    ):
        shown.save(file, compress_level=level)
    assert files[0].read_bytes() != files[1].read_bytes()
    task = task_files.load("demo_pairs", None)

    def asked(one: int, other: int) -> tuple[Request, list[Request]]:
        pair = Sample("a", task.name, task.kind, (str(files[one]), str(files[other])), {}, "1", "test")
        row = perturbations.Row(task, "sft", pair, "<image><image>", lambda _: "<image><image>", [pair], {}, Random(0))
        turned = perturbations.ALL["order"].change(row, 0)
        return (
            of_sample(pair, task, "given", row.prompt, here, ""),
            [of_sample(turned.sample, task, turned.order, turned.prompt, here, "")],
        )

    equal, other = asked(0, 1), asked(0, 2)
    told = list[tuple[int, int]]()
    assert Drawings(OUT).unchanged([equal, other], lambda *seen: told.append(seen[:2])) == {equal[1][0].key}
    assert told == [(1, 2), (2, 2)]
    assert Drawings(OUT).unchanged([other], lambda *_: None) == set()


FLAT = {  # of each kind of image, what leaves it as it is
    "noise": set(),
    "black and white": {"hue-1", "hue-2", "hue-3", "grey"},
    "flat red": {"blur-1", "blur-2", "blur-3", "resize-1", "resize-2", "resize-3", "crop-1", "crop-2", "crop-3",
                 "rotate-1", "rotate-2", "rotate-3"},
}  # fmt: skip
FLAT["flat grey"] = FLAT["flat red"] | FLAT["black and white"] | {"blank", "jpeg-1", "jpeg-2", "jpeg-3"}


def convert_flat(cli: Callable[..., Any], kinds: Iterable[str]) -> None:
    """Converts a task "flat" of six images of each kind."""
    Path("raw/flat").mkdir(parents=True)
    lines = ["image,label"]
    for kind in kinds:
        for number in range(6):
            image = Image.effect_noise((40 + number, 32), 90)
            if kind.startswith("flat"):
                image = Image.new("RGB", (40 + number, 32), pictures.GREY if kind == "flat grey" else (200, 20, 20))
            elif kind == "noise":
                image = Image.merge("RGB", [Image.effect_noise(image.size, 90) for _ in range(3)])
            image.save(f"raw/flat/{kind} {number}.png")
            lines.append(f"{kind} {number}.png,{'yn'[number % 2]}")
    Path("raw/flat.csv").write_text("\n".join(lines))
    Path("recipes/tasks/flat.yaml").write_text(
        "title: t\ncapability: quality\nsource: {file: flat.csv, images: [image], image_folder: flat}\n"
        "label: {column: label, values: {yes: [y], no: [n]}}\nsplit: {by: random, parts: {test: 1}}\n"
    )
    for style, end in (("sft", "Answer yes or no."), ("rl", "Reply <think>why</think><answer>yes or no</answer>.")):
        Path(f"prompts/{style}/flat.jinja").write_text(f"Good? <image> {end}")
    done = cli("convert", "flat", "--raw", "raw", "--out", "flat")
    assert done.code == 0, done.err


def test_rows_that_a_change_leaves_as_they_are_are_not_asked(here: Path, cli: Callable[..., Any]) -> None:
    convert_flat(cli, FLAT)
    found, plan, engine = probe("flat", says=lambda request: "no" if request.variant else "yes", data=Path("flat"))
    every = {name for name, (one, _) in perturbations.LEVELS.items() if one.name not in found.left_out}
    for variant in every - {"other"}:
        same = {kind for kind, variants in FLAT.items() if variant in variants}
        assert {id_.rsplit(" ", 1)[0] for id_ in found.unchanged.get(variant, [])} == same, variant
        (one,) = [one for one in found.effects if one.variant == variant]
        assert one.n == one.flips == 24 - 6 * len(same) and len(found.unchanged.get(variant, [])) == 6 * len(same)
    assert engine.asked == len(plan.asked) == 24 + sum(one.n for one in found.effects)
    assert "Of 24 rows these are unchanged and not asked: blank 6, blur 0.5% 12" in told(found)
    page = probe_page.write(OUT, predictions.load(OUT, purpose="probe"), {"flat": found}, plan).read_text()
    assert page.count("unchanged: 6\nrows, not asked") >= 4 and page.count("unchanged: 12\nrows, not asked") >= 16


def test_a_change_that_changes_no_row_says_so_in_place_of_a_rate(here: Path, cli: Callable[..., Any]) -> None:
    convert_flat(cli, ["flat grey"])
    with standin(lambda number, body: completion("yes")) as server:
        asked = ("probe", "--endpoint", server.url, "--served-model", "m", "--tasks", "flat", "--data", "flat")
        done = cli(*asked, "--only", "blank,hue,written", "--style", "sft", "--out", "p")
        assert done.code == 0 and len(server.asked) == 18, done.err
    shown = " ".join(done.out.split())
    assert "Whether it looks at the image cannot be told: blank: it changes nothing; other: not asked" in shown
    assert "Of 6 rows these are unchanged and not asked: blank 6, hue 60 6, hue 120 6, hue 180 6." in shown
    assert "hue 60 │ │ 0 │ unchanged" in shown
    assert Path("p/probe.html").read_text().count("unchanged:\n6 rows, not asked") == 4
    told = json.loads(Path("p/probe.json").read_text())["tasks"]["flat"]
    assert [one["variant"] for one in told["effects"]] == ["written-1", "written-2"] and len(
        told["unchanged"]["hue-2"]
    ) == 6


def test_the_changed_images_have_the_size_and_are_gone_afterwards(here: Path) -> None:
    before = {file: sha256_file(file) for file in sorted(Path("data").rglob("*.p*"))}
    _, _, engine = probe("demo_pairs", rows=3)
    assert not (OUT / FOLDER).exists()
    assert {file: sha256_file(file) for file in sorted(Path("data").rglob("*.p*"))} == before
    for (task, name, variant), images in engine.images.items():
        plain = engine.images[task, name, ""]
        if variant.split("-")[0] in ("blank", "blur", "jpeg", "crop", "resize", "rotate", "hue", "grey"):
            assert all(one != other for one, other in zip(images, plain, strict=True)), variant
        if variant.startswith("written"):
            assert sum(one != other for one, other in zip(images, plain, strict=True)) == 1  # the worse one
        if variant == "order":
            assert images == plain[::-1]
        for file in images:
            with Image.open(io.BytesIO(file)) as opened:
                assert opened.size == (64, 64)
                assert opened.format == "JPEG" or not variant.startswith("jpeg")
    shutil.rmtree(OUT)
    assert probe("demo_pairs", rows=3)[2].images == engine.images  # seeded
    shutil.rmtree(OUT)
    assert probe("demo_pairs", rows=3, seed=1)[2].images.keys() != engine.images.keys()


def test_an_interrupted_probe_continues_with_what_is_missing(here: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        probe(engine=Engine(right, most=100), rows=20)
    assert not (OUT / FOLDER).exists()
    with pytest.raises(UserError, match=r"not finished: 100 of [\d,]+ requests on task demo_quality"):
        effects.of_task(predictions.load(OUT, purpose="probe"), "demo_quality", {}, {})
    with (OUT / "predictions.jsonl").open("a") as file:
        file.write('{"id": "torn')
    (OUT / FOLDER).mkdir()  # of a probe that was killed
    (OUT / FOLDER / "left.png").touch()
    found, plan, engine = probe(rows=20)
    assert engine.asked == len(plan.asked) - 100 and found.looks == "looks" and not (OUT / FOLDER).exists()
    assert probe(rows=20)[2].asked == 0


def test_another_probe_in_the_same_folder_is_refused(here: Path) -> None:
    few = {"only": ["blank"], "rows": 5}
    probe(**few)
    for other in ({"rows": 6}, {"seed": 1}, {"only": ["blank", "hue"]}):
        with pytest.raises(UserError, match="has another probe; different now: probe") as error:
            probe(**{**few, **other})
        assert "pass another --out" in error.value.then
    with pytest.raises(UserError, match="different now: checkpoint"):
        probe(of="another", **few)
    with pytest.raises(UserError, match="is a probe, not an evaluation"):
        predictions.load(OUT)
    with pytest.raises(UserError, match="different now: style"):
        probe(style="rl", **few)


def test_a_probe_of_another_task_adds_to_the_folder(here: Path, cli: Callable[..., Any]) -> None:
    def asked(tasks: str, *more: object) -> Any:
        return cli(*words, "--tasks", tasks, "--rows", 6, *more)

    with standin(lambda number, body: completion("yes")) as server:
        words = ("probe", "--endpoint", server.url, "--served-model", "m", "--style", "sft", "--only", "blank,hue")
        assert asked("demo_quality").code == 0 and len(server.asked) == 6 * 5
        assert asked("demo_alignment").code == 0 and len(server.asked) == 2 * 6 * 5  # the first is not asked again
        folder = Path("runs/probe-m")
        told = json.loads((folder / "probe.json").read_text())["tasks"]
        assert list(told) == ["demo_quality", "demo_alignment"] and told["demo_quality"]["split"] == "test"
        page = (folder / "probe.html").read_text()
        assert all(f'<h2 id="{name}">' in page for name in told) and page.count("<article") == 2 * 6 * 4
        for more, differing in (
            (("--rows", 7), "probe: rows"),
            (("--only", "blank"), "probe: only"),
            (("--split", "train"), "quality: split"),
        ):
            done = asked("demo_alignment", *more)
            assert done.code == 2 and differing in " ".join(done.err.split()) and "pass another --out" in done.err
        assert json.loads((folder / "probe.json").read_text())["tasks"] == told and len(server.asked) == 2 * 6 * 5
    with pytest.raises(UserError, match="is an evaluation, not a probe"), taken(_evaluated(here)):
        pass
    assert not (here / "e" / LOCK).exists()


def _evaluated(here: Path) -> Path:
    engine = Engine(right)
    run.ask(judge("m"), ["demo_quality"], DATA, "test", here / "e", 1, 2, lambda *_: engine, lambda *_: None)
    return here / "e"


def test_a_folder_is_held_until_the_page_is_written(
    here: Path, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write, second = probe_page.write, []

    def and_another(folder: Path, *more: Any) -> Path:
        second.append(cli(*asked))
        return write(folder, *more)

    with standin(lambda number, body: completion("yes")) as server:
        asked = ("probe", "--endpoint", server.url, "--served-model", "m", "--style", "sft", "--tasks", "demo_quality")
        asked += ("--rows", 2, "--only", "blank", "--out", "p")
        monkeypatch.setattr(probe_page, "write", and_another)
        assert cli(*asked).code == 0 and len(server.asked) == 4
    (refused,) = second
    assert refused.code == 2 and "another mtrl probe is writing to p" in refused.err and Path("p/probe.html").exists()


def test_a_probe_is_not_continued_by_what_changes_rows_in_another_way(
    here: Path, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    convert_flat(cli, ["noise"])
    few: dict[str, Any] = {"name": "flat", "only": ["blur", "other"], "data": Path("flat")}
    _, plan, engine = probe(**few)
    assert engine.asked == len(plan.asked) and re.search(r"\([0-9a-f]{12}\), Pillow \d", plan.probed.made_by)
    own = Path("recipes/tasks/flat.yaml")
    before = own.read_text()
    own.write_text(f"{before}orient: true\n")  # the judge would see photographs rotated
    with pytest.raises(UserError, match="different now: task flat: probe_sha256"):
        probe(**few)
    own.write_text(before)
    monkeypatch.setattr(pictures, "__file__", __file__)  # as if its code were another
    with pytest.raises(UserError, match="different now: probe: made_by"):
        probe(**few)
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert probe(**few)[2].asked == 0


def test_names_that_do_not_fit_are_refused(here: Path) -> None:
    with pytest.raises(UserError, match="'blurr' is no perturbation") as error:
        probe(only=["blurr"])
    assert "choose from: blank, other, order" in error.value.then
    with pytest.raises(UserError, match="no task can be probed by order: task demo_quality: it is no pair"):
        probe(only=["order"])
    with pytest.raises(UserError, match=r"no task can be probed by caption: .* whether an image matches a text"):
        probe(only=["caption"])


def test_prefill_is_refused_where_the_engine_cannot_and_then_left_out(here: Path) -> None:
    def trace(request: Request) -> str:
        return f"{'' if request.prefix else '<think>'}So.</think><answer>{right(request)}</answer>"

    with pytest.raises(UserError, match="cannot continue an answer that has begun") as error:
        probe(style="rl", rows=5, engine=Engine(trace, continues=False))
    only = error.value.then.split("--only ")[1].split(",")
    assert "prefill" not in only and "order" not in only and "blank" in only
    found, _, _ = probe(style="rl", rows=5, only=only, engine=Engine(trace, continues=False))
    assert found.rows == 5
    shutil.rmtree(OUT)
    found, _, _ = probe(style="rl", rows=5, engine=Engine(trace))
    row = next(row for row in predictions.load(OUT, purpose="probe").rows if row.variant == "prefill")
    assert row.response.startswith(words.AGAIN) and row.verdict == row.label and rate(found, "prefill") == 0


def test_what_cannot_be_told_is_not_told(here: Path) -> None:
    assert "cannot be told from 10 rows in" in told(probe(says=blind, rows=10)[0])
    shutil.rmtree(OUT)
    assert "cannot be told: other: not asked (--only)" in told(probe(says=blind, only=["blank"])[0])
    shutil.rmtree(OUT)
    assert "Not one answer could be read" in told(probe(says=lambda request: "perhaps", only=["blank", "other"])[0])


def test_page_and_manifest(here: Path) -> None:
    evil = "<script>alert(1)</script>"
    found, plan, _ = probe(
        "demo_alignment", rows=24, says=lambda request: evil if request.variant == "hue-1" else right(request)
    )
    seen = predictions.load(OUT, purpose="probe")
    page = probe_page.write(OUT, seen, {"demo_alignment": found}, plan)
    text = page.read_text()
    assert "<script" not in text and "&lt;script&gt;" in text and "http" not in re.sub(r"http-equiv", "", text)
    assert text.count("<article") == sum(min(20, one) for one in _rows_of(found).values())
    few = [one for one in found.effects if one.clusters < one.readable]  # six captions, and images that are exchanged
    assert few and all(f">in {one.clusters} clusters</span>" in text for one in few)
    assert "data:image/jpeg;base64," in text and "cannot be shown" not in text and not (OUT / FOLDER).exists()
    hue = next(one for one in found.effects if one.variant == "hue-1")
    assert (hue.invalid_before, hue.invalid_after, hue.accuracy_after) == (0, 24, 0)
    assert (hue.flips, hue.unreadable, hue.unreadable_rate.value) == (0, 24, 1)
    written = json.loads(effects.write(OUT, seen.identity, {"demo_alignment": found}).read_text())
    assert written["tasks"]["demo_alignment"]["looks"] == "looks" and written["rows"] == 24
    assert TaskProbe(**written["tasks"]["demo_alignment"]) == found


def _rows_of(found: TaskProbe) -> dict[str, int]:
    rows: dict[str, int] = {}
    for one in found.effects:
        rows[one.perturbation] = rows.get(one.perturbation, 0) + one.n
    return rows


def test_the_command(here: Path, cli) -> None:
    with standin(lambda number, body: completion("yes")) as server:
        asked = ("probe", "--endpoint", server.url, "--served-model", "m", "--tasks", "demo_quality", "--rows", ROWS)
        done = cli(*asked, "--only", "blank,other,written", "--style", "sft")
    assert done.code == 0, done.err
    shown = " ".join(done.out.split())
    assert "demo_quality: This judge is BLIND" in shown and "It says yes to every row" in shown
    assert Path("runs/probe-m/probe.html").exists() and Path("runs/probe-m/probe.json").exists()
    assert cli("score", "runs/probe-m").code == 2
    assert cli("probe", "--ckpt", "nowhere", "--tasks", "demo_quality", "--rows", 0).code == 2
    named = " ".join(cli("probe", "--help").out.replace("│", " ").split())
    assert ", ".join(perturbations.ALL) in named


def test_only_vllms_server_is_asked_to_continue_an_answer(here: Path, cli) -> None:
    def answered(number: int, body: dict[str, Any]) -> Reply:
        return completion(f"{'' if len(body['messages']) > 1 else '<think>'}It is.</think><answer>yes</answer>")

    asked = ("probe", "--served-model", "m", "--tasks", "demo_quality", "--rows", 2, "--style", "rl", "--endpoint")
    with standin(answered) as server:
        done = cli(*asked, server.url)
        assert done.code == 2 and "cannot continue an answer that has begun" in done.err
        only = done.err.split("--only ")[1].split()[0]
        assert cli(*asked, server.url, "--only", only).code == 0  # in the same folder: nothing was asked before
        assert all(len(body["messages"]) == 1 for body in server.asked)
    with standin(answered, (*MODELS[:2], MODELS[2].replace("me", "vllm"))) as server:
        assert cli(*asked, server.url, "--only", "prefill", "--out", "p").code == 0
        begun = [body for body in server.asked if len(body["messages"]) > 1]
        assert len(begun) == 2 and all(body["continue_final_message"] for body in begun)
        assert begun[0]["messages"][1] == {"role": "assistant", "content": words.AGAIN}
    rows = [row for row in predictions.load(Path("p"), purpose="probe").rows if row.variant]
    assert all(row.response == f"{words.AGAIN}It is.</think><answer>yes</answer>" for row in rows) and len(rows) == 2


def test_the_interval_of_a_share() -> None:
    """Of independent items it is nearly Clopper and Pearson's, and with clusters it holds the true share."""
    from scipy.stats import binomtest

    for hits, n in ((0, 80), (3, 200), (60, 100), (50, 50)):
        exact = binomtest(hits, n).proportion_ci(method="exact")
        values = [True] * hits + [False] * (n - hits)
        found = shares.interval(values, list(map(str, range(n))))
        assert found == pytest.approx([exact.low, exact.high], abs=0.002)
    none, ids = [False] * findings.FEWEST, list(map(str, range(findings.FEWEST)))
    assert shares.interval(none, ids)[1] < effects.FEW < shares.interval(none[1:], ids[1:])[1]
    assert shares.interval([True, False], ["a", "a"]) is None
    chance, inside = Random(0), 0
    for _ in range(400):  # 40 clusters of 5 rows that flip together, each with probability 0.1
        flips = [chance.random() < 0.1 for _ in range(40)]
        low, high = shares.interval([flip for flip in flips for _ in range(5)], [str(k // 5) for k in range(200)]) or ()
        inside += low <= 0.1 <= high
    assert inside >= 0.93 * 400


def said(verdict: str | None, id: str = "a", label: str = "50", cluster: str = "") -> Prediction:
    return Prediction(
        id=id, task="t", order="given", vote=0, response="", verdict=verdict, lenient=verdict, label=label,
        cluster=cluster,
    )  # fmt: skip


def test_a_flip_on_a_scale_is_more_than_a_tenth_of_it() -> None:
    for after, flipped, direction in (("60", False, "higher"), ("61", True, "higher"), ("39", True, "lower")):
        pair = Pair(said("50"), said(after), True, room=10)
        assert (pair.flipped, pair.direction) == (flipped, direction)
    assert Pair(said("50"), said("51"), True).flipped and Pair(said("50"), said("51"), True).distance == 1
    for pair in (Pair(said("50"), said(None), True, 10), Pair(said(None), said("50"), True, 10)):
        assert not pair.flipped and pair.distance is None
    assert Pair(said("50"), said(None), True).lost and not Pair(said(None), said(None), True).lost
    assert Pair(said("yes"), said("no")).direction == "yes to no" and Pair(said("yes"), said("no")).distance is None


def effect(name: str, expected: perturbations.Expected, found: Iterable[Pair]) -> effects.Effect:
    return effects._effect(perturbations.ALL[name].variants[0], name, "", expected, list(found))


def test_how_far_a_score_moves_is_said() -> None:
    """One point is enough to show that an image matters; the sentence says that it is no more than that."""
    near = [Pair(said("50", str(n)), said("51" if n % 2 else "50", str(n)), True) for n in range(100)]
    found = TaskProbe(
        split="test", rows=100, looks=effects._looks({"blank": near, "other": near}), constant=None, left_out={},
        unchanged={},
        effects=[
            effect("blank", "look", near),
            effect("other", "look", near),
            effect("crop", "same", [pair._replace(room=10) for pair in near]),
            effect("written", "same", (Pair(said("50", str(n)), said("90", str(n)), True, 10) for n in range(100))),
        ],
    )  # fmt: skip
    looks, moved = findings.of_task(found)
    assert found.looks == "looks" and "a grey image changes 50.0%, 95% interval" in looks
    assert looks.count(", by 0.5 points on average") == 2
    assert moved.startswith("What should not move it moves it by more than 10 points: written 6% (100.0%, 95% interval")
    assert "by 40.0 points on average" in moved and "crop" not in moved
    assert findings.moves(found.effects[2]) == "by 0.5 points on average" and found.effects[2].flips == 0


def test_a_change_of_the_verdict_and_an_answer_that_cannot_be_read_are_told_apart() -> None:
    def pairs(other: int, lost: int, unread: int = 0) -> list[Pair]:
        after = ["no"] * other + [None] * lost + ["yes"] * (100 - other - lost - unread)
        found = [Pair(said("yes", str(n)), said(verdict, str(n))) for n, verdict in enumerate(after)]
        return [*found, *(Pair(said(None, f"u{n}"), said("yes", f"u{n}")) for n in range(unread))]

    for blank, other, looks in (
        (pairs(0, 0), pairs(0, 0), "blind"),
        (pairs(0, 50), pairs(0, 0), "unknown"),  # unreadable answers neither prove that it looks nor that it is blind
        (pairs(20, 50), pairs(0, 0), "looks"),
    ):
        assert effects._looks({"blank": blank, "other": other}) == looks
    found = TaskProbe(
        split="test", rows=100, looks="unknown", constant=None, left_out={}, unchanged={},
        effects=[
            effect("blank", "look", pairs(0, 50)),
            effect("other", "look", pairs(0, 0)),
            effect("prefill", "same", pairs(0, 40)),
            effect("hue", "depends", pairs(30, 20, 20)),
            effect("invert", "opposite", pairs(1, 90)),
        ],
    )  # fmt: skip
    looks, same, hue, invert, lost = findings.of_task(found)
    assert "cannot be told from 100 rows: too many answers can no longer be read" in looks
    assert "a grey image changes 0.0%, 95% interval 0.0 to 3.6, and makes 50.0% unreadable" in looks
    assert same.startswith("Of what should not move it, nothing is proven")
    assert (
        hue.startswith("It is moved by hue 60 (37.5%, 95%") and ", and makes 25.0% unreadable): " in hue
    )  # of 80 rows
    assert invert.startswith("What should move it does not: invert (1.0%") and "and makes 90.0% unreadable" in invert
    assert (
        lost.startswith("Some answers can no longer be read after invert (90.0%, 95% interval") and "hue 60 (25" in lost
    )
    by_name = {one.perturbation: one for one in found.effects}
    assert (by_name["hue"].n, by_name["hue"].readable, by_name["hue"].moves) == (100, 80, {"yes to no": 30})
    assert not findings.unwanted(by_name["prefill"]) and findings.loses(by_name["prefill"])
    kept = effect("crop", "same", pairs(0, 0)).accuracy_change  # no change of 100 does not prove that there is none
    assert kept.value == 0 and kept.ci95 == pytest.approx([-0.036, 0.036], abs=0.001)
    none = effect("blank", "look", [Pair(said(None), said("yes"))])
    assert none.flip_rate.value is None and "no answer as it is can be read" in findings._share(none)


def rows_of(*kinds: tuple[str, str, int]) -> tuple[list[Sample], dict[str, str]]:
    """Rows and their clusters; each kind is a cluster's name ("" for one per row), a label and how many."""
    rows, clusters = list[Sample](), dict[str, str]()
    for cluster, label, number in kinds:
        for _ in range(number):
            id = f"r{len(rows)}"
            rows.append(Sample(id, "t", "pointwise", (f"{id}.png",), {}, label, "test"))
            clusters[id] = cluster or id
    return rows, clusters


def test_rows_exchange_images_in_groups_that_are_independent() -> None:
    for kinds, groups in (
        ([("", "yes", 50), ("", "no", 50)], 50),
        ([("", "yes", 90), ("", "no", 10)], 10),
        ([(f"c{k}", label, 1) for k in range(40) for label in ("yes", "no")], 20),
        ([("", str(k % 7), 1) for k in range(60)], 30),
        ([("a", "yes", 4), ("b", "yes", 3), ("c", "no", 2)], 1),
    ):
        rows, clusters = rows_of(*kinds)
        found = exchange.exchanged(rows, clusters, Random(0))
        assert found.keys() == {row.id for row in rows} and len({one.group for one in found.values()}) == groups
        used: dict[str, set[str]] = {}
        for row in rows:
            shown, group = found[row.id]
            assert shown.answer != row.answer and clusters[shown.id] != clusters[row.id]
            used.setdefault(group, set()).update((clusters[row.id], clusters[shown.id]))
        assert sum(map(len, used.values())) == len(set().union(*used.values()))  # no cluster is in two groups
        assert exchange.exchanged(rows, clusters, Random(0)) == found
    alone = rows_of(("", "yes", 3), ("a", "no", 1), ("a", "yes", 1))
    assert set(exchange.exchanged(*alone, Random(0))) == {"r0", "r1", "r2", "r3"}  # r4 has no other cluster's "no"
    assert exchange.exchanged(*rows_of(("", "yes", 3)), Random(0)) == {}


def test_the_interval_of_other_is_by_the_images_that_are_exchanged(here: Path) -> None:
    found, plan, _ = probe(only=["blank", "other"])
    blank, other = found.effects
    assert (blank.n, other.n) == (ROWS, ROWS) and other.clusters <= blank.clusters / 2
    rows = [row for row in predictions.load(OUT, purpose="probe").rows if row.variant == "other"]
    shown: dict[str, set[Path]] = {}
    for row in rows:
        images = {*plan.asked[row.key].images, *plan.asked[row.key._replace(variant="")].images}
        shown.setdefault(row.cluster, set()).update(images)
    assert sum(map(len, shown.values())) == len(set().union(*shown.values()))  # no image in two clusters


def test_the_interval_of_other_holds_the_true_share_where_few_images_are_shown_often() -> None:
    """The judge says something about each image by chance, whatever the label: 32% of the verdicts change."""
    rows, clusters = rows_of(("", "yes", 180), ("", "no", 30))
    chance, inside = Random(0), Counter[str]()
    for _ in range(300):
        shown = exchange.exchanged(rows, clusters, chance)
        verdict = {row.id: chance.random() < 0.2 for row in rows}
        flips = [verdict[row.id] != verdict[shown[row.id].sample.id] for row in rows]
        for name, of in (("groups", [shown[row.id].group for row in rows]), ("rows", list(clusters.values()))):
            low, high = shares.interval(flips, of) or ()
            inside[name] += low <= 0.32 <= high
    assert inside["groups"] >= 0.93 * 300 > 0.9 * 300 > inside["rows"]


def test_few_images_do_not_speak_for_many_rows() -> None:
    def pairs(clusters: int, read: int = 200) -> list[Pair]:
        verdicts = ["yes" if n < read else None for n in range(200)]
        return [
            Pair(said(verdict, str(n), cluster=f"c{n}"), said(verdict, str(n), cluster=f"s{n % clusters}"))
            for n, verdict in enumerate(verdicts)
        ]

    assert effects._looks({"blank": pairs(200), "other": pairs(80)}) == "blind"
    assert effects._looks({"blank": pairs(200), "other": pairs(findings.FEWEST - 1)}) == "unknown"
    assert effects._looks({"blank": pairs(200), "other": pairs(1)}) == "unknown"
    assert effects._looks({"blank": pairs(200, 4), "other": pairs(200, 4)}) == "unknown"  # 196 cannot be read


def test_changes_of_words() -> None:
    chance, caption = Random(0), "A red circle, large."
    for _ in range(20):
        new = (words.changed_word(caption, ["A blue square, large.", "the green ring"], chance) or "").split()
        (changed,) = [(old, now) for old, now in zip(caption.split(), new, strict=True) if old != now]
        assert changed[0] != "A" and changed[1].strip(".,") in ("blue", "square", "green", "ring")
    assert words.changed_word("of a", ["a b c"], chance) is None
    assert words.changed_word("a  red\nof", ["blue"], chance) == "a  blue\nof"  # nothing but the word
    assert words.changed_word("red", ["red", "Red."], chance) is None
    for around in words.AROUND:
        assert "{% x %} {y} <image>" in around.format(prompt="{% x %} {y} <image>")


def test_every_change_of_an_image_keeps_its_size() -> None:
    image = Image.effect_noise((31, 17), 90).convert("RGB")
    tiny = Image.new("RGB", (1, 1), (200, 10, 10))
    for one in perturbations.ALL.values():
        if one.change in (perturbations._written,) or getattr(one.change, "func", None) is perturbations._drawn:
            draw = one.change.args[0] if hasattr(one.change, "args") else pictures.written
            for level in range(len(one.levels)):
                for source in (image, tiny):
                    changed = draw(source, level, Random(0))
                    assert (changed.size, changed.mode) == (source.size, "RGB"), one.name
    grey = Image.new("RGB", (8, 8), (90, 90, 90))
    assert pictures.hue(grey, 2, Random(0)).tobytes() == grey.tobytes()
    assert pictures.hue(tiny, 1, Random(0)).getpixel((0, 0))[1] > 150  # red, by 120 degrees, is green


def test_a_prompt_that_a_task_cannot_have_twice(here: Path) -> None:
    """Every level of every perturbation has a name of its own, and the tasks of the demo say what they cannot have."""
    assert len(perturbations.LEVELS) == sum(len(one.levels) for one in perturbations.ALL.values())
    task = task_files.load("demo_alignment", None)
    assert perturbations.caption_field(task, "sft") == "caption"
    assert perturbations.caption_field(task_files.load("demo_quality", None), "sft") is None
    elements = task_files.load("evalmuse_elements", None)  # about one element, next to the caption
    assert perturbations.ALL["caption"].unfit(elements, "sft") == "its prompt has no caption, or several texts"
