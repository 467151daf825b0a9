"""Two judges: the paired interval, the exact test, where they disagree, and what may not be compared."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest, spearmanr

from mtrl.core.errors import UserError
from mtrl.evaluate import compare
from mtrl.evaluate.metrics import conclusion, paired
from mtrl.evaluate.metrics.classification import Classification
from mtrl.evaluate.metrics.paired import Comparison, Difference, Disagreement
from mtrl.evaluate.metrics.prediction import Prediction
from mtrl.evaluate.predictions import as_line

CHOICES = ("yes", "no")
NO = {"yes": "no", "no": "yes"}


def row(name: str, label: str, verdict: str | None, cluster: str = "") -> Prediction:
    base = {"id": name, "task": "t", "order": "given", "vote": 0, "response": verdict or "?", "lenient": verdict}
    return Prediction(**base, cluster=cluster or name, label=label, verdict=verdict)


def two(seed: int, clusters: int, size: int) -> tuple[list[Prediction], list[Prediction]]:
    """Two judges that find the same clusters hard; the second is somewhat better."""
    draw, a, b = np.random.default_rng(seed), [], []
    for number in range(clusters):
        label, easy = str(draw.choice(CHOICES)), draw.random() < 0.6
        for _ in range(size):
            name = f"{len(a)}"
            for rows, skill in ((a, 0.25), (b, 0.5)):
                right = easy or draw.random() < skill
                rows.append(row(name, label, label if right else NO[label], f"c{number}"))
    return a, b


def macro_f1(labels: np.ndarray, verdicts: np.ndarray) -> float:
    f1 = []
    for choice in CHOICES:
        named = (labels == choice).sum() + (verdicts == choice).sum()
        f1.append(2 * ((labels == choice) & (verdicts == choice)).sum() / named if named else 0.0)
    return float(np.mean(f1))


@pytest.mark.parametrize(("clusters", "size"), [(300, 1), (60, 5)])
def test_the_interval_is_that_of_drawing_the_same_clusters_for_both(clusters: int, size: int) -> None:
    a, b = two(1, clusters, size)
    found = paired.compare(a, b, CHOICES)
    labels = np.array([r.label for r in a])
    says = [np.array([r.verdict for r in rows]) for rows in (a, b)]
    draw, drawn = np.random.default_rng(2), []
    for _ in range(1500):
        index = (draw.integers(0, clusters, clusters)[:, None] * size + np.arange(size)).ravel()
        f1 = [macro_f1(labels[index], verdicts[index]) for verdicts in says]
        right = [(labels[index] == verdicts[index]).mean() for verdicts in says]
        drawn.append((f1[1] - f1[0], right[1] - right[0]))
    for key, values in zip(("macro_f1", "accuracy"), np.array(drawn).T, strict=True):
        of = getattr(found, key)
        assert of.difference == pytest.approx(getattr(found.b, key) - getattr(found.a, key))
        assert of.ci95 == pytest.approx(list(np.percentile(values, [2.5, 97.5])), abs=0.01), key
    assert found.clusters == clusters


def test_a_score_task_is_compared_by_srcc_over_what_both_answered() -> None:
    draw, five = np.random.default_rng(6), ("1", "2", "3", "4", "5")
    labels = draw.integers(1, 6, 200)
    says = [np.clip(labels + draw.integers(-far, far + 1, 200), 1, 5) for far in (3, 1)]
    a, b = ([row(str(n), str(labels[n]), str(of[n]), f"c{n // 2}") for n in range(200)] for of in says)
    a[3], b[8] = (replace(one, verdict=None) for one in (a[3], b[8]))
    found = paired.compare(a, b, five)
    valid = [n for n in range(200) if n not in (3, 8)]
    srcc = [spearmanr(labels[valid], of[valid]).statistic for of in says]
    assert (found.headline.name, found.headline.a, found.headline.b) == ("SRCC", *map(pytest.approx, srcc))
    assert found.headline.between.difference == pytest.approx(srcc[1] - srcc[0])
    drawn = []
    for _ in range(1000):
        index = (draw.integers(0, 100, 100)[:, None] * 2 + np.arange(2)).ravel()
        index = index[np.isin(index, valid)]
        of_a, of_b = (spearmanr(labels[index], of[index]).statistic for of in says)
        drawn.append(of_b - of_a)
    assert found.headline.between.ci95 == pytest.approx(list(np.percentile(drawn, [2.5, 97.5])), abs=0.03)
    constant = [replace(one, verdict="3") for one in b]  # has no SRCC
    assert paired.compare(a, constant, five).headline.name == "Macro-F1"


def test_a_hundred_values_and_26_choices_are_compared_in_little_memory() -> None:
    scale = tuple(map(str, range(101)))
    a = [row(str(n), str(n % 101), str(7 * n % 101), f"c{n // 3}") for n in range(303)]
    b = [replace(one, verdict=str(min(100, int(one.label) + 5))) for one in a]
    found = paired.compare(a, b, scale)  # label x verdict x verdict are a million cells
    assert found.headline.between.ci95[0] > 0
    letters = tuple("abcdefghijklmnopqrstuvwxyz")
    worded = [[replace(one, label=letters[int(one.label) % 26], verdict=letters[n % 26]) for n, one in enumerate(of)]
              for of in (a, b)]  # fmt: skip
    assert paired.compare(*worded, letters).macro_f1.ci95 == [0, 0]


def test_pairing_makes_the_interval_narrower() -> None:
    a, b = two(3, 300, 1)
    low, high = paired.compare(a, b, CHOICES).accuracy.ci95
    right = [r.correct for r in b]
    np.random.default_rng(0).shuffle(right)  # as good a judge, but no longer right where the first one is
    other = [row(r.id, r.label, r.label if good else NO[r.label]) for r, good in zip(b, right, strict=True)]
    wide = paired.compare(a, other, CHOICES).accuracy.ci95
    assert high - low < 0.9 * (wide[1] - wide[0])


def test_a_judge_does_not_differ_from_itself() -> None:
    a, _ = two(4, 50, 2)
    found = paired.compare(a, a, CHOICES)
    assert found.macro_f1 == found.accuracy == Difference(0.0, [0.0, 0.0])
    assert found.disagreements == [] and found.mcnemar_p is None


def test_where_they_disagree_and_mcnemars_exact_test() -> None:
    label = ["yes"] * 12
    a = [row(str(i), y, v) for i, (y, v) in enumerate(zip(label, ["yes"] * 8 + ["no"] * 3 + [None], strict=True))]
    b = [
        row(str(i), y, v)
        for i, (y, v) in enumerate(zip(label, ["yes"] * 2 + ["no"] * 6 + ["yes", "no", None, "no"], strict=True))
    ]
    found = paired.compare(a, b, CHOICES)
    assert [found.both_right, found.only_a, found.only_b, found.both_wrong] == [2, 6, 1, 3]
    assert found.mcnemar_p == pytest.approx(binomtest(6, 7).pvalue)
    assert [d.kind for d in found.disagreements] == ["only_a"] * 6 + ["only_b"] + ["both_wrong"] * 2
    assert found.disagreements[-1] == Disagreement(
        id="11", order="given", kind="both_wrong", label="yes", a=None, b="no"
    )
    shared = [replace(r, cluster="same") for r in a]
    assert paired.compare(shared, b, CHOICES).mcnemar_p is None  # rows that share a cluster are not independent
    assert paired.compare(shared, b, CHOICES).macro_f1.ci95 is None


def test_only_what_both_answered_counts() -> None:
    a, b = two(5, 30, 1)
    found = paired.compare(a[:20], b[10:], CHOICES)
    assert found.n == 10
    with pytest.raises(UserError, match="no sample in common"):
        paired.compare(a[:5], b[10:], CHOICES)


def folder(path: Path, rows: list[dict], style: str = "sft", **task: object) -> Path:
    about = {
        "split": "test",
        "prompt_sha256": "p",
        "samples_sha256": "s",
        "limit": None,
        "requests": len(rows),
        "choices": list(CHOICES),
        **task,
    }
    path.mkdir(parents=True)
    identity = {
        "schema": 1,
        "method": "zero_shot",
        "path": "m",
        "style": style,
        "image": {},
        "sampling": {"votes": 1},
        "tasks": {"t": about},
    }
    (path / "eval.json").write_text(json.dumps(identity))
    (path / "predictions.jsonl").write_text("".join(map(as_line, rows)))
    return path


def test_other_samples_are_not_compared_and_other_prompts_are_noted(tmp_path: Path, cli) -> None:
    a, b = two(6, 40, 1)
    runs = tmp_path / "runs"
    folder(runs / "one" / "eval", a)
    folder(runs / "two" / "eval", b, prompt_sha256="q")
    folder(runs / "other" / "eval", b, samples_sha256="z")
    folder(runs / "part", b[:25])
    found = compare.folders(runs / "one" / "eval", runs / "two" / "eval")
    assert found.notes == ["t: the prompts differ"] and found.tasks["t"].n == 40
    few = [folder(runs / name, rows) for name, rows in zip(("few_a", "few_b"), two(6, 8, 5), strict=True)]
    assert compare.folders(*few).notes == ["t: the interval resamples 8 clusters; with so few it is a rough one"]
    done = cli("compare", "one", "two", "--runs", runs)
    assert done.code == 0 and "the prompts differ" in done.out and "answers that differ" in done.out
    assert f"{100 * found.tasks['t'].macro_f1.difference:+.2f} [" in done.out
    done = cli("compare", "one", runs / "part", "--runs", runs)
    assert done.code == 0 and "compared are the 25 samples that both answered" in done.out
    done = cli("compare", "one", "other", "--runs", runs)
    assert done.code == 2 and "different samples" in done.err and "Traceback" not in done.err
    done = cli("compare", "one", "twoo", "--runs", runs)
    assert done.code == 2 and "Did you mean 'two'?" in done.err


def numbers(difference: float, ci95: list[float] | None, clusters: int = 100) -> Comparison:
    side = Classification(n=100, macro_f1=0.5, accuracy=0.5, kappa=0.0, invalid_rate=0.0, per_class={}, confusion={})
    counts = {"both_right": 0, "only_a": 0, "only_b": 0, "both_wrong": 0, "mcnemar_p": None, "disagreements": []}
    return Comparison(
        n=100,
        clusters=clusters,
        one_class=None,
        a=side,
        b=side,
        macro_f1=Difference(difference, ci95),
        accuracy=Difference(0.0, None),
        **counts,
    )


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (
            {"t": numbers(0.115, [0.007, 0.198])},
            "B: y is better than A: x: its Macro-F1 on t is 11.5 points higher, with a 95% interval "
            "from 0.7 to 19.8 points, which excludes 0",
        ),
        (
            {"t": numbers(-0.1, [-0.2, -0.05])},
            "A: x is better than B: y: its Macro-F1 on t is 10.0 points higher, with a 95% interval "
            "from 5.0 to 20.0 points",
        ),
        ({"t": numbers(0.1, [0.05, 0.2], 6)}, "points (a rough interval, from 6 clusters), which excludes 0"),
        (
            {"t": numbers(-0.02, [-0.06, 0.019])},
            "No clear difference between A: x and B: y: A: x has the higher Macro-F1, by 2.0 points on "
            "t, but the 95% interval of B - A, -6.0 to +1.9 points, includes 0.",
        ),
        (
            {"t": numbers(0.0, [0.0, 0.0])},
            "No clear difference between A: x and B: y: both have the same Macro-F1 on t",
        ),
        (
            {"t": numbers(0.5, None, 1)},
            "is better is not known: B: y has the higher Macro-F1, by 50.0 points on t, but all samples "
            "are in one cluster",
        ),
        (
            {"t": numbers(0.1, [0.05, 0.2]), "u": numbers(-0.02, [-0.1, 0.1])},
            "B: y is better than A: x on t, where the 95% interval of the difference excludes 0, and on "
            "no task clearly worse; on average over 2 tasks its Macro-F1 is 4.0 points higher.",
        ),
        (
            {"t": numbers(-0.1, [-0.2, -0.05]), "u": numbers(0.3, [-0.1, 0.6])},
            "A: x is better than B: y on t, where the 95% interval of the difference excludes 0, and on "
            "no task clearly worse; on average over 2 tasks its Macro-F1 is 10.0 points lower.",
        ),
        (
            {"t": numbers(0.1, [0.05, 0.2]), "u": numbers(-0.2, [-0.3, -0.1])},
            "Neither is better on all tasks: A: x is clearly better on u, B: y on t",
        ),
        (
            {"t": numbers(0.1, [-0.05, 0.2]), "u": numbers(0.2, [-0.3, 0.4])},
            "No clear difference between A: x and B: y: on none of the 2 tasks",
        ),
    ],
)
def test_the_conclusion_in_one_sentence(found: dict, says: str) -> None:
    assert says in conclusion.sentence(found, ("A: x", "B: y"))


def test_labels_of_one_class_have_no_macro_f1_to_compare(tmp_path: Path, cli) -> None:
    a = [row(str(i), "yes", "yes" if i < 6 else "no") for i in range(10)]
    b = [row(str(i), "yes", "yes" if i < 9 else "no") for i in range(10)]
    for name, rows in (("one", a), ("two", b)):
        folder(tmp_path / "runs" / name / "eval", rows)
    done = cli("compare", "one", "two", "--runs", tmp_path / "runs", "--data", tmp_path)
    assert done.code == 0 and "all labels are the same; accuracy, B - A: +30.0 points on t." in done.out, done.out
    assert "note: t: all labels are yes, so only the accuracy is meaningful" in done.out


def test_page_and_terminal_begin_with_the_conclusion(tmp_path: Path, cli) -> None:
    a, b = two(6, 40, 1)
    paths = [folder(tmp_path / "runs" / name / "eval", rows) for name, rows in (("one", a), ("two", b))]
    said = conclusion.sentence(compare.folders(*paths).tasks, ("A: one", "B: two"))
    done = cli("compare", "one", "two", "--runs", tmp_path / "runs", "--data", tmp_path)
    assert done.code == 0 and done.out.startswith(said[:100]), done.out
    page = (paths[1] / "compare.html").read_text()
    first = page[page.index("<h1>") :]
    assert f'</h1>\n<p class="first">{said}</p>' in first
