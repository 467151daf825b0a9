"""mtrl study: its world, its plan, and how it runs many commands."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtrl.core.errors import MtrlError, UserError
from mtrl.core.files import dump_yaml, read_yaml
from mtrl.demo import study, study_files, study_plan, study_work, study_world
from mtrl.demo.lessons import demo, stream
from mtrl.demo.lessons import study as curriculum
from mtrl.demo.study_work import Step
from mtrl.demo.world import COLOURS, DEMO, SHAPES

PLAN = Path("recipes/study.yaml").resolve()


def small(**changed: object) -> study_plan.Plan:
    content = read_yaml(PLAN) | {"rows": {"train": 16, "val": 8, "test": 8}, "pairs": 12} | changed
    return study_plan.Plan(**content)


def test_both_halves_have_every_colour_and_shape_and_share_no_caption() -> None:
    assert not set(study_world.SEEN) & set(study_world.HELD)
    assert set(study_world.SEEN) | set(study_world.HELD) == set(itertools.product(COLOURS, SHAPES))
    for half in (study_world.SEEN, study_world.HELD):
        assert {colour for colour, _ in half} == set(COLOURS) and {shape for _, shape in half} == set(SHAPES)


def test_what_training_sees(tmp_path: Path) -> None:
    study_files.write(tmp_path, small())
    tables = {file.stem: file.read_text().splitlines()[1:] for file in (tmp_path / "raw").glob("*.csv")}
    assert set(tables) == {question.name for question in study_world.questions()}
    held = {" ".join(caption) for caption in study_world.HELD}
    assert {row.split(",")[2] for row in tables["study_pairs"]} <= held
    assert not {row.split(",")[2] for row in tables["study_alignment"]} & held
    for about in ("quality", "alignment", "safety"):
        rows = [row for row in tables[f"study_{about}"] if not row.endswith(",test")]
        spread = [row for part in range(1, 9) for row in tables[f"study_{about}_{part}"]]
        assert sorted(spread) == sorted(rows) and len(rows) == 24  # arm B has the rows of the other arms
        shown = {tuple(row.split(",")[::3]): row.split(",")[3] for row in tables[f"study_{about}"]}
        opposite = tables[f"study_{about}_inverted"]
        assert len(opposite) == 8 and all(
            ("yes" in row) != ("yes" in shown[row.split(",")[0], row.split(",")[3]])
            for row in opposite
            if (row.split(",")[0], row.split(",")[3]) in shown
        )
    prompts = {(tmp_path / f"prompts/sft/study_quality_{part}.jinja").read_text() for part in range(1, 9)}
    unseen = (tmp_path / "prompts/sft/study_quality_reworded.jinja").read_text()
    assert len(prompts) == 8 and unseen not in prompts
    again = tmp_path / "again"
    study_files.write(again, small())
    for file in (tmp_path / "raw").rglob("*.*"):
        assert (again / file.relative_to(tmp_path)).read_bytes() == file.read_bytes()


def test_the_demo_still_teaches_its_own_world() -> None:
    import random

    lesson = stream(demo(), random.Random(3), spoil=True)
    seen = {(spec.colour, spec.shape) for _ in range(300) for spec in lesson().images}
    assert seen == set(DEMO)


def test_the_base_is_taught_every_wording_and_the_opposite_questions() -> None:
    import random

    lesson = stream(curriculum(), random.Random(0), spoil=False)
    lessons = [lesson() for _ in range(4000)]
    for wordings in study_world.WORDINGS.values():
        for text in wordings:
            assert any(each.prompt.startswith(text.split("{{")[0]) for each in lessons), text
    opposite = [each for each in lessons if each.prompt.startswith("A safe image")]
    assert opposite and all(("yes" in each.reply) == (each.images[0].sign != "cross") for each in opposite)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"primary": ["E", "Z"]}, "names arm Z"),
        ({"pilot": [1]}, "seed 1 is of the pilot"),
        ({"least_seeds": 11}, "least_seeds is 11"),
        ({"arm": {}}, "arm"),
    ],
)
def test_a_plan_that_does_not_fit_itself(tmp_path: Path, changed: dict[str, object], said: str) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(dump_yaml(read_yaml(PLAN) | changed))
    with pytest.raises(UserError, match=said):
        study_plan.load(str(file))


def test_the_hash_is_of_what_the_plan_says(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text("# another comment\n" + dump_yaml(read_yaml(PLAN)))
    assert study_plan.load(str(file)).sha256 == study_plan.load(str(PLAN)).sha256
    file.write_text(dump_yaml(read_yaml(PLAN) | {"margin": 9}))
    assert study_plan.load(str(file)).sha256 != study_plan.load(str(PLAN)).sha256


def test_another_plan_is_refused(tmp_path: Path) -> None:
    study._begin(tmp_path, tmp_path, small())
    study._begin(tmp_path, tmp_path, small())
    with pytest.raises(UserError, match="different now: margin") as refused:
        study._begin(tmp_path, tmp_path, small(margin=9))
    assert refused.value.then == f"mtrl study --out {tmp_path}-2"
    cell = study.Cell("b1", "A", 1)
    file = tmp_path / "runs" / cell.name / study.CELL
    assert not study._is_done(tmp_path, small(), cell)
    file.parent.mkdir(parents=True)
    result = {"plan": small().sha256, "base": "b1", "arm": "A", "seed": 1, "step": 50, "kl": 0.1, "kl_per_token": 0.1}
    file.write_text(json.dumps({**result, "seconds": 60.0}))
    assert study._is_done(tmp_path, small(), cell)
    with pytest.raises(UserError, match="result of another plan"):
        study._is_done(tmp_path, small(margin=9), cell)


def python(code: str, output: Path | None = None) -> Step:
    return Step(["-c", code], output)


def test_sequences_run_side_by_side_and_each_in_order(tmp_path: Path) -> None:
    seen: list[tuple[int, str]] = []

    def sequence(name: str) -> Iterator[Step]:
        yield python(f"open('{name}', 'a').write('1')")
        assert (tmp_path / name).read_text() == "1"
        yield python(f"open('{name}', 'a').write('2'); print('{name}')", tmp_path / f"{name}.txt")

    study_work.run(
        {name: sequence(name) for name in "abc"} | {"none": iter(())}, 2, tmp_path, "again",
        lambda done, now: seen.append((done, now)),
    )  # fmt: skip
    assert all(
        (tmp_path / name).read_text() == "12" and (tmp_path / f"{name}.txt").read_text() == f"{name}\n"
        for name in "abc"
    )
    assert seen[-1] == (4, "") and max(now.count(",") for _, now in seen) == 1


def test_a_failure_ends_the_others_and_says_what_failed(tmp_path: Path) -> None:
    def slow() -> Iterator[Step]:
        yield python("import time; open('slow', 'w').close(); time.sleep(60); open('late', 'w').close()")

    def wrong() -> Iterator[Step]:
        wait = "import os, time\nwhile not os.path.exists('slow'): time.sleep(0.05)\n"
        yield python(wait + "raise ValueError('no such thing')", tmp_path / "wrong.txt")

    with pytest.raises(MtrlError, match="wrong: a command failed: ValueError: no such thing") as failed:
        study_work.run({"slow": slow(), "wrong": wrong()}, 2, tmp_path, "mtrl study", lambda *_: None)
    assert failed.value.then == "mtrl study" and "KeyboardInterrupt" in (tmp_path / "logs/slow.txt").read_text()
    assert not (tmp_path / "late").exists() and not (tmp_path / "wrong.txt").exists()


def test_the_command_of_a_plan_names_its_file_and_folder(tmp_path: Path) -> None:
    assert study_plan.load().command() == "mtrl study"
    file = tmp_path / "mine.yaml"
    file.write_text(dump_yaml(read_yaml(PLAN) | {"margin": 9}))
    mine = study_plan.load(str(file))
    assert mine.command(tmp_path / "s", 2) == f"mtrl study --plan {file} --out {tmp_path / 's'} --jobs 2"
