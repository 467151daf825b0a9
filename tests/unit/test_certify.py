"""mtrl certify, from an evaluation folder to decision.json; and mtrl judge, which obeys it."""

from __future__ import annotations

import base64
import io
import json
import math
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mtrl.config import prompting, recipe, samples, task_files, tasks
from mtrl.config.samples import Sample
from mtrl.core.files import read_json, read_jsonl, sha256_file, write_json
from mtrl.demo.walkthrough import tiny
from mtrl.evaluate import judges
from mtrl.evaluate.decision import FILE, read
from mtrl.evaluate.engines import endpoint
from mtrl.evaluate.subject import fingerprint
from tests.unit.standin import Reply, asked_text, completion, standin
from tests.unit.test_report import browse

YAML = "title: t\ncapability: quality\nsource: {file: a.csv}\nlabel: {column: label, values: {yes: [a], no: [b]}}\n"
PAIR = YAML.replace("{yes: [a], no: [b]}", '{"1": [a], "2": [b]}') + "kind: pairwise\n"
ROWS = 100


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An export that was trained on `mine` and `pairs`, pictures, and data of both."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(endpoint, "RETRIES", 0)
    for name, text, images in (("mine", YAML, "<image>"), ("pairs", PAIR, "<image> <image>")):
        Path("recipes/tasks").mkdir(parents=True, exist_ok=True)
        Path(f"recipes/tasks/{name}.yaml").write_text(text)
        said = "yes or no" if name == "mine" else "1 or 2"
        for style, form in (("sft", said), ("rl", f"<think>why</think><answer>{said}</answer>")):
            Path("prompts", style).mkdir(parents=True, exist_ok=True)
            Path("prompts", style, f"{name}.jinja").write_text(f"{images} good? {form}")
    folder = tmp_path / "x"
    shutil.copytree(tiny(), folder)
    task_files.write(map(tasks.load, ("mine", "pairs")), folder / task_files.FOLDER)
    files = {f.name: sha256_file(f) for f in folder.iterdir() if f.is_file()}
    card = {
        "method": "sft_unified", "style": "sft", "image": {"min_pixels": 1024, "max_pixels": 2048},
        "max_new_tokens": 16, "tasks": ["mine", "pairs"], "run": "r",
        "recipe": recipe.load("sft_unified", "tiny", "cpu").model_dump(mode="json"),
        "files": files | task_files.hashes(folder / task_files.FOLDER),
    }  # fmt: skip
    write_json(folder / "mtrl.json", card)
    Path("pics").mkdir()
    for number in range(6):
        Image.new("RGB", (64, 64), (40 * number, 0, 0)).save(f"pics/{number}.png")
    for name, number in (("mine", 1), ("pairs", 2)):
        for split in ("train", "test"):
            rows = [
                Sample(f"{split}{n}", name, "pointwise", tuple(f"images/{split}{n}-{k}.png" for k in range(number)),
                       {}, "yes", split)
                for n in range(ROWS)
            ]  # fmt: skip
            samples.write(samples.path_of(Path("data"), name, split), rows)
    return folder


def line(task: str, n: int, verdict: str | None, label: str, sure: float | None, **more: Any) -> dict[str, Any]:
    return {
        "id": f"test{n}", "task": task, "order": "given", "vote": 0, "response": verdict or "so", "verdict": verdict,
        "lenient": verdict, "label": label, "confidence": sure, "cluster": f"c{n}", **more,
    }  # fmt: skip


def good(task: str = "mine") -> list[dict[str, Any]]:
    """Right where it is sure, wrong at random below 0.7."""
    draw = random.Random(0)
    rows = []
    for n in range(ROWS):
        label, sure = ("yes", "no")[n % 2], round(1 - n / 200, 3)
        rows.append(line(task, n, label if sure > 0.7 or draw.random() < 0.5 else "no", label, sure))
    return rows


