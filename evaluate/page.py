"""One inert HTML page: a template, the sample cards, and their thumbnails, in one file that asks no network.

What a model or a release wrote reaches the page as JSON text, which a script turns into text nodes: never as markup.
The page is written piece by piece, so that memory does not grow with the thumbnails.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from mtrl.evaluate import charts, thumbnails
from mtrl.files import written

NARROWEST = 120  # pixels of the column that holds a sample's image; two images have up to 400


def write(
    target: Path,
    template: str,
    data: Path,
    cards: list[dict[str, Any]],
    about: dict[str, Any],
    tick: Callable[[int, int], None],
    **values: Any,
) -> Path:
    """Writes `target`. `about` is what the script needs beside the cards (page.js.jinja), `values` the template's own.

    `tick` gets (thumbnails made, all).
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["pct"] = charts.percent
    names = list(dict.fromkeys(name for card in cards for name in card["images"]))
    side = thumbnails.side_for([data / name for name in names])
    page = environment.get_template(template).generate(
        charts=charts,
        about=inert(about),
        cards=_array(cards),
        pictures=_array(thumbnails.make(data, names, side, tick)),
        column=max(NARROWEST, side),
        **values,
    )
    with written(target) as beside, beside.open("w", encoding="utf-8") as file:
        file.writelines(page)
    return target


def inert(content: Any) -> str:
    """JSON that cannot end the script element it stands in, nor begin another."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    text = text.encode("utf-8", "replace").decode()  # a lone surrogate is valid JSON, but no file
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _array(items: Iterable[Any]) -> Iterator[str]:
    yield "["
    for index, item in enumerate(items):
        yield (",\n" if index else "") + inert(item)
    yield "]"
