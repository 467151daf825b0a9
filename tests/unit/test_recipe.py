"""Recipes: every shipped one resolves and renders with every preset it allows; mistakes are named, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mtrl.backends import batches, inputs, registry
from mtrl.config import recipe
from mtrl.core import search_path
from mtrl.core.errors import UserError
from mtrl.core.rundir import Run
from mtrl.preflight import keys, plan
from mtrl.preflight.rendered import Rendered
from tests.conftest import ROOT

RECIPES = sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml") if path.stem not in recipe.TABLES)
MODELS = sorted(path.stem for path in (ROOT / "recipes" / "models").glob("*.yaml"))
HARDWARE = sorted(path.stem for path in (ROOT / "recipes" / "hardware").glob("*.yaml"))


def test_what_is_shipped() -> None:
    assert RECIPES == ["rl_multitask", "rl_single", "sft_single", "sft_traces", "sft_unified", "zero_shot"]
    assert {"qwen3-vl-30b-a3b", "tiny"} <= set(MODELS)
    assert {"8x80gb", "cpu"} <= set(HARDWARE)


def test_how_many_combinations_there_are() -> None:
    assert (len(RECIPES), len(MODELS), len(HARDWARE)) == (
        6,
        7,
        8,
    )  # 336 below: a folder that is not read would show here


@pytest.mark.parametrize("hardware", HARDWARE)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", RECIPES)
def test_every_combination_resolves_and_renders(name: str, model: str, hardware: str, tmp_path: Path) -> None:
    task = "seetrue" if name.endswith("_single") else None
    found = recipe.load(name, model, hardware, task)
    assert found.default_name.startswith(name) and found.default_name.endswith(f"{model}-{hardware}")
    if found.stage is None or (found.stage == "rl" and found.hardware.rl_backend == "easyr1"):
        return  # nothing to train; or EasyR1's configuration: test_easyr1.py
    if found.trainer == "trl" and hardware != "cpu" and found.model.shape and found.model.shape.experts:
        with pytest.raises(UserError, match="mixture of experts"):
            Rendered(found, Run(tmp_path / "run"), tmp_path / "data").values  # noqa: B018
        return
    rendered = Rendered(found, Run(tmp_path / "run"), tmp_path / "data")
    config = rendered.values
    assert list(keys.check(found, rendered)) == []
    budget = config if found.stage == "sft" else {f"image_{key}": value for key, value in config["image"].items()}
    if found.stage == "rl" or model != "tiny":  # LLaMA-Factory: the processor of a model on this machine gets the range
        assert budget["image_max_pixels"] == found.image.max_pixels
        assert budget["image_min_pixels"] == found.image.min_pixels
    per_device = config.get("per_device_train_batch_size") or config["grpo"]["per_device_train_batch_size"]
    steps = config.get("gradient_accumulation_steps") or config["grpo"]["gradient_accumulation_steps"]
    total = per_device * steps * found.hardware.world_size
    assert total == (found.sft.batch_size if found.sft else found.rl.batch_size * found.rl.n)


def test_the_papers_values() -> None:
    sft, rl = recipe.load("sft_unified"), recipe.load("rl_multitask")
    assert (sft.sft.batch_size, sft.sft.learning_rate, sft.image.max_pixels) == (256, 1e-5, 4_194_304)
    assert (rl.rl.batch_size, rl.rl.rollout_batch_size, rl.rl.n, rl.image.max_pixels) == (256, 512, 20, 4_194_304)
    assert sft.image == rl.image == recipe.load("zero_shot").image


def test_optimizer_values_are_written_out(tmp_path: Path) -> None:
    """Upstream's defaults may change; what decides a result is in upstream.yaml. (EasyR1 has no key for epsilon.)"""

    def config(name: str, *presets: str, sets: tuple[str, ...] = ()) -> dict:
        found = recipe.load(name, *presets, sets=list(sets))
        return yaml.safe_load(registry.of(found).config(found, Run(tmp_path / "run"), tmp_path))

    for block in (config("sft_unified", "tiny", "cpu"), config("rl_multitask", "tiny", "cpu")["grpo"]):
        adam = [float(block[f"adam_{key}"]) for key in ("beta1", "beta2", "epsilon")]
        assert (*adam, block["max_grad_norm"]) == (0.9, 0.999, 1e-8, 1.0)
    easyr1 = config("rl_multitask", "qwen3-vl-8b", "8x80gb")["worker"]
    assert (easyr1["actor"]["optim"]["betas"], easyr1["actor"]["max_grad_norm"]) == ([0.9, 0.999], 1.0)
    verl = config("rl_multitask", "qwen3-vl-8b", "8x80gb", sets=("backend=verl",))["actor_rollout_ref"]
    optim = verl["actor"]["optim"]
    assert (optim["betas"], optim["clip_grad"], float(optim["override_optimizer_config"]["eps"])) == (
        [0.9, 0.999],
        1,
        1e-8,
    )
    ours = {key: verl["rollout"]["val_kwargs"][key] for key in ("temperature", "top_p", "n")}
    assert ours == easyr1["rollout"]["val_override_config"] and verl["rollout"]["val_kwargs"]["do_sample"] is True