def evaluation(judge: Path, rows: list[dict[str, Any]], task: str = "mine", **changes: Any) -> Path:
    asked = {
        "split": "test", "prompt_sha256": prompting.sha256(tasks.load(task), "sft"), "limit": None,
        "samples_sha256": sha256_file(samples.path_of(Path("data"), task, "test")), "requests": len(rows),
        "choices": list(tasks.load(task).choices),
    }  # fmt: skip
    of_task = {key: changes.pop(key) for key in list(changes) if key in (*asked, "conversion_limit", "pointwise")}
    identity = {
        "schema": 1, "checkpoint": fingerprint(judge), "path": str(judge), "name": "r", "run": "r",
        "trained": ["mine", "pairs"], "method": "sft_unified", "style": "sft", "tasks": {task: {**asked, **of_task}},
        "sampling": {"votes": 1, "max_tokens": 16, "temperature": 0.0, "confidence": True}, **changes,
    }  # fmt: skip
    folder = Path("e")
    folder.mkdir(exist_ok=True)
    write_json(folder / "eval.json", identity)
    (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_it_is_written_into_the_export_and_says_what_it_is_of(judge: Path, cli) -> None:
    before, folder = fingerprint(judge), evaluation(judge, good())
    shown = cli("certify", folder)
    assert shown.code == 0 and not (judge / FILE).exists(), shown.err
    assert f"nothing was written. next: mtrl certify e --write {judge} --alpha 0.1 --delta 0.05" in shown.out
    done = cli("certify", folder, "--write", judge)
    assert done.code == 0 and f"written: {judge / FILE}" in done.out, done.err
    assert f"next: mtrl judge IMAGES --tasks mine --ckpt {judge}" in done.out
    found = read_json(judge / FILE)
    of = found["tasks"]["mine"]
    assert found["judge"] == before and found["schema"] == 1
    assert (of["alpha"], of["delta"], of["style"], of["rows"], of["clusters"]) == (0.1, 0.05, "sft", ROWS, ROWS)
    assert of["prompt_sha256"] == prompting.sha256(tasks.load("mine"), "sft")
    assert of["predictions_sha256"] == sha256_file(folder / "predictions.jsonl") and not of["both_orders"]
    assert 0.6 < of["threshold"] <= 0.7 and of["coverage"] == of["decided"] / ROWS
    low, high = of["coverage_ci95"]
    assert low < of["coverage"] < high and f"{of['threshold']:g}" in done.out
    # the judge is the same one: its identity and its listed files do not change
    assert fingerprint(judge) == before
    judges.subject(str(judge)).check()
    assert not list(judge.glob(".*.tmp"))


def test_a_second_task_is_added_and_a_decision_of_another_judge_replaced(judge: Path, cli) -> None:
    rows = []
    for n, row in enumerate(good("pairs")):
        label = ("1", "2")[n % 2]
        other = ("2", "1")[n % 2]
        rows.append({**row, "verdict": label, "lenient": label, "response": label, "label": label})
        turned = "1" if n < 20 else other  # of the surest 20, ten contradict themselves
        rows.append({**rows[-1], "order": "turned", "verdict": turned, "response": turned, "lenient": turned,
                     "label": other, "confidence": row["confidence"] - 0.01})  # fmt: skip
    cli("certify", evaluation(judge, good()), "--write", judge)
    done = cli("certify", evaluation(judge, rows, "pairs"), "--write", judge)
    assert done.code == 0, done.err
    found = read(judge)
    assert found and set(found.tasks) == {"mine", "pairs"}
    pair = found.tasks["pairs"]
    assert pair.both_orders and pair.left_out == {"orders differ": 10} and "10 orders differ" in done.out
    assert pair.threshold == min(row["confidence"] for row in rows) and pair.coverage == 0.9
    assert pair.decides(0.9, 0.9, False) and not pair.decides(0.9, 0.1, False)
    assert not pair.decides(0.9, 0.9, True) and not pair.decides(0.9, 0.9, None) and not pair.decides(0.9, None, False)
    write_json(judge / FILE, {**read_json(judge / FILE), "judge": "another"})
    assert cli("certify", evaluation(judge, good()), "--write", judge).code == 0
    assert set(read(judge).tasks) == {"mine"}


def test_an_earlier_threshold_that_new_rows_do_not_prove_is_kept_and_said(judge: Path, cli) -> None:
    right = [line("pairs", n, "12"[n % 2], "12"[n % 2], 0.9) for n in range(ROWS)]
    folder = evaluation(judge, right, "pairs")
    cli("certify", folder, "--write", judge)
    wrong, pairs = [{**row, "label": "21"[n % 2]} for n, row in enumerate(right)], read_json(folder / "eval.json")
    about = read_json(evaluation(judge, [*good(), *wrong]) / "eval.json")
    about["tasks"] |= pairs["tasks"]
    about["tasks"]["mine"]["requests"] = ROWS
    write_json(folder / "eval.json", about)
    done = cli("certify", folder, "--write", judge)
    assert done.code == 0 and f"pairs: {judge / FILE} keeps an earlier threshold" in done.out + done.err
    assert set(read(judge).tasks) == {"mine", "pairs"}


def wrong(judge: Path, case: str) -> Path:
    rows = good()
    if case == "too few":
        return evaluation(judge, rows[:28])
    if case == "few clusters":
        return evaluation(judge, [{**row, "cluster": f"c{n % 9}"} for n, row in enumerate(rows)])
    if case == "one class":
        return evaluation(judge, [{**row, "label": "yes"} for row in rows])
    if case == "no confidence":
        return evaluation(judge, [{**row, "confidence": None} for row in rows])
    if case == "not complete":
        return evaluation(judge, rows, requests=ROWS + 1)
    if case == "votes":
        return evaluation(judge, rows, sampling={"votes": 3})
    if case == "trained on":
        return evaluation(judge, rows, split="train")
    if case == "trained on an image":
        moved = [
            Sample(f"test{n}", "mine", "pointwise", (f"images/train{n}-0.png",), {}, "yes", "test") for n in range(80)
        ]
        samples.write(samples.path_of(Path("data"), "mine", "test"), moved)
        return evaluation(judge, rows)
    assert case == "no evaluation"
    return Path("pics")


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("too few", "has 28 independent rows; alpha 0.1 and delta 0.05 need at least 29"),
        ("few clusters", "has 9 independent rows of 100 rows, since rows that share an image, a text or a source"),
        ("one class", "every row of task mine has the label 'yes'"),
        ("no confidence", "e has no confidence for task mine"),
        ("not complete", "e has 100 of 101 answers of task mine"),
        ("votes", "e has 3 votes per row, and mtrl judge asks once"),
        ("trained on", "of split train of task mine, which the judge was trained on"),
        ("trained on an image", "20 independent rows, without 80 with an image that the judge was trained on"),
        ("no evaluation", "pics is not an evaluation"),
    ],
)
def test_rows_that_prove_nothing_are_refused(judge: Path, cli, case: str, says: str) -> None:
    done = cli("certify", wrong(judge, case), "--write", judge)
    assert done.code == 2 and says in done.err and "next: " in done.err, done.err
    assert not (judge / FILE).exists() and "Traceback" not in done.err


