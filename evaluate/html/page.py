"""One inert HTML page: a template, the sample cards and their thumbnails in one file that loads nothing else.

Text of a model or a release is in the page as JSON, which the page's script turns into text nodes, never into markup.
The page is written piece by piece, so memory does not grow with the thumbnails.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtrl.core import targets
from mtrl.core.errors import MtrlError
from mtrl.core.files import written
from mtrl.evaluate.html import charts, terms, thumbnails
from mtrl.evaluate.html.content import Content

if TYPE_CHECKING:
    from jinja2 import Environment

NARROWEST = 120  # pixels of the column that holds a sample's image; two images have up to 400


def write(
    target: Path,
    template: str,
    content: Content,
    data: Path,
    tick: Callable[[int, int], None],
    upright: Collection[str] = (),
    **values: Any,
) -> Path:
    """Writes `target`; the images of its cards are below `data`, and `values` are the template's own.

    `tick` gets (thumbnails made, all); `upright` names the images to be turned by their EXIF. Images are linked
    relative to the page, which records its own place and so notices when it is moved away from `data`. Raises UserError
    where `target` cannot be written.
    """
    targets.check_file(target)
    names = list(dict.fromkeys(name for card in content.cards for name in card.images))
    side = thumbnails.side_for([data / name for name in names])
    page = (
        environment()
        .get_template(template)
        .generate(
            about=inert({**_about(content), **_links(target, data)}),
            gone=None if data.is_dir() else str(data),
            cards=_array(map(asdict, content.cards)),
            pictures=_array(thumbnails.make(data, names, side, tick, upright)),
            column=max(NARROWEST, side),
            **values,
        )
    )
    return save(target, page)


@functools.cache
def environment() -> Environment:
    """The templates of this folder. They escape every value."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    found.filters.update(pct=charts.percent, dec=charts.decimal, n="{:,}".format)
    found.globals.update(term=terms.term, glossary=terms.glossary, charts=charts)
    return found


def save(target: Path, pieces: Iterable[str]) -> Path:
    """Writes `target`. Raises MtrlError where it cannot be written."""
    try:
        with written(target) as beside, beside.open("w", encoding="utf-8") as file:
            file.writelines(pieces)
    except OSError as error:
        raise MtrlError(
            f"writing {target} failed: {error.strerror or error}", "free disk space, or pass another --out"
        ) from error
    return target


def run_name(folder: Path) -> str:
    """A page's name of an evaluation folder: that of its run, or of the folder itself."""
    folder = folder.resolve()
    if folder.name == "eval-from-scores":  # where `mtrl eval --pairs-from-scores` writes a run's
        return f"{folder.parent.name} from single answers"
    return folder.parent.name if folder.name == "eval" else folder.name


def _about(content: Content) -> dict[str, Any]:
    """What the script needs besides the cards."""
    tasks = {name: asdict(task) for name, task in content.tasks.items()}
    return {"tasks": tasks, "sides": list(content.sides), "filters": content.counted}


def _links(target: Path, data: Path) -> dict[str, str]:
    """{data: the images' folder, relative to the page's; here: the page's folder, relative to what holds both}."""
    page, images = target.resolve().parent, data.resolve()
    both = os.path.commonpath([page, images])
    here = os.path.relpath(page, both)
    return {"data": os.path.relpath(images, page), "here": os.path.basename(both) if here == "." else here}


def inert(content: Any) -> str:
    """JSON that can neither end the script element that it is in, nor begin another."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    text = text.encode("utf-8", "replace").decode()  # a lone surrogate is valid JSON, but no file
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _array(items: Iterable[Any]) -> Iterator[str]:
    yield "["
    for index, item in enumerate(items):
        yield (",\n" if index else "") + inert(item)
    yield "]"