def test_a_pixel_range_in_the_models_processor_is_said_in_upstream_yaml(tmp_path: Path) -> None:
    def text(sets: list[str]) -> str:
        found, run = recipe.load("sft_unified", "tiny", "cpu", sets=sets), Run(tmp_path / "run")
        before = registry.of(found).config(found, run, tmp_path)
        inputs.budgeted_model(found, run)
        assert registry.of(found).config(found, run, tmp_path) == before
        return before

    plain = text(["model.path=some/hub-model"])
    assert not plain.startswith("#") and yaml.safe_load(plain)["image_max_pixels"] == 65536
    said = text([])
    assert said.startswith("# image.min_pixels 4096, image.max_pixels 65536 are in the model's processor:\n# ")
    assert "inputs/model/preprocessor_config.json, size" in said and yaml.safe_load(said)["image_max_pixels"] > 10**6


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (["sft.learning_rat=1e-5"], ["unknown key 'sft.learning_rat'", "Did you mean 'learning_rate'"]),
        (["imag.min_pixels=3"], ["unknown key 'imag'", "Did you mean 'image'"]),
        (["sft.batch_size=0"], ["sft.batch_size", "greater than 0"]),
        (["sft.scheduler=cosin"], ["sft.scheduler", "cosine", "cosin"]),
        (["image.min_pixels=9999999"], ["image.min_pixels 9999999 is more than image.max_pixels"]),
        (["nonsense"], ["is not KEY=VALUE"]),
        (["sft.learning_rat=1", "sft.batch_size=-1"], ["learning_rat", "batch_size"]),
        (["model=qwen3-vl-30b-a3"], ["no model preset 'qwen3-vl-30b-a3'", "Did you mean 'qwen3-vl-30b-a3b'"]),
    ],
)
def test_mistakes_are_named(sets: list[str], words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        recipe.load("sft_unified", sets=sets)
    for word in words:
        assert word in str(error.value)


def test_the_format_gate_is_no_key_and_why() -> None:
    with pytest.raises(UserError, match="rl has no key format_gate: the gate is always on"):
        recipe.load("rl_multitask", sets=["rl.format_gate=true"])


def test_a_recipe_that_is_not_there_names_recipes_alone() -> None:
    with pytest.raises(UserError) as error:
        recipe.load("nothere")
    assert "Known: rl_multitask, rl_single, sft_single, sft_traces, sft_unified, zero_shot." in str(error.value)


def test_a_typo_in_a_file_names_the_file_and_the_nearest_key(tmp_path: Path) -> None:
    text = (ROOT / "recipes" / "sft_unified.yaml").read_text().replace("warmup_ratio", "warm_up_ratio")
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError, match=r"mine\.yaml") as error:
        recipe.load(str(tmp_path / "mine.yaml"))
    assert "sft.warmup_ratio is missing" in str(error.value)
    assert "unknown key 'sft.warm_up_ratio'. Did you mean 'warmup_ratio'?" in str(error.value)


def test_overrides_win_over_presets_and_lists_split_at_commas() -> None:
    found = recipe.load("sft_unified", "tiny", "cpu", sets=["sft.batch_size=64", "tasks=a,b", "upstream.optim=sgd"])
    assert (found.sft.batch_size, found.tasks, found.upstream) == (64, ["a", "b"], {"optim": "sgd"})
    assert recipe.load("sft_unified", "tiny", "cpu").sft.batch_size == 32  # the preset's