def test_rows_with_an_image_of_the_training_are_left_out_and_what_cannot_be_checked_is_said(judge: Path, cli) -> None:
    rows = [
        Sample(f"test{n}", "mine", "pointwise", (f"images/{'train' if n < 10 else 'test'}{n}-0.png",), {}, "yes", "t")
        for n in range(ROWS)
    ]
    samples.write(samples.path_of(Path("data"), "mine", "test"), rows)
    done = cli("certify", evaluation(judge, good()), "--write", judge)
    assert done.code == 0 and "10 seen in training" in done.out, done.err
    of = read(judge).tasks["mine"]
    assert of.left_out == {"seen in training": 10} and of.rows == of.clusters == 90
    shutil.rmtree("data/pairs")
    assert "data has no training rows of pairs" in cli("certify", evaluation(judge, good())).out
    assert "is not what was scored" in cli("certify", evaluation(judge, good()), "--data", "elsewhere").out
    assert "mtrl did not train this judge" in cli("certify", evaluation(judge, good(), run="")).out
    assert "it has seen their labels" in cli("certify", evaluation(judge, good(), split="val")).out


def test_a_judge_that_is_never_sure_gets_no_threshold(judge: Path, cli) -> None:
    draw = random.Random(1)
    rows = [{**row, "verdict": draw.choice(["yes", "no"])} for row in good()]
    done = cli("certify", evaluation(judge, rows), "--write", judge)
    assert done.code == 1 and "no threshold proves that at most 10% of the verdicts above it are wrong" in done.err
    assert f"nothing is written to {judge}" in done.err
    assert "most confident independent rows" in done.out and not (judge / FILE).exists()
    assert f"│ mine │  {len(rows)} │" in done.out  # how many rows this is of
    many = [row if n % 3 else {**row, "verdict": None, "confidence": None} for n, row in enumerate(good())]
    done = cli("certify", evaluation(judge, many), "--write", judge)
    assert done.code == 0 and "34 invalid" in done.out, done.err
    assert read(judge).tasks["mine"].left_out == {"invalid": 34}


