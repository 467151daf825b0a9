"""The prompts that mtrl ships, each beside its golden file: tests/golden/<task>_<style>.txt is what a model reads.

After a change that is meant: MTRL_WRITE_GOLDEN=1 python -m pytest tests/unit/test_prompts.py, and read the diff.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtrl.cli import main
from mtrl.config import prompting, samples, tasks
from mtrl.config.prompting import MARKER, escape
from mtrl.config.samples import Sample
from mtrl.core import search_path
from mtrl.core.errors import UserError
from mtrl.reward_plugins import judge

GOLDEN = Path(__file__).parents[1] / "golden"
SHIPPED = {task.name: task for task in tasks.load_all()}
HOSTILE = 'A "red" {{ cube }} <image> <|im_end|> <<image>image> {% raw %} auf dem Tisch, 机 🙂 <Video><|vision_start|>'
each = pytest.mark.parametrize(("name", "style"), [(name, style) for name in SHIPPED for style in prompting.STYLES])


def fields_of(name: str) -> list[str]:
    return prompting.fields(SHIPPED[name], "sft") if name in SHIPPED else ["caption"]


def sample_of(name: str) -> Sample:
    task = tasks.load(name)
    images = tuple(f"images/00/{n}.png" for n in range(task.images))
    fields = {field: escape(HOSTILE) for field in fields_of(name)}
    return Sample("sample-1", name, task.kind, images, fields, task.choices[-1], "test")


def rendered(name: str, style: str) -> str:
    return prompting.renderer(tasks.load(name), style)(sample_of(name))


@each
def test_golden(name: str, style: str) -> None:
    file = GOLDEN / f"{name}_{style}.txt"
    text = rendered(name, style) + "\n"
    if os.environ.get("MTRL_WRITE_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8"), "meant? see the top of this file"


@each
def test_shape(name: str, style: str) -> None:
    text = rendered(name, style)
    assert text.count(MARKER) == len(sample_of(name).images)
    assert not re.search(r"<\|\w*\|>|<video>|<audio>", text, re.IGNORECASE)
    last, task = text.splitlines()[-1], SHIPPED[name]
    asked = {"yes": "yes or no", "1": "1 for the first", "2": "2 for the second", "tie": "tie if neither"}
    if task.kind == "score":
        asked = dict.fromkeys(task.choices, judge.said(task.choices))
    if style == "sft":
        assert all(asked[verdict] in last for verdict in task.choices if verdict in asked)
        assert "<think>" not in text and "<answer>" not in text
    else:
        assert "<think></think>" in last
        answer = "<answer>N</answer>, where N is " if task.kind == "score" else ""
        assert all((answer + asked[v] if answer else f"<answer>{v}</answer>") in last for v in task.choices)
    if task.kind == "score":
        assert all(f"\n{verdict}: " in text for verdict in task.choices)
    assert ("yes:" in text and "no:" in text) == (task.kind == "pointwise")
    assert text.count(escape(HOSTILE)) == len(fields_of(name))


@pytest.mark.parametrize("name", SHIPPED)
def test_styles_differ_in_the_last_line_alone_and_what_varies_comes_after_the_images(name: str) -> None:
    sft, rl = (rendered(name, style).splitlines() for style in prompting.STYLES)
    assert sft[:-1] == rl[:-1] and sft[-1] != rl[-1]
    template = prompting.template_path(SHIPPED[name], "sft").read_text(encoding="utf-8")
    rubric = template[: template.index(MARKER)]
    assert "{" not in rubric and 80 <= len(rubric.split()) <= 250


def test_unsafebench_names_every_category() -> None:
    text = rendered("unsafebench", "sft")
    for category in (
        *("Hate", "Harassment", "Violence", "Self-harm", "Sexual", "Shocking", "Illegal activity", "Deception"),
        *("Political", "Public and personal health", "Spam"),
    ):
        assert f"- {category}: " in text


def test_every_shipped_template_is_covered() -> None:
    for style in prompting.STYLES:
        used = {Path(task.prompt_file(style)).stem for task in SHIPPED.values()}
        assert set(search_path.listing("prompts", style, ".jinja")) == used


# Templates of one's own, and their mistakes


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "prompts" / "sft").mkdir(parents=True)
    (tmp_path / "recipes" / "tasks").mkdir(parents=True)
    (tmp_path / "recipes" / "tasks" / "mine.yaml").write_text(
        "{title: Mine, capability: quality, label: {column: label, values: {yes: [yes], no: [no]}}}"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_field_that_is_not_there_names_file_sample_and_fields(home: Path) -> None:
    file = home / "prompts" / "sft" / "mine.jinja"
    file.write_text("<image> {{ captoin }} yes or no?")
    with pytest.raises(UserError) as error:
        rendered("mine", "sft")
    for said in (str(file), "'captoin' is undefined", "sample sample-1", "its fields: caption"):
        assert said in str(error.value)


@pytest.mark.parametrize("template", ["{{ caption }}: yes or no?", "<image><image> {{ caption }} yes or no?"])
def test_markers_that_do_not_fit_the_images(home: Path, template: str) -> None:
    (home / "prompts" / "sft" / "mine.jinja").write_text(template)
    with pytest.raises(UserError, match="markers, but sample sample-1 has 1 images"):
        rendered("mine", "sft")


@pytest.mark.parametrize("token", ["<|image_pad|>", "<video>", "<Image>"])
def test_a_template_holds_no_other_control_token(home: Path, token: str) -> None:
    (home / "prompts" / "sft" / "mine.jinja").write_text(f"<image> {token} {{{{ caption }}}} yes or no?")
    with pytest.raises(UserError, match="is a control token"):
        rendered("mine", "sft")


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (b"<image> {{ caption", "is not a Jinja template"),
        (b"<image> {% if %}", "is not a Jinja template"),
        (b"<image> \xff", "is not UTF-8"),
    ],
)
def test_what_is_no_template(home: Path, template: bytes, said: str) -> None:
    (home / "prompts" / "sft" / "mine.jinja").write_bytes(template)
    with pytest.raises(UserError, match=said):
        rendered("mine", "sft")
    with pytest.raises(UserError, match=said):
        prompting.preview(tasks.load("mine"), "sft")


def test_the_sha256_is_the_templates(home: Path) -> None:
    file = home / "prompts" / "sft" / "mine.jinja"
    file.write_text("<image> a: yes or no?")
    before = prompting.sha256(tasks.load("mine"), "sft")
    file.write_text("<image> b: yes or no?")
    assert prompting.sha256(tasks.load("mine"), "sft") != before


# What a prompt must ask for, and what it may contain

FORM = "<think>why</think><answer>yes or no</answer>"


@pytest.mark.parametrize(
    ("style", "template", "said"),
    [
        ("rl", "<image> Is it good? Answer yes or no.", "does not ask for <think> and <answer>"),
        ("rl", "<image> Think, then reply <answer>yes or no</answer>", "does not ask for <think>"),
        ("rl", "<image> Reply <think>why</think> and yes or no", "does not ask for <answer>"),
        ("sft", "<image> Is it good?", "does not name the verdict yes nor no"),
        ("sft", "<image> Is it good? Say yes, or nothing.", "does not name the verdict no:"),
        ("sft", "<image> Is eyes or noise seen? Answer no.", "does not name the verdict yes:"),
        ("rl", "<image> Reply <think>why</think><answer>verdict</answer>", "does not name the verdict yes nor no"),
        ("sft", "<image> Does it show {caption}? Answer yes or no.", "{caption} is not filled in"),
        ("sft", "<image> Does it show ${ title }? Answer yes or no.", "{ title } is not filled in"),
        ("rl", f"<image> {{{{ caption }}}} or {{caption}}? Reply {FORM}", "{caption} is not filled in"),
    ],
)
def test_a_prompt_that_no_verdict_could_come_of_is_an_error_wherever_it_is_read(
    home: Path, style: str, template: str, said: str
) -> None:
    file = home / "prompts" / style / "mine.jinja"
    file.parent.mkdir(exist_ok=True)
    file.write_text(template)
    for read in (prompting.sha256, prompting.renderer, prompting.fields, prompting.preview):
        with pytest.raises(UserError, match=re.escape(said)) as error:
            read(tasks.load("mine"), style)
        assert str(file) in str(error.value) and error.value.then


@pytest.mark.parametrize(
    "template",
    [
        "<image> Answer Yes or No.",
        "<image> 请回答yes或no。",
        "<image> {{ '{caption}' }} and {} and {1} and {{ caption }}: yes or no?",
        "{# caption #}<image>{% if caption %} Caption: {{ caption | trim | truncate(40) }}.{% endif %} yes or no?",
        "<image> {{ 'big' if caption | length > 9 else caption }} {% raw %}{{ x }}{% endraw %} yes or no?",
        "<image> {% if subject is defined and subject != caption %}{{ subject }}{% endif %} yes or no?",
    ],
)
def test_what_a_prompt_may_contain(home: Path, template: str) -> None:
    (home / "prompts" / "sft" / "mine.jinja").write_text(template)
    assert rendered("mine", "sft").startswith("<image>")


HOSTILE_PROMPTS = {
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import 'x' as x %}",
    "from": "{% from 'x' import y %}",
    "extends": "{% extends 'x' %}",
    "block": "{% block a %}a{% endblock %}",
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "loop over text": "{% for a in caption %}{{ a }}{% endfor %}",
    "division by zero": "{{ 1 / 0 }}",
    "recursion": "{% macro m(a) %}{{ m(a) }}{{ m(a) }}{% endmacro %}{{ m(1) }}",
    "allocation": "{{ 'x' * 1000000000 }}",
    "power": "{{ 9 ** 99999999 }}",
    "doubling": "{% set a = caption ~ caption %}{{ a ~ a }}",
    "wide": "{{ caption | center(1000000000) }}",
    "format": "{{ '%1000000000d' | format(1) }}",
    "attribute": "{{ caption.__class__.__mro__ }}",
    "item": "{{ caption['__class__'] }}",
    "method": "{{ caption.upper() }}",
    "global": "{{ lipsum }}",
    "Jinja's own": "{{ self }}",
    "nested": "{{ " + "(" * 20_000 + "caption" + ")" * 20_000 + " }}",
    "nested ifs": "{% if caption %}" * 3_000 + "{% endif %}" * 3_000,
    "not not not": "{{ " + "not " * 20_000 + "caption }}",
    "long chain": "{{ caption" + " | trim" * 10_000 + " }}",
    "huge number": "{{ " + "9" * 50_000 + " }}",
    "huge file": "x" * 200_000,
    "wrong argument": "{{ caption | truncate('x') }}",
    "unlike": "{{ caption < 1 }}",
    "no such filter": "{{ caption | nothing }}",
}


@pytest.mark.timed
@pytest.mark.parametrize("what", HOSTILE_PROMPTS)
def test_a_hostile_prompt_is_one_line_of_error_at_once(home: Path, what: str) -> None:
    file = home / "prompts" / "sft" / "mine.jinja"
    file.write_text("<image> " + HOSTILE_PROMPTS[what] + " yes or no?")
    begun = time.process_time()  # of this process: the machine may be busy
    with pytest.raises(UserError) as error:
        rendered("mine", "sft")
    assert time.process_time() - begun < 2
    assert str(file) in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 700


def test_a_prompt_that_grows_beyond_all_use_by_its_fields(home: Path) -> None:
    (home / "prompts" / "sft" / "mine.jinja").write_text("<image> yes or no?" + "{{ caption }}" * 5_000)
    long = Sample("s", "mine", "pointwise", ("images/00/a.png",), {"caption": "long " * 20_000}, "yes", "test")
    with pytest.raises(UserError, match="more than 1,000,000 characters in sample s"):
        prompting.renderer(tasks.load("mine"), "sft")(long)


# `mtrl prompts`


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    said = capsys.readouterr()
    return int(end.value.code or 0), said.out, said.err


@each
def test_the_command_before_and_after_conversion(
    name: str, style: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "prompts", name, "--style", style, "--data", str(tmp_path))
    assert code == 0, err
    assert "is not converted" in out and SHIPPED[name].prompt_file(style) in out and "{{" not in out
    assert all(f"<{field}>" in out for field in fields_of(name))
    samples.write(samples.path_of(tmp_path, name, "train"), [sample_of(name)])
    code, out, err = run(capsys, "prompts", name, "--style", style, "--data", str(tmp_path))
    assert code == 0, err
    assert "train sample sample-1, label" in out
    assert out.endswith(rendered(name, style) + "\n")


def test_the_command_on_a_task_of_ones_own(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = home / "prompts" / "sft" / "mine.jinja"
    file.write_text("<image> {{ image }} of {{ style }}: [bold]:smile:[/bold] yes or no?")
    code, out, _ = run(capsys, "prompts", "mine")
    assert code == 0 and out.endswith("<image> [image] of <style>: [bold]:smile:[/bold] yes or no?\n")
    code, _, err = run(capsys, "prompts", "mine", "--style", "rl")
    assert code == 2 and "there is no rl prompt 'mine'" in err
    assert tasks.load("mine").prompt_file("rl") == "rl/mine.jinja"


# prompting.escape

pieces = st.sampled_from(
    ["<", ">", "|", "<|", "|>", "image", "IMAGE", "video", "audio", "im_end", "answer", "/think", "[", "]", " ", "a"]
)
texts = st.one_of(st.text(), st.lists(pieces, max_size=30).map("".join))


@given(texts)
def test_escape_leaves_no_marker_and_changes_nothing_else(text: str) -> None:
    safe = escape(text)
    assert not any(marker in safe.lower() for marker in ("<image>", "<video>", "<audio>"))
    assert not re.search(r"<\|[^<>|]*\|>", safe)
    assert not any(f"<{tag}>" in safe.lower() for tag in ("think", "/think", "answer", "/answer"))
    assert escape(safe) == safe
    changed = {(old, new) for old, new in zip(text, safe, strict=True) if old != new}
    assert changed <= {("<", "["), (">", "]")}
    if "<" not in text:
        assert safe == text


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("<image>", "[image]"),
        ("<|im_end|>", "[|im_end|]"),
        ("<<image>image>", "<[image]image>"),
        ("a < b, c > d, <b>, <|", "a < b, c > d, <b>, <|"),
        ("<IMAGE><Video>", "[IMAGE][Video]"),
        ("<|a<answer>|>", "[|a[answer]|]"),
    ],
)
def test_escape_examples(text: str, safe: str) -> None:
    assert escape(text) == safe
