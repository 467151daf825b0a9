"""The training page: which curve is what, for every trainer; what is not drawn as it was logged is said."""

from __future__ import annotations

import html
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from mtrl.backends import easyr1_grpo, logs, verl_grpo
from mtrl.backends.base import Job
from mtrl.backends.jobs import grpo
from mtrl.backends.registry import BACKENDS
from mtrl.config import recipe
from mtrl.core import files
from mtrl.core.errors import MtrlError, UserError
from mtrl.core.files import write_json, write_text
from mtrl.core.rundir import Run
from mtrl.evaluate.html.trained import Trained, Values
from mtrl.reward_plugins import judge
from mtrl.runs import curves, launch, training_page
from tests.unit import test_easyr1, test_ended, test_verl
from tests.unit.test_report import Inert, browse, data_of

TASKS = "demo_quality,demo_safety"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def begun(name: str, method: str = "rl_multitask", sets: tuple[str, ...] = (), state: Any = "done", **more: Any) -> Run:
    run = Run(Path("runs") / name)
    found = recipe.load(method, "tiny", "cpu", None, [f"tasks={TASKS}", *sets])
    run.claim(found.model_dump(mode="json", exclude_none=True), {})
    run.set(state, started=1.0, **more)
    return run


def with_rows(run: Run, *rows: dict[str, Any]) -> Run:
    launch.write_metrics(run, list(rows))
    return run


def lines(file: Path, *rows: dict[str, Any]) -> None:
    write_text(file, "".join(json.dumps(row) + "\n" for row in rows))


def of(run: Run, title: str, task: str = "") -> list[tuple[int, float]]:
    found = [one.points for one in training_page.read(run).values if (one.curve.title, one.task) == (title, task)]
    return found[0] if found else []


def titles(shown: Trained) -> set[str]:
    return {values.curve.title for values in shown.values}