def test_it_is_not_written_next_to_another_judge(judge: Path, cli) -> None:
    folder = evaluation(judge, good(), checkpoint="another")
    done = cli("certify", folder, "--write", judge)
    assert done.code == 2 and "does not hold the judge that was scored" in done.err and not (judge / FILE).exists()
    assert cli("certify", evaluation(judge, good()), "--write", "pics").code == 2
    assert "Did you mean 'mine'?" in cli("certify", evaluation(judge, good()), "--tasks", "mines").err


def test_what_is_no_evaluation_says_why_and_where_one_is(judge: Path, cli) -> None:
    folder = evaluation(judge, good())
    Path("run").mkdir()
    folder.rename("run/eval")
    Path("file.txt").write_text("")
    said = {"nope": "it does not exist", "file.txt": "it is a file", "pics": "it has no eval.json"}
    for name, why in {**said, "run": "that is in run/eval\nnext: pass run/eval"}.items():
        wrong = cli("certify", name)
        assert wrong.code == 2 and f"{name} is not an evaluation: {why}" in wrong.err and "next: " in wrong.err
    assert cli("certify", "run/eval").code == 0


def test_two_judges_with_one_name_are_refused(judge: Path, cli) -> None:
    asking = ("judge", "pics", "--tasks", "mine", "--ckpt", judge, "--endpoint", "http://localhost:1/v1")
    wrong = cli(*asking, "--served-model", "m", "--escalate-to", "http://localhost:2/v1", "--escalate-model", "m")
    assert wrong.code == 2 and "are both 'm': whose a verdict is could not be told" in wrong.err


def sure_of(text: str, share: float, other: str) -> Reply:
    """An answer of one token with its log-probability and that of the other verdict."""
    status, headers, body = completion(text)
    whole = json.loads(body)
    listed = [{"token": t, "logprob": math.log(p)} for t, p in ((text, share), (other, 1 - share))]
    whole["choices"][0]["logprobs"] = {"content": [{**listed[0], "top_logprobs": listed}]}
    return status, headers, json.dumps(whole)


