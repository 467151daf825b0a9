"""The tokens of prompts: image sizes from the samples, and from the images where an earlier mtrl converted; text by
lines.
"""

from __future__ import annotations

import itertools
import json
import os
import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image
from tokenizers import Tokenizer

from mtrl.config import prompting, recipe, samples, tasks
from mtrl.config.kinds import Pair
from mtrl.converters.pipeline.convert import convert
from mtrl.converters.pipeline.unchanged import FINGERPRINTS
from mtrl.core.files import read_json, write_json
from mtrl.demo import releases
from mtrl.models import tokens
from mtrl.preflight import lengths
from tests.conftest import ROOT

TASK, DATA = "demo_alignment", Path("data")
TINY = ROOT / "recipes" / "models" / "tiny"


def longest() -> list[str]:
    loaded = recipe.load("sft_unified", "tiny", "cpu", sets=["tasks=demo_quality,demo_safety,demo_alignment"])
    return [found.text for found in lengths.check(loaded, DATA)]


def without_sizes() -> None:
    """The data folder as an earlier mtrl wrote it."""
    for file in DATA.glob("*/samples_*.parquet"):
        pq.write_table(pq.read_table(file).drop_columns(["sizes"]), file)
    for file in DATA.glob(f"*/{FINGERPRINTS}"):
        write_json(file, {name: found[:2] for name, found in read_json(file).items()})


def test_sizes_are_those_of_the_images(tmp_path: Path) -> None:
    raw, data = tmp_path / "raw", tmp_path / "data"
    releases.mjbench(raw, make=lambda number: Image.new("RGB", (40 + number, 60), (number * 9, 0, 0)))
    convert(tasks.load("mjbench_alignment"), raw, data)
    kept = list(samples.read(data, "mjbench_alignment", "test"))
    assert kept and any(sample.source["swapped"] for sample in kept)
    for sample in (*kept, *(sample.swapped(Pair(images=[1, 2])) for sample in kept)):
        opened = [Image.open(data / name) for name in sample.images]
        assert list(sample.sizes) == [image.size for image in opened]
        assert sample.sizes[0] != sample.sizes[1]


def test_no_image_is_opened(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = longest()
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("an image was opened"))
    assert longest() == said


def test_data_of_an_earlier_mtrl(project: Path, cli) -> None:
    said = longest()
    without_sizes()
    (old, *_) = samples.read(DATA, TASK, "train")
    assert not old.sizes
    assert longest() == said
    assert cli("convert", TASK, "--raw", "raw").code == 0
    assert all(sample.sizes for sample in samples.read(DATA, TASK, "train"))


@pytest.mark.parametrize("seed", range(20))
def test_lines_have_the_tokens_of_the_text(seed: int) -> None:
    rng, whole = random.Random(seed), Tokenizer.from_file(str(TINY / tokens.FILE))
    pieces = (
        "\n",
        "\n",
        "\r\n",
        " ",
        "\t",
        "the dog",
        "é",
        "e\u0301",
        ":",
        '"',
        "'s",
        "3",
        "<think>",
        "\u2028",
        "\xa0",
        "日本",
    )
    count = tokens.counter(TINY).count
    for _ in range(200):
        text = "".join(rng.choices(pieces, k=rng.randint(0, 30)))
        assert count(text) == len(whole.encode(text).ids), repr(text)


def test_another_pattern_is_counted_whole(tmp_path: Path) -> None:
    """A tokenizer that joins lines: "a" and a line break are one piece with what follows."""
    config = json.loads((TINY / tokens.FILE).read_text())
    config["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "[^z]+"
    config["model"]["merges"].append(["Ċ", "c"])
    config["model"]["vocab"]["Ċc"] = 999
    (tmp_path / tokens.FILE).write_text(json.dumps(config))
    whole = Tokenizer.from_file(str(tmp_path / tokens.FILE))
    text = "a\nc\nc"
    assert (
        tokens.counter(tmp_path).count(text)
        == len(whole.encode(text).ids)
        < sum(len(whole.encode(line).ids) for line in ("a\n", "c\n", "c"))
    )


def test_a_changed_tokenizer_is_read_again(tmp_path: Path) -> None:
    (tmp_path / tokens.FILE).write_bytes((TINY / tokens.FILE).read_bytes())
    before = tokens.counter(tmp_path).count("The dog\nsees")
    config = json.loads((TINY / tokens.FILE).read_text())
    config["model"]["merges"] = []
    (tmp_path / tokens.FILE).write_text(json.dumps(config))
    assert tokens.counter(tmp_path).count("The dog\nsees") > before


def test_a_prompt_is_counted_in_the_chat_template(project: Path) -> None:
    """As transformers fills it in, whose text vLLM is given; each image is one token there."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(TINY)
    for stage, name in (("rl_multitask", "demo_pairs"), ("rl_multitask", TASK), ("sft_unified", TASK)):
        loaded = recipe.load(stage, "tiny", "cpu", sets=[f"tasks={name}"])
        render = prompting.renderer(tasks.load(name), loaded.style)
        split = "test" if name == "demo_pairs" else "val"
        rows = zip(lengths.lengths(loaded, DATA, name, (split,)), samples.read(DATA, name, split), strict=True)
        for length, sample in list(rows)[:20]:
            message = {"role": "user", "content": prompting.parts(render(sample))}
            text = tokenizer.apply_chat_template([message], add_generation_prompt=True, tokenize=False)
            answer = f"{max(tasks.load(name).choices, key=len)}<|im_end|>\n" if stage == "sft_unified" else ""
            assert length.text == len(tokenizer.encode(text + answer)) - len(sample.images), text
            assert length.row == f"{split}/{sample.id}" and length.image == 4 * len(sample.images)


def test_a_template_of_a_model(tmp_path: Path) -> None:
    """One with a system prompt, as Qwen2.5-VL's; one in tokenizer_config.json; none, or a broken one."""
    (tmp_path / tokens.FILE).write_bytes((TINY / tokens.FILE).read_bytes())

    def counter(name: str, content: str) -> tokens.Counter:
        for old in ("chat_template.jinja", "tokenizer_config.json"):
            (tmp_path / old).unlink(missing_ok=True)
        (tmp_path / name).write_text(content)
        os.utime(tmp_path / tokens.FILE, ns=(0, next(times)))  # a model's files are not changed while it is planned
        return tokens.counter(tmp_path)

    times = itertools.count(1)
    plain = (TINY / "chat_template.jinja").read_text()
    one = counter("chat_template.jinja", plain)
    assert one.exact and one.chat == 8
    system = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    more = counter("tokenizer_config.json", json.dumps({"chat_template": f"{{{{ {json.dumps(system)} }}}}{plain}"}))
    assert more.exact and more.chat == 8 + more.count(system)
    for name, content in (
        ("tokenizer_config.json", "{}"),
        ("chat_template.jinja", "{% if %}"),
        ("chat_template.jinja", "{{ messages[1] }}"),
        ("tokenizer_config.json", "{"),
    ):
        broken = counter(name, content)
        assert (broken.exact, broken.chat) == (False, tokens.CHAT)