def words(page: Path) -> str:
    """What the page says, without its styles, scripts and charts."""
    text = re.sub(r"<(style|script|svg).*?</\1>", " ", page.read_text(), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


def pictures(page: Path) -> list[ET.Element]:
    return [ET.fromstring(one) for one in re.findall(r'<svg class="lines".*?</svg>', page.read_text(), re.DOTALL)]


def marks(picture: ET.Element, tag: str, kind: str) -> list[ET.Element]:
    return [e for e in picture.iter(tag) if kind in (e.get("class") or "").split()]


# --- what each trainer logs --------------------------------------------------------------------------------------


def rewarded() -> dict[str, float]:
    """What the reward function gives EasyR1 for two answers."""
    truth = [json.dumps({"task": task, "label": "yes", "id": "a"}) for task in TASKS.split(",")]
    scored = judge.compute_score(
        [
            {"response": "<think>x</think><answer>yes</answer>", "response_length": 9, "ground_truth": t}
            for t in truth * 2
        ]
    )
    return {key: value for row in scored for key, value in row.items()}


def test_easyr1_logs_every_curve_of_the_rollouts() -> None:
    run = begun("r", sets=("backend=easyr1", "hardware.gpus_per_node=1", "hardware.precision=bf16"))
    actor = {"kl_loss": 0.01, "entropy_loss": 0.5, "lr": 1e-6, "pg_loss": -0.02, "pg_clipfrac_higher": 0.003}
    actor["pg_clipfrac_lower"] = 0.9  # of another bound
    line = {"step": 1, "reward": rewarded(), "actor": actor, "response_length": {"mean": 9.0, "clip_ratio": 0.0}}
    val = {f"{key}_reward": value for key, value in rewarded().items()}
    lines(run.checkpoints / easyr1_grpo.LOG, {"step": 0, "val": val}, line)
    with_rows(run, *BACKENDS["easyr1"].metrics(run))
    shown = training_page.read(run)
    expected = {one.curve.title for one in curves.CURVES if "rl" in one.stages}
    missing = {title for title in expected if "sampler" in title} | {"Training loss (GRPO)"}
    assert titles(shown) == expected - missing
    assert shown.absent == ["sampler/trainer gap (verl logs it, and TRL where vLLM samples)"]
    assert of(run, "Clip fraction") == [(1, 0.003)] and of(run, "Policy loss (GRPO)") == [(1, -0.02)]
    assert of(run, "Verdict accuracy in rollouts", "demo_safety") == [(1, 1.0)]
    assert of(run, "Validation verdict accuracy") == [(0, 1.0)]


def test_verl_logs_no_rollouts_by_task_and_its_nan_is_seen(converted: Path) -> None:
    run = begun("r", sets=("backend=verl", "hardware.gpus_per_node=1", "hardware.precision=bf16"))
    found = test_verl.load("rl_multitask", "tiny", "8x80gb", [f"tasks={TASKS}"])
    BACKENDS["verl"].link_inputs(found, run, converted / "data")
    more = {"actor/pg_loss": 0.1, "actor/pg_clipfrac": 0.002, "actor/kl_loss": None, "actor/entropy": 0.4}
    more |= {"training/rollout_actor_probs_pearson_corr": 0.99, "training/rollout_probs_diff_mean": 0.002}
    logged = [json.loads(test_verl.line(step, 0.5 if step == 4 else None)) for step in (3, 4)]
    logged[1]["data"] |= {**more, "response_length/mean": 300.0}
    lines(run.path / verl_grpo.LOG, *logged)
    with_rows(run, *BACKENDS["verl"].metrics(run))
    shown = training_page.read(run)
    assert "Verdict accuracy in rollouts" in shown.absent and "Validation format" in shown.absent
    assert not any("sampler" in text or "loss" in text or "KL" in text for text in shown.absent)
    assert of(run, "Validation verdict accuracy", "demo_quality") == [(4, 0.5)]
    assert of(run, "Correlation of sampler and trainer") == [(4, 0.99)] and of(run, "Length of answers") == [(4, 300.0)]
    assert of(run, "KL from the base model")[0] == (3, 0.1)
    assert "1 value is NaN or infinite (step 4): a gap in the line" in words(training_page.write([run]))


def test_trl_logs_its_own_names() -> None:
    run = begun("r")
    line = {"step": 1, "total_steps": 9, "loss": 2.1, "reward": 0.5, "accuracy": 0.4, "frac_reward_zero_std": 0.75}
    line |= {"completions/mean_length": 14.0, "clip_ratio/region_mean": 0.01, "entropy": 0.2, "learning_rate": 1e-4}
    line |= {"accuracy_demo_safety": 0.3, "zero_variance_demo_safety": 1.0, "kl": 0.02, "policy_loss": 0.1}
    line["sampling/sampling_logp_difference/mean"] = 0.012
    lines(run.checkpoints / grpo.LOG, line, {"step": 1, "total_steps": 9, "eval_accuracy": 0.6, "eval_loss": 2.0})
    with_rows(run, *BACKENDS["trl"].metrics(run))
    shown = training_page.read(run)
    assert (shown.step, shown.total, shown.facts["trainer"]) == (1, 9, "TRL")
    assert of(run, "Prompts without variance") == [(1, 0.75)]
    assert of(run, "Prompts without variance", "demo_safety") == [(1, 1.0)]
    assert of(run, "Clip fraction") == [(1, 0.01)] and of(run, "Length of answers") == [(1, 14.0)]
    assert of(run, "Log difference of sampler and trainer") == [(1, 0.012)]
    assert "Validation loss" not in titles(shown)  # of GRPO it says nothing
    assert "Invalid in rollouts" in shown.absent


def test_llamafactory_logs_token_accuracy_and_no_verdicts() -> None:
    run = begun("r", "sft_unified")
    log = run.checkpoints / "trainer_log.jsonl"
    lines(log, {"current_steps": 5, "total_steps": 10, "loss": 0.5, "lr": 1e-4, "accuracy": 0.9})
    state = {**test_ended.state(10, 10), "log_history": [{"step": 10, "eval_loss": 0.4, "eval_accuracy": 0.85}]}
    test_ended.saved(run, 10, state)
    with_rows(run, *BACKENDS["llamafactory"].metrics(run))
    shown = training_page.read(run)
    assert titles(shown) == {"Training loss (SFT)", "Learning rate", "Validation token accuracy", "Validation loss"}
    assert shown.absent == [] and shown.chosen is None and shown.unchosen.startswith("mtrl select r ")
    text = words(training_page.write([run]))
    assert "Validation token accuracy 85.0%" in text and "Not of verdicts: mtrl select measures those" in text
    assert "Validation verdict accuracy" not in text and "Reward" not in text


def test_the_table_names_every_quantity_once() -> None:
    assert len({curve.title for curve in curves.ORDER}) == len(curves.ORDER)
    keys = [(stage, key) for one in curves.CURVES for stage in one.stages for key in (*one.keys, one.by_task) if key]
    assert len(set(keys)) == len(keys)


# --- the chosen checkpoint ---------------------------------------------------------------------------------------


def kept(run: Run, *steps: int) -> Run:
    for step in steps:
        test_ended.saved(run, step, test_ended.state(step, 99))
    return run


def test_the_chosen_checkpoint_is_one_that_is_kept_and_is_marked() -> None:
    scores = {10: 0.9, 20: 0.7, 30: 0.8}
    run = kept(begun("r"), 20, 30)
    with_rows(run, *({"step": step, "eval_accuracy": score} for step, score in scores.items()))
    text = words(page := training_page.write([run]))
    assert "chosen checkpoint step 30" in text and "its validation verdict accuracy 80.0%" in text
    assert "by the trainer's own validation" in text and "mtrl export r --step best --out exports/r" in text
    (picture,) = pictures(page)
    (ring,) = marks(picture, "circle", "ring")
    at = {e.findtext("title"): e.get("cx") for e in marks(picture, "circle", "dot")}
    assert ring.get("cx") == at["all tasks, step 30: 80.0%"] and "chosen: step 30" in ET.tostring(picture).decode()


def test_what_select_found_takes_precedence_under_its_own_name() -> None:
    run = kept(begun("r"), 20, 30)
    with_rows(run, {"step": 20, "eval_accuracy": 0.7}, {"step": 30, "eval_accuracy": 0.8})
    write_json(run.path / "select.json", {"by": "accuracy", "scores": {"20": 0.66, "30": 0.61}, "best": 20})
    text = words(training_page.write([run]))
    assert "chosen checkpoint step 20" in text and "its validation verdict accuracy 66.0% by mtrl select" in text
    assert of(run, "Validation verdict accuracy by mtrl select") == [(20, 0.66), (30, 0.61)]
    assert of(run, "Validation verdict accuracy") == [(20, 0.7), (30, 0.8)]
    write_json(run.path / "select.json", {"by": "macro_f1", "scores": {"20": 0.5}, "best": 20})
    assert "its validation Macro-F1 of verdicts 50.0%" in words(training_page.write([run]))


def test_what_status_warns_of_is_on_the_page(converted: Path) -> None:
    run = begun("r", data=str(converted / "data"))
    before, after = (
        {"eval_accuracy_demo_quality": q, "eval_accuracy_demo_safety": s} for q, s in ((0.9, 0.5), (0.5, 0.9))
    )
    with_rows(run, {"step": 10, **before, logs.CORRELATION: 0.6}, {"step": 20, **after})
    text = words(training_page.write([run]))
    assert "validation accuracy of demo_quality fell from 0.900 to 0.500" in text
    assert "sampler and trainer differ at step 10" in text


# --- what is not drawn as it was logged --------------------------------------------------------------------------


def test_values_that_are_no_numbers_are_gaps() -> None:
    values = [0.1, 0.2, float("nan"), 0.4, float("inf"), 0.6, 0.7]
    run = with_rows(begun("r"), *({"step": n, "kl": value, "loss": float("nan")} for n, value in enumerate(values)))
    text = words(page := training_page.write([run]))
    assert "2 values are NaN or infinite (steps 2, 4): a gap in the line" in text
    assert "7 values are NaN or infinite (steps 0, 1, 2, 3, 4, ...): a gap in the line" in text
    (picture,) = pictures(page)  # there is no chart of the loss
    assert [len((e.get("points") or "").split()) for e in marks(picture, "polyline", "curve")] == [2, 2]
    assert len(marks(picture, "circle", "single")) == 1


def test_a_long_run_is_thinned_and_keeps_its_spikes() -> None:
    rows = [{"step": n, "total_steps": 5000, "reward": 0.5 if n != 3333 else 0.99} for n in range(1, 5001)]
    text = words(page := training_page.write([with_rows(begun("r"), *rows)]))
    assert "strong: mean of the last 250 values; faint: each value" in text
    assert "thinned: of 5,000 values, the lowest and the highest of each stretch" in text
    assert "0.99 (step 3333)" in text and page.stat().st_size < 100_000
    (picture,) = pictures(page)
    (each,) = marks(picture, "polyline", "faint")
    heights = [float(point.split(",")[1]) for point in each.get("points", "").split()]
    assert len(heights) <= 242 and min(heights) < 20 < sorted(heights)[1]  # the spike is at the top


def test_of_a_step_that_was_trained_twice_the_later_counts() -> None:
    run = begun("r", sets=("backend=easyr1", "hardware.gpus_per_node=1"), attempts=2)
    log = run.checkpoints / easyr1_grpo.LOG
    lines(log, *(test_easyr1.line(step, reward=0.1) for step in (1, 2, 3)))
    BACKENDS["easyr1"].begin(run)
    lines(log, test_easyr1.line(3, reward=0.7))
    with_rows(run, *BACKENDS["easyr1"].metrics(run))
    assert of(run, "Reward in rollouts") == [(1, 0.1), (2, 0.1), (3, 0.7)]
    assert "started 2 times" in words(training_page.write([run]))
    with_rows(run, {"step": 1, "reward": 0.1}, {"step": 2, "reward": 0.2}, {"step": 1, "reward": 0.9})
    assert of(run, "Reward in rollouts") == [(1, 0.9), (2, 0.2)]  # a log that was only appended to


def test_a_run_without_metrics_says_so() -> None:
    text = words(page := training_page.write([begun("r", state="planned")]))
    assert "No metrics yet: the trainer has not logged a step." in text and not pictures(page)
    assert "Not logged" not in text


# --- several runs ------------------------------------------------------------------------------------------------


def test_several_runs_have_the_same_axes_and_a_colour_each(cli) -> None:
    def row(step: int, score: float) -> dict[str, Any]:
        return {"step": step, "eval_accuracy": score, "eval_accuracy_demo_safety": score / 2, "reward": score}

    one = kept(with_rows(begun("one"), row(10, 0.5), row(40, 0.6)), 40)
    with_rows(begun("two"), row(10, 0.8), row(20, 0.7))
    with_rows(begun("sft", "sft_unified"), {"step": 5, "eval_accuracy": 0.99})
    done = cli("status", "one", "two", "sft", "--html")
    page = Path("runs/training.html")
    assert done.code == 0 and f"page: {page.resolve()}" in done.out
    text = words(page)
    assert "Validation token accuracy" in text and "not in sft" in text and "not in one, two" in text
    assert "none: mtrl select sft scores" in text and "step 40 60.0% validation verdict accuracy" in text
    accuracy, safety, token, *_ = pictures(page)
    ticks = [[e.text for e in chart.iter("text")] for chart in (accuracy, safety)]
    assert ticks[0] == ticks[1]
    assert [e.get("class") for e in marks(accuracy, "polyline", "curve")] == ["curve s0", "curve s1"]
    assert len(marks(accuracy, "circle", "ring")) == 1 and marks(token, "circle", "s2")
    boxes = data_of(page.read_text(), "boxes")
    assert boxes[0]["lines"][1][0] == "two" and boxes[0]["steps"] == [5, 40]
    assert "mtrl status one two sft --html" in text and one.name == "one"


def test_the_axis_of_a_reward_ends_at_1() -> None:
    run = with_rows(begun("r"), {"step": 1, "eval_reward": 1.0, "reward": 0.97}, {"step": 2, "eval_reward": 1.0})
    labels = [e.text for chart in pictures(training_page.write([run])) for e in chart.iter("text")]
    assert "1" in labels and not {"1.1", "1.05", "1.02"} & set(labels)


def test_where_it_goes_and_how_many_fit(cli) -> None:
    for n in range(9):
        with_rows(begun(f"r{n}"), {"step": 1, "reward": 0.5})
    assert cli("status", "r1", "--html").code == 0 and Path("runs/r1/training.html").exists()
    done = cli("status", "r1", "r2", "--html", "--out", "x/page.html")
    assert done.code == 0 and "mtrl status r1 r2 --html --out x/page.html" in words(Path("x/page.html"))
    assert cli("status", "r1", "r1", "--html").code == 0 and not Path("runs/training.html").exists()
    done = cli("status", "--html")
    assert done.code == 2 and "one page shows at most 8 runs, not 9" in done.err
    done = cli("status", "r1", "--out", "x.html")
    assert done.code == 2 and "mtrl status r1 --html --out x.html" in done.err
    assert cli("status", "r1", "r2", "--html", "--out", "x").code == 2  # a folder


def test_many_tasks_have_a_chart_each() -> None:
    run, tasks = begun("r"), [f"t{n}" for n in range(9)]
    changed = {**run.recipe, "tasks": tasks}
    write_text(run.path / "recipe.yaml", files.dump_yaml(changed))
    page = training_page.write([with_rows(run, {"step": 1, **{f"accuracy_{task}": 0.5 for task in tasks}})])
    assert len(pictures(page)) == 9 and 'id="show-' not in page.read_text()


# --- somebody else's folder --------------------------------------------------------------------------------------

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


def test_it_is_self_contained_and_inert() -> None:
    run = begun("r", state="failed", reason=HOSTILE)
    write_text(run.path / "recipe.yaml", files.dump_yaml({**run.recipe, "tasks": [HOSTILE], "method": HOSTILE}))
    with_rows(run, {"step": 1, f"accuracy_{HOSTILE}": 0.5, "accuracy": 0.5, HOSTILE: 1.0})
    page = training_page.write([run])
    text = page.read_text()
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "") and "https://" not in text
    elements = Inert(text).found
    assert [a.get("id", "code") for tag, a in elements if tag == "script"] == ["boxes", "code"]
    assert not [tag for tag, a in elements if tag in ("img", "link", "iframe") or "onerror" in a]
    policy = next(a["content"] for tag, a in elements if a.get("http-equiv") == "Content-Security-Policy") or ""
    assert policy.startswith("default-src 'none'") and [line[0] for line in data_of(text, "boxes")[0]["lines"]] == [
        "all tasks",
        HOSTILE,
    ]
    (picture,) = pictures(page)
    assert HOSTILE in picture.get("aria-label", "")