def test_below_the_threshold_it_is_undecided_and_a_larger_judge_is_asked(judge: Path, cli) -> None:
    cli("certify", evaluation(judge, good()), "--write", judge)
    shares = {0: 0.99, 1: 0.55, 2: 0.9, 3: 0.6, 4: 0.62, 5: 0.5}

    def small(number: int, body: dict[str, Any]) -> Reply:
        return completion("well") if number % 6 == 0 else sure_of("yes", shares[number % 6 - 1], "no")

    def large(number: int, body: dict[str, Any]) -> Reply:
        return completion("who knows") if number == 2 else completion("no")

    Path("list.csv").write_text("image,label\n" + "".join(f"pics/{n}.png,yes\n" for n in range(6)))
    asking = ("judge", "list.csv", "--tasks", "mine", "--ckpt", judge)
    with standin(small) as server:
        one = (*asking, "--endpoint", server.url, "--served-model", "m")
        done = cli(*one, "--out", "v.jsonl")
        assert done.code == 0, done.err
        rows = read_jsonl(Path("v.jsonl"))
        assert len(server.asked) == 6
        cli(*one, "--out", "v.html")
    assert sorted((row["confidence"] or 0, row["verdict"]) for row in rows) == [
        (0, "undecided"), (pytest.approx(0.55), "undecided"), (pytest.approx(0.6), "undecided"),
        (pytest.approx(0.62), "undecided"), (pytest.approx(0.9), "yes"), (pytest.approx(0.99), "yes"),
    ]  # fmt: skip
    assert {row["raw"] for row in rows} == {"yes", "invalid"} and {row["judged_by"] for row in rows} == {"m", ""}
    assert all(("correct" in row) == (row["verdict"] == "yes") for row in rows)
    assert "4 of 6 items are undecided" in done.out and "2 of 2 verdicts are as labelled" in done.out
    assert "undecided below a confidence of" in done.out and "cannot be checked" in done.out
    with standin(small) as server, standin(large) as bigger:
        two = (*asking, "--endpoint", server.url, "--served-model", "m", "--escalate-to", bigger.url)
        done = cli(*two, "--escalate-model", "big", "--out", "w.jsonl")
        assert done.code == 0, done.err
        assert len(server.asked) == 6 and len(bigger.asked) == 4
        assert {asked_text(body) for body in bigger.asked} == {" good? yes or no"}
        cli(*two, "--escalate-model", "big", "--out", "w.jsonl")
        assert len(server.asked) == 6 and len(bigger.asked) == 4  # nothing is asked twice
        assert "go together" in cli(*two).err
        assert "would not ask for" in cli(*two, "--escalate-model", "huge", "--out", "w.jsonl").err
        page = cli(*two, "--escalate-model", "big", "--out", "w.html")
        assert page.code == 0, page.err
    rows = read_jsonl(Path("w.jsonl"))
    by = sorted((row["verdict"], row["judged_by"], row.get("escalated", "")) for row in rows)
    assert by == [("no", "big", "no")] * 3 + [("undecided", "", "invalid")] + [("yes", "m", "")] * 2
    assert "the larger judge said" in browse(Path("w.html"), "#show=escalated")
    shown = browse(Path("v.html"), "#show=invalid")
    assert "well" in shown and "undecided" in shown
    assert "1 of 6 items are undecided; big was asked about 4, and for its verdicts nothing is proven" in done.out


def test_without_a_threshold_the_summary_says_that_nothing_is_undecided(judge: Path, cli) -> None:
    with standin(lambda n, asked: sure_of("yes", 0.51, "no")) as server:
        asking = ("judge", "pics", "--tasks", "mine", "--endpoint", server.url, "--served-model", "m")
        done = cli(*asking, "--ckpt", judge)
        quiet = [cli(*asking, "--ckpt", judge, "--raw"), cli(*asking)]  # it is known, or there is no folder for one
    certify = f"mtrl certify EVALUATION --write {judge}"
    said = f"no verdict is undecided, however unsure: {judge} has no decision.json ({certify} writes it)"
    assert done.code == 0 and done.out.count(said) == 1, done.err
    assert [one.code for one in quiet] == [0, 0] and not any("undecided" in one.out for one in quiet)


