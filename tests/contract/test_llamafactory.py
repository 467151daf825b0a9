"""Against the real LLaMA-Factory, in its own environment: its argument parser, and the tokens its template makes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from mtrl.backends import envs
from mtrl.backends.registry import BACKENDS
from mtrl.config import recipe
from mtrl.config.prompting import parts
from mtrl.core.rundir import Run
from mtrl.models.budget import size_of
from mtrl.preflight import keys
from tests.conftest import mtrl
from tests.unit import sifted
from tests.unit.test_recipe import HARDWARE, MODELS

LLAMAFACTORY = BACKENDS["llamafactory"]

PARSE = """
import json, sys, yaml
from transformers import HfArgumentParser
from llamafactory.hparams.parser import _TRAIN_ARGS
result = {}
for file in sys.argv[1:]:
    config = yaml.safe_load(open(file))
    # what a machine must have is not the schema's business; all other values are the recipe's own
    config.update(bf16=False, output_dir=file + ".out")
    config.pop("deepspeed", None)  # transformers imports DeepSpeed to read it; DeepSpeed is on GPU machines only
    try:
        HfArgumentParser(_TRAIN_ARGS).parse_dict(config)
        result[file] = ""
    except Exception as error:
        result[file] = f"{type(error).__name__}: {error}"
print("RESULT" + json.dumps(result))
"""

KEYS = """
import json
from dataclasses import fields
from llamafactory.hparams.parser import _TRAIN_ARGS
print("RESULT" + json.dumps(sorted({field.name for part in _TRAIN_ARGS for field in fields(part) if field.init})))
"""

TOKENS = """
import json, sys
from PIL import Image
from transformers import AutoProcessor, AutoTokenizer
from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.hparams import DataArguments, ModelArguments
from llamafactory.model.patcher import patch_processor
model, low, high, prompt, answer, *images = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(model)
processor = AutoProcessor.from_pretrained(model)
arguments = ModelArguments(model_name_or_path=model, image_min_pixels=int(low), image_max_pixels=int(high))
patch_processor(processor, tokenizer, arguments)
template = get_template_and_fix_tokenizer(tokenizer, DataArguments(template="qwen3_vl_nothink"))
result = []
for image in images:
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    messages = template.mm_plugin.process_messages(messages, [Image.open(image)], [], [], processor)
    result.append(template.encode_oneturn(tokenizer, messages))