@pytest.mark.parametrize(
    "value", [1e308, -1e308, 2**63, -0.0, 5e-324, 1e-300, True, "x", None, [1], float("inf"), 0.1 + 0.2]
)
def test_any_number_is_drawn_or_said(value: Any) -> None:
    run = begun("r")
    rows = [{"step": n, "loss": value, "accuracy": value, "learning_rate": value} for n in (-5, 2**62)]
    lines(run.path / "metrics.jsonl", *rows, {"step": 1, "loss": 0.1}, {"step": "x"}, {"loss": 1})
    for picture in pictures(training_page.write([run])):
        for mark in picture.iter("circle"):
            assert 0 <= float(mark.get("cx", "nan")) <= 400 and 0 <= float(mark.get("cy", "nan")) <= 190


def test_a_huge_log_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    run = with_rows(begun("r"), *({"step": n, "reward": 0.5} for n in range(100)))
    monkeypatch.setattr(files, "LARGEST", 1000)
    with pytest.raises(UserError, match="and at most 1,000 are read"):
        training_page.write([run])


# --- while a run goes on -----------------------------------------------------------------------------------------


def test_the_page_follows_a_run_at_its_own_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    run, written, clock = begun("r", state="running"), [], [100.0]
    monkeypatch.setattr(training_page.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(
        training_page, "renew", lambda run, rows=None: written.append(None if rows is None else len(rows)) or True
    )
    rows: list[dict[str, Any]] = []
    with training_page.followed(run) as draw:
        for second in range(60):
            clock[0] = 100.0 + second
            if second % 2:
                rows = [*rows, {"step": second}]
            draw(rows)
        assert written == [0, 8, 15, 23]  # at 0, 15, 30 and 45 seconds
        for second in range(60, 120):
            clock[0] = 100.0 + second
            draw(rows)  # nothing new but the rows since
        assert written == [0, 8, 15, 23, 30]
    assert written[-1] is None and len(written) == 6  # the end, from what is on disk


def test_a_page_that_takes_long_comes_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, written = [0.0], []

    def slow(run: Run, rows: Any = None) -> bool:
        clock[0] += 3.0
        written.append(clock[0])
        return True

    monkeypatch.setattr(training_page.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(training_page, "renew", slow)
    with training_page.followed(begun("r")) as draw:
        for n in range(1000):
            clock[0] += 1.0
            draw([{"step": 1}] * n)
    assert len(written) <= 1000 / 150 + 2


def test_no_trouble_with_the_page_ends_a_training(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begun("r")
    monkeypatch.setattr(training_page, "EVERY", 0.0)
    write_text(run.path / "select.json", "{")
    with training_page.followed(run) as draw:
        draw([{"step": 1, "reward": 0.5}])
    assert not (run.path / "training.html").exists() and capsys.readouterr().err == ""
    (run.path / "select.json").unlink()
    monkeypatch.setattr(training_page, "read", lambda run, rows: 1 / 0)
    with training_page.followed(run) as draw:
        draw([{"step": 1}])
        draw([{"step": 1}, {"step": 2}])
    assert capsys.readouterr().err.count("ZeroDivisionError") == 1  # a bug is seen, once


def test_the_launcher_writes_it_during_the_run_and_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trainer that looks for the page while it runs, and then fails."""
    found = recipe.load("rl_multitask", "tiny", "cpu", None, [f"tasks={TASKS}"])
    run, script = begun("r", state="planned"), Path("trainer.sh").resolve()
    row = json.dumps({"step": 1, "total_steps": 9, "reward": 0.25})
    wait = 'n=0; until grep -q "Reward in rollouts" training.html 2>/dev/null; do n=$((n+1)); [ $n -lt 300 ] || exit 7'
    script.write_text(
        f"mkdir -p checkpoints; echo '{row}' > checkpoints/{grpo.LOG}\n{wait}; sleep 0.1; done\n"
        "cp training.html during.html; echo out of luck; exit 3\n"
    )
    monkeypatch.setattr(training_page, "EVERY", 0.2)
    with run.held() as lock, pytest.raises(MtrlError, match="exit status 3"):
        launch.launch(run, Job(["sh", str(script)], {}), found, lock, lambda rows: None)
    assert " r running " in words(run.path / "during.html")
    assert " r failed " in words(run.path / "training.html") and "out of luck" in words(run.path / "training.html")


def test_a_run_that_was_found_done_has_a_new_page() -> None:
    run, found = test_ended.begun(Path.cwd(), "tiny", "cpu")
    test_ended.saved(run, 10, test_ended.state(10, 10))
    launch.settle(run, found)
    assert " r done " in words(run.path / "training.html")


# --- in a browser ------------------------------------------------------------------------------------------------


def test_a_browser_shows_the_values_at_a_step_and_hides_a_line() -> None:
    rows = [{"step": n, "accuracy": n / 10, "accuracy_demo_safety": 0.5} for n in range(11)]
    page = training_page.write([with_rows(begun("r"), *rows)])
    script = """
      const svg = document.querySelector("svg.lines"), place = svg.getBoundingClientRect();
      const at = (share) => svg.dispatchEvent(new PointerEvent("pointermove",
        { clientX: place.left + place.width * share, clientY: place.top + 20 }));
      at(1); document.title = document.querySelector(".values").innerText;
      document.getElementById("show-s1").click(); at(0);
      const line = getComputedStyle(document.querySelector("polyline.s1")).display;
      document.body.prepend("said: " + document.querySelector(".values").innerText + " line: " + line);
    """
    shown = " ".join(browse(page, script=script).split())
    assert "<title>step 10 all tasks 100.0% demo_safety 50.0%</title>" in shown
    assert "said: step 0 all tasks 0.0% line: none" in shown


def test_values_of_the_type_that_the_page_takes() -> None:
    (values,) = curves.logged([{"step": 1, "reward": 1}], "rl", [])
    assert values == Values(values.curve, "", [(1, 1)]) and values.curve.title == "Reward in rollouts"