def test_own_files_win_and_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes" / "hardware").mkdir(parents=True)
    text = (ROOT / "recipes" / "hardware" / "cpu.yaml").read_text()
    (tmp_path / "recipes" / "hardware" / "mine.yaml").write_text(text)
    assert recipe.load("sft_unified", "tiny", "mine").hardware.name == "mine"
    assert "mine" in search_path.listing("recipes", "hardware", ".yaml")


def test_batches_that_do_not_divide_name_the_nearest() -> None:
    assert batches.share(256, 3, 8, "batch") == (2, 16)
    with pytest.raises(UserError, match="cannot be shared by 6") as error:
        batches.share(256, 1, 6, "batch")
    assert error.value.then == "nearest that can: 252 or 258"


def test_single_needs_a_task() -> None:
    with pytest.raises(UserError, match="pass --tasks"):
        recipe.load("sft_single")


# Templates of upstream configs from somebody else's folder


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """recipes/templates/trl.yaml.j2 in the working directory, which wins over the shipped one; to be written."""
    file = tmp_path / "recipes" / "templates" / "trl.yaml.j2"
    file.parent.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return file


def filled(file: Path, text: str) -> str:
    file.write_text(text)
    found = recipe.load("rl_multitask", "tiny", "cpu")
    return registry.of(found).config(found, Run(file.parents[2] / "runs" / "x"), file.parents[2] / "data")


def test_a_template_of_ones_own_may_loop_set_and_join(template: Path) -> None:
    text = "tasks: [{% for t in recipe.tasks %}{% set n = t | upper %}{{ n }}{{ ', ' if not loop.last }}{% endfor %}]\n"
    text += "model: {{ recipe.model.path }}\nout: {{ checkpoints }}\nsum: {{ 2 * 3 + recipe.tasks | length }}\n"
    text += "joined: {{ ','.join(recipe.tasks) }}\n{% macro m(a) %}m: {{ a }}{% endmacro %}{{ m(1) }}\n"
    config = yaml.safe_load(filled(template, text))
    assert config["tasks"][0] == "AGIN_NAT" and config["sum"] == 6 + len(config["tasks"]) and config["m"] == 1
    assert config["joined"].startswith("agin_nat,") and config["out"].endswith("runs/x/checkpoints")


@pytest.mark.parametrize(
    "text",
    [
        "{{ recipe.__class__.__init__.__globals__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ recipe.model_dump_json() }}",
        "{{ checkpoints.parent }}",
        "{{ (checkpoints / 'x').write_text('x') }}",
        "{% include '/etc/passwd' %}",
        "{% import 'x' as x %}",
        "{% extends 'x' %}",
        "{{ 1 / 0 }}",
        "{{ 'x' * 1000000000 }}",
        "{{ 9 ** 99999999 }}",
        "{% macro m(a) %}{{ m(a) }}{% endmacro %}{{ m(1) }}",
        "{% for a in range(99999) %}{{ 'x' * 1 }}{{ recipe }}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{{ recipe }}{% endfor %}{% endfor %}",
        "{{ nothing }}",
        "{{ recipe.tasks.append('x') }}",
        "{% if %}",
        "#" * 200_000,
    ],
)
def test_a_hostile_template_is_one_line_of_error(template: Path, text: str) -> None:
    with pytest.raises(UserError) as error:
        filled(template, "a: b\n" + text)
    assert str(template) in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 700


def test_an_export_as_the_base_is_found_by_trainers_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They run in the run directory, so its path is absolute; a hub id stays as it is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exports/x").mkdir(parents=True)
    (tmp_path / "exports/x/config.json").write_text("{}")
    for given, path in (("exports/x", str(tmp_path / "exports/x")), ("Qwen/Other", "Qwen/Other")):
        assert recipe.load("rl_multitask", "tiny", "cpu", sets=[f"model.path={given}"]).model.path == path
    gone = recipe.load("rl_multitask", "tiny", "cpu", sets=["model.path=exports/gone"])
    assert [found.level for found in plan._model(gone)] == ["error"]  # it is no hub id next to other exports