print("RESULT" + json.dumps(result))
"""


def in_environment(code: str, *arguments: str) -> object:
    python = envs.interpreter("llamafactory")
    done = subprocess.run([python, "-c", code, *arguments], capture_output=True, text=True, timeout=300)
    assert "RESULT" in done.stdout, done.stderr[-2000:]
    return json.loads(done.stdout.split("RESULT")[1])


def test_the_key_list_is_its_own() -> None:
    assert in_environment(KEYS) == keys.known("llamafactory")


def test_its_parser_takes_every_rendered_recipe(tmp_path: Path) -> None:
    files = []
    for name in ("sft_unified", "sft_single", "sft_traces"):
        for model in MODELS:
            for hardware in HARDWARE:
                found = recipe.load(name, model, hardware, "seetrue" if name == "sft_single" else None)
                file = tmp_path / f"{name}-{model}-{hardware}.yaml"
                file.write_text(LLAMAFACTORY.config(found, Run(tmp_path / "run"), tmp_path))
                files.append(str(file))
    typo = tmp_path / "typo.yaml"
    typo.write_text(Path(files[0]).read_text() + "cutoff_length: 3\n")
    result = in_environment(PARSE, *files, str(typo))
    assert len(files) == 3 * len(MODELS) * len(HARDWARE)
    assert {file: result[file] for file in files} == dict.fromkeys(files, "")
    assert "cutoff_length" in result[str(typo)]  # and it would have told us


def test_training_and_scoring_see_the_same_tokens(converted: Path, tmp_path: Path) -> None:
    """LLaMA-Factory's rendered run, and the chat template and processor by which vLLM and TRL ask: the same tokens.

    Image sizes of every kind: LLaMA-Factory's own resizing would differ for most (640 x 480: 63 tokens against 54).
    """
    import yaml
    from PIL import Image
    from transformers import AutoProcessor

    found, run = recipe.load("sft_unified", "tiny", "cpu"), Run(tmp_path / "run")
    LLAMAFACTORY.link_inputs(found, run, converted / "data")
    config = yaml.safe_load(LLAMAFACTORY.config(found, run, converted / "data"))
    row = json.loads((converted / "data/demo_alignment/sft_test.json").read_text())[0]
    prompt, answer = (message["content"] for message in row["messages"])
    images = []
    for wide, high in [
        (64, 64),
        (640, 480),
        (1024, 1024),
        (4000, 3000),
        (300, 2000),
        (1920, 1080),
        (30, 40),
        (33, 900),
    ]:
        images.append(tmp_path / f"{wide}x{high}.png")
        Image.new("RGB", (wide, high), "red").save(images[-1])
    limits = [str(config[f"image_{bound}_pixels"]) for bound in ("min", "max")]
    theirs = in_environment(TOKENS, config["model_name_or_path"], *limits, prompt, answer, *map(str, images))
    processor = AutoProcessor.from_pretrained(found.model.path, size=size_of(found.image.model_dump()))
    text = processor.apply_chat_template(
        [{"role": "user", "content": parts(prompt)}], add_generation_prompt=True, tokenize=False
    )
    for image, (source, target) in zip(images, theirs, strict=True):
        ours = processor(text=[text], images=[Image.open(image).convert("RGB")])["input_ids"][0]
        assert source == list(ours), image.name
        assert processor.tokenizer.decode(target).startswith(answer)


def test_it_trains_on_traces_as_they_are(project: Path) -> None:
    """The tokens of its first row, from its own log: the rl prompt as vLLM is asked it, then the whole trace is learnt.

    A template that cuts or adds reasoning (LLaMA-Factory's for models that think) would change them.
    """
    from PIL import Image
    from transformers import AutoProcessor

    sifted.make(Path("runs/sift"), "demo_alignment")
    words = ["--tasks", "demo_alignment", "--model", "tiny", "--hardware", "cpu", "--set", "max_rows_per_task=60"]
    done = mtrl("sft", "sft_traces", *words, "--set", "sft.epochs=1", "--name", "t", cwd=project)
    assert done.code == 0, done.err
    run = Run(Path("runs/t"))
    log, rows = run.log.read_text(), json.loads((run.inputs / "sft/demo_alignment_train.json").read_text())
    assert f"Num examples = {len(rows)}" in log
    assert f"Num examples = {len(json.loads((run.inputs / 'sft/demo_alignment_val.json').read_text()))}" in log
    source, target = (json.loads(log.split(f"\n{name}:\n")[1].split("\n")[0]) for name in ("input_ids", "label_ids"))
    found = recipe.load("sft_traces", "tiny", "cpu")
    processor = AutoProcessor.from_pretrained(found.model.path, size=size_of(found.image.model_dump()))
    question, answer = (message["content"] for message in rows[0]["messages"])
    asked = processor.apply_chat_template(
        [{"role": "user", "content": parts(question)}], add_generation_prompt=True, tokenize=False
    )
    image = Image.open(Path("data") / rows[0]["images"][0]).convert("RGB")
    prompt = list(processor(text=[asked], images=[image])["input_ids"][0])
    reply = processor.tokenizer(f"{answer}<|im_end|>\n")["input_ids"]
    assert source == prompt + reply and target == [-100] * len(prompt) + reply


@pytest.mark.parametrize("size", [(64, 64), (1024, 1024), (33, 900), (8, 8), (640, 480), (300, 2000)])
@pytest.mark.parametrize("budget", [(4096, 65536), (1024, 589_824), (262_144, 4_194_304)])
def test_token_counts_are_the_processors(size: tuple[int, int], budget: tuple[int, int]) -> None:
    from PIL import Image
    from transformers import AutoProcessor

    from mtrl.preflight.lengths import image_tokens

    found = recipe.load(
        "zero_shot", "tiny", "cpu", sets=[f"image.min_pixels={budget[0]}", f"image.max_pixels={budget[1]}"]
    )
    processor = AutoProcessor.from_pretrained(
        found.model.path, size={"shortest_edge": budget[0], "longest_edge": budget[1]}
    )
    grid = processor.image_processor(images=[Image.new("RGB", size)], return_tensors="np")["image_grid_thw"][0]
    assert image_tokens(*size, found) == int(grid.prod()) // 4


if __name__ == "__main__":
    from mtrl.backends.envs.tested import TESTED

    head = (
        f"# LLaMA-Factory's keys at {TESTED['llamafactory'].version}, written by python -m "
        "tests.contract.test_llamafactory\n"
    )
    keys.file("llamafactory").write_text(head + "".join(f"{key}\n" for key in in_environment(KEYS)))  # type: ignore[attr-defined]