def red(url: str) -> int:
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
        return image.convert("RGB").getpixel((0, 0))[0]


def test_a_pair_is_decided_only_if_both_orders_say_the_same(judge: Path, cli) -> None:
    write_json(judge / FILE, {
        "schema": 1, "judge": fingerprint(judge), "tasks": {"pairs": {
            "style": "sft", "prompt_sha256": prompting.sha256(tasks.load("pairs"), "sft"), "choices": ["1", "2"],
            "both_orders": True, "alpha": 0.1, "delta": 0.05, "threshold": 0.8, "coverage": 0.5,
            "coverage_ci95": [0.4, 0.6], "rows": 100, "clusters": 100, "decided": 50, "wrong": 0, "split": "test",
            "samples_sha256": "0" * 64, "predictions_sha256": "0" * 64,
        }},
    })  # fmt: skip
    Path("list.csv").write_text("image_1,image_2\n" + "".join(f"pics/{n}.png,pics/5.png\n" for n in range(4)))

    def answer(number: int, body: dict[str, Any]) -> Reply:
        reds = [red(part["image_url"]["url"]) for part in body["messages"][0]["content"] if part["type"] == "image_url"]
        n, swapped = min(reds) // 40, reds[0] > reds[1]
        place = "2" if swapped and n != 2 else "1"  # 1: unsure in the swapped order; 2: always the first
        return sure_of(place, 0.7 if n == 1 and swapped else 0.9, "21"[int(place) - 1])

    with standin(answer) as server:
        done = cli("judge", "list.csv", "--tasks", "pairs", "--ckpt", judge, "--endpoint", server.url,
                   "--served-model", "m", "--out", "v.jsonl")  # fmt: skip
    assert done.code == 0, done.err
    rows = read_jsonl(Path("v.jsonl"))
    assert [row["verdict"] for row in rows] == ["1", "undecided", "undecided", "1"]
    assert [row["flipped"] for row in rows] == [False, False, True, False]
    assert [row["confidence_turned"] for row in rows] == pytest.approx([0.9, 0.7, 0.9, 0.9])


def test_a_threshold_of_another_judge_prompt_or_task_is_refused(judge: Path, cli) -> None:
    cli("certify", evaluation(judge, good()), "--write", judge)
    kept = read_json(judge / FILE)
    with standin(lambda n, asked: sure_of("yes", 0.6, "no")) as server:

        def ask(*more: object, task: str = "mine") -> Any:
            images = ["pics/0.png"] if task == "mine" else ["pics/0.png", "pics/1.png"]
            given = ("--tasks", task, "--ckpt", judge, "--endpoint", server.url, "--served-model", "m")
            return cli("judge", *images, *given, *more)

        other = ask(task="pairs")
        assert other.code == 2 and "has no threshold for task pairs; it has mine" in other.err
        style = ask("--style", "rl")
        assert style.code == 2 and "is of another style and prompt of task mine" in style.err
        Path("prompts/sft/mine.jinja").write_text("<image> bad? yes or no")
        local = ask("--prompts", "local")
        assert local.code == 2 and "is of another prompt of task mine" in local.err
        write_json(judge / FILE, {**kept, "judge": "another"})
        moved = ask()
        assert moved.code == 2 and "is of another judge than the one in" in moved.err
        (judge / FILE).write_text(json.dumps({**kept, "tasks": {"mine": {**kept["tasks"]["mine"], "threshold": 7}}}))
        damaged = ask()
        assert damaged.code == 2 and "threshold" in damaged.err and "Traceback" not in damaged.err
        assert not server.asked
        raw = ask("--raw")
        assert raw.code == 0 and " yes " in raw.out and "undecided" not in raw.out
        (judge / FILE).unlink()
        nothing = ask("--escalate-to", server.url, "--escalate-model", "big")
        assert nothing.code == 2 and "without it nothing is undecided" in nothing.err
