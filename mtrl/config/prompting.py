"""Prompts: a Jinja template per task and style, filled with a sample's fields, one `<image>` marker per image.

Every prompt may use `{{ choices }}`: the task's verdicts in words. The text is what every consumer gets: LLaMA-Factory
and EasyR1 put the image where the marker is, and TRL and vLLM get the same place by `parts`. Style "sft" asks for the
bare verdict, "rl" for reasoning and then the verdict.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mtrl.config.samples import Sample
from mtrl.config.tasks import Task
from mtrl.core import sandbox, search_path
from mtrl.core.errors import UserError
from mtrl.core.files import sha256_file
from mtrl.reward_plugins import judge

STYLES = ("sft", "rl")
MARKER = "<image>"
_BRACES = re.compile(r"(?<!\{)\{ *([A-Za-z_]\w*) *\}(?!\})")  # {caption}: meant as a field, and not filled in
# LLaMA-Factory and EasyR1 read <image>, <video> and <audio> as placeholders; tokenizers read <|...|> as control tokens.
_RESERVED = re.compile(r"<(image|video|audio)>|<\|([^<>|]*)\|>", re.IGNORECASE)
_TAG = re.compile(r"<(/?(?:think|answer))>", re.IGNORECASE)  # a text that is judged may not answer for the judge
CHOICES = "choices"


def escape(text: str) -> str:
    """The text without what a trainer or tokenizer would read as a marker: <image> becomes [image]."""
    while _RESERVED.search(text) or _TAG.search(text):  # what is left of <<image>image> is a marker again
        text = _RESERVED.sub(lambda m: f"[{m.group(1)}]" if m.group(1) else f"[|{m.group(2)}|]", text)
        text = _TAG.sub(r"[\1]", text)
    return text


def reserved(text: str) -> bool:
    """Whether a text has what a trainer or tokenizer would read as a marker."""
    return _RESERVED.search(text) is not None


def template_path(task: Task, style: str) -> Path:
    """Where the task's template is: in the folder the task was loaded from, else here or in mtrl. Raises UserError."""
    if task.home is None:
        return search_path.find("prompts", task.prompt_file(style), f"{style} prompt")
    path = task.home / "prompts" / task.prompt_file(style)
    if not path.is_file():
        raise UserError(
            f"task {task.name} has no {style} prompt in {task.home}: {path.name} is missing", "export again"
        )
    return path


def sha256(task: Task, style: str) -> str:
    """Identity of the template, in every export and prediction. Raises UserError as `_checked`."""
    path, _ = _checked(task, style)
    return sha256_file(path)


def renderer(task: Task, style: str) -> Callable[[Sample], str]:
    """A function from a sample to its prompt. Raises UserError for a template that does not fit the task."""
    path, template = _checked(task, style)

    def render(sample: Sample) -> str:
        text = template.fill({**sample.fields, CHOICES: judge.said(task.choices)}, f"sample {sample.id}")
        if text.count(MARKER) != len(sample.images):
            raise UserError(
                f"{path} has {text.count(MARKER)} {MARKER} markers, but sample {sample.id} has "
                f"{len(sample.images)} images",
                f"write one {MARKER} for each image there, in the order of source.images",
            )
        if found := _RESERVED.search(text.replace(MARKER, "")):
            raise UserError(f"{path}: {found[0]} is a control token; only {MARKER} is allowed in a prompt")
        return text

    return render


def fields(task: Task, style: str) -> list[str]:
    """The fields that the task's prompt uses. Raises UserError."""
    return sorted(_checked(task, style)[1].names - {CHOICES})


def unused(task: Task) -> list[str]:
    """The fields that the task's YAML declares and neither of its prompts uses: the judge never sees them."""
    used = {name for style in STYLES for name in fields(task, style)}
    return [name for name in task.source.get("fields") or {} if name not in used]


def preview(task: Task, style: str) -> str:
    """The prompt with <caption> for the caption, and so on: what it looks like without a sample."""
    template = _checked(task, style)[1]
    fields = {name: escape(f"<{name}>") for name in template.names}
    return template.fill({**fields, CHOICES: judge.said(task.choices)}, "the preview")


def _checked(task: Task, style: str) -> tuple[Path, sandbox.Prompt]:
    """The prompt and its file; every reader of a prompt calls this. Raises UserError for a prompt whose answers could
    not be read as the task's verdicts, or with a field in single braces, which is not filled in.
    """
    path = template_path(task, style)
    template = sandbox.prompt(path)
    if found := _BRACES.search(template.literal):
        raise UserError(
            f"{path}: {found[0]} is not filled in: a field is written {{{{ {found[1]} }}}}",
            f"write {{{{ {found[1]} }}}}, or {{{{ '{found[0]}' }}}} where the braces themselves are meant",
        )
    if CHOICES in (task.source.get("fields") or {}):
        raise UserError(f"task {task.name}: the field {CHOICES!r} is mtrl's own", "give the field another name")
    text = template.literal.casefold()
    words = {*re.findall(r"\w+", text, re.ASCII), *re.findall(r"[\w-]+", text)}
    named = task.choices if task.kind != "score" else (task.choices[0], task.choices[-1])
    gone = [verdict for verdict in named if verdict not in words]
    if gone and CHOICES not in template.names:
        raise UserError(
            f"{path} does not name the verdict {' nor '.join(gone)}: a judge answers {judge.said(task.choices)}, "
            "and the prompt does not say so",
            f"end the prompt with: Answer {judge.said(task.choices)}.",
        )
    if style == "rl" and (gone := [tag for tag in ("<think>", "<answer>") if tag not in template.literal]):
        form = f"<think>why</think><answer>{judge.said(task.choices)}</answer>"
        raise UserError(
            f"{path} does not ask for {' and '.join(gone)}: no answer to it would be in the form that is rewarded",
            f"end the prompt with: Reply {form}.",
        )
    return path, template


def parts(prompt: str) -> list[dict[str, Any]]:
    """The prompt as chat content: text and image entries in order (image entries carry no image)."""
    content: list[dict[str, Any]] = []
    for index, text in enumerate(prompt.split(MARKER)):
        if index:
            content.append({"type": "image"})
        if text:
            content.append({"type": "text", "text": text})
    return content
