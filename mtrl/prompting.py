"""Prompts: a Jinja template a task and style, filled with a sample's fields, one `<image>` marker an image.

The text is what every consumer gets: LLaMA-Factory and EasyR1 put the image where the marker stands, and TRL and vLLM
get the same place by `parts`. Style "sft" asks for the bare verdict, "rl" for reasoning and then the verdict.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mtrl import resources
from mtrl.errors import UserError
from mtrl.files import sha256_bytes
from mtrl.samples import Sample
from mtrl.tasks import Task

STYLES = ("sft", "rl")
MARKER = "<image>"
# LLaMA-Factory and EasyR1 read <image>, <video> and <audio> as placeholders; tokenizers read <|...|> as control tokens.
_RESERVED = re.compile(r"<(image|video|audio)>|<\|([^<>|]*)\|>", re.IGNORECASE)


def escape(text: str) -> str:
    """Release text with nothing in it that a trainer or tokenizer would read as a marker: <image> becomes [image]."""
    while _RESERVED.search(text):  # what is left of <<image>image> is a marker again
        text = _RESERVED.sub(lambda m: f"[{m.group(1)}]" if m.group(1) else f"[|{m.group(2)}|]", text)
    return text


def template_path(task: Task, style: str) -> Path:
    """Where the task's template is: in the folder the task was loaded from, else here or in mtrl. Raises UserError."""
    if task.home is None:
        return resources.find("prompts", task.prompt_file(style), f"{style} prompt")
    path = task.home / "prompts" / task.prompt_file(style)
    if not path.is_file():
        raise UserError(
            f"task {task.name} has no {style} prompt in {task.home}: {path.name} is missing", "export again"
        )
    return path


def sha256(task: Task, style: str) -> str:
    """Identity of the prompt template; stored with every export and every prediction."""
    return sha256_bytes(template_path(task, style).read_bytes())


def renderer(task: Task, style: str) -> Callable[[Sample], str]:
    """A function from a sample to its prompt. Raises UserError for a template that does not fit the task."""
    path = template_path(task, style)
    fill = _filler(path)

    def render(sample: Sample) -> str:
        text = fill(sample.fields, f"sample {sample.id}")
        if text.count(MARKER) != len(sample.images):
            raise UserError(
                f"{path} has {text.count(MARKER)} {MARKER} markers, but sample {sample.id} has {len(sample.images)} images"
            )
        if found := _RESERVED.search(text.replace(MARKER, "")):
            raise UserError(f"{path}: {found[0]} is a control token; only {MARKER} may stand in a prompt")
        return text

    return render


def fields(task: Task, style: str) -> list[str]:
    """The fields that the task's template names. Raises UserError."""
    from jinja2 import Environment, meta

    path = template_path(task, style)
    _filler(path)  # says what is wrong with it
    return sorted(meta.find_undeclared_variables(Environment().parse(path.read_text(encoding="utf-8"))))


def preview(task: Task, style: str) -> str:
    """The prompt with <caption> for the caption, and so on: what it looks like while no sample is at hand."""
    path = template_path(task, style)
    return _filler(path)({name: escape(f"<{name}>") for name in fields(task, style)}, "the preview")


def _filler(path: Path) -> Callable[[dict[str, str], str], str]:
    """A function from fields, and what an error calls them, to the text. A field that is not there is a UserError."""
    from jinja2 import StrictUndefined, TemplateError
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=False)
    try:
        template = environment.from_string(path.read_text(encoding="utf-8"))
    except (TemplateError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a Jinja template: {error}") from None

    def fill(fields: dict[str, str], where: str) -> str:
        try:
            return template.render(fields).strip()
        except TemplateError as error:
            raise UserError(f"{path}: {error} in {where}; its fields: {', '.join(fields) or 'none'}") from None

    return fill


def parts(prompt: str) -> list[dict[str, Any]]:
    """The prompt as chat content: text and image entries in order (image entries carry no image)."""
    content: list[dict[str, Any]] = []
    for index, text in enumerate(prompt.split(MARKER)):
        if index:
            content.append({"type": "image"})
        if text:
            content.append({"type": "text", "text": text})
    return content
