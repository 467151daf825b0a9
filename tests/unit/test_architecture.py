"""The house: which room may import which, how long a module may be, and that no module has an upstream package's name.

`python -m tests.unit.test_architecture` prints the rooms, each with what it imports.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from mtrl.backends.base import Backend
from mtrl.backends.registry import BACKENDS

ROOT = Path(__file__).parents[2]
# Each room imports only rooms above it in this list. A folder that is not in it is part of the room around it.
ORDER = [
    "core", "reward_plugins", "config", "models",
    "converters.readers", "converters", "converters.pipeline", "converters.checks",
    "evaluate.metrics", "evaluate.engines", "evaluate", "evaluate.html",
    "backends", "preflight", "runs", "paper", "demo", "commands",
]  # fmt: skip
DATA = {"recipes", "prompts"}  # package data: files, no code
OUTSIDE = ("converters", "evaluate", "reward_plugins", "recipes", "prompts")  # package-dir: mtrl.<name> is ./<name>
UPSTREAM = {"llamafactory", "easyr1", "verl", "trl", "vllm", "ray", "datasets", "transformers", "torch", "peft"}
LINES = 300
# Scripts that run in other environments than mtrl's own, and all that they may import there beyond the standard
# library.
ELSEWHERE = {
    "backends.jobs.verl_check": {"verl", "hydra", "omegaconf"},
    "demo.tiny_model": {
        "mtrl",
        "torch",
        "transformers",
        "PIL",
        "jinja2",
        "pyarrow",
    },  # by PYTHONPATH, with LLaMA-Factory
    "backends.envs.build": set(),
    "backends.envs.torchvision_ops": {"torch", "torchvision"},
    "reward_plugins.judge": set(),
}
IN_MAIN = {"backends.jobs.grpo"}


def modules() -> dict[str, Path]:
    """Every module of the distribution by its dotted name below mtrl, "" for the package itself."""
    found = {}
    for home, prefix in ((ROOT / "mtrl", ()), *((ROOT / name, (name,)) for name in OUTSIDE)):
        for file in home.rglob("*.py"):
            parts = (*prefix, *file.relative_to(home).with_suffix("").parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def room(module: str) -> str:
    """The room of a module: the longest name in ORDER that holds it. mtrl/__init__.py (the version) is in core, cli.py
    and __main__.py are in commands.
    """
    if not module:
        return "core"
    return max((name for name in ORDER if f"{module}.".startswith(f"{name}.")), key=len, default="commands")


def imported(file: Path) -> set[str]:
    """The modules of mtrl that a file imports anywhere in it, inside functions too."""
    known, found = modules(), set()
    for node in _walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name.removeprefix("mtrl.") in known else node.module for name in names}
    return {name.removeprefix("mtrl.") for name in found if name.startswith("mtrl.")}


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those below `if TYPE_CHECKING`, which never run."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from _walk(child)


def arrows() -> dict[str, set[str]]:
    """{room: the other rooms it imports}."""
    found: dict[str, set[str]] = {name: set() for name in ORDER}
    for module, file in modules().items():
        found[room(module)] |= {room(name) for name in imported(file) - DATA} - {room(module)}
    return found


def test_the_rooms_can_be_kept_in_mind() -> None:
    assert len(ORDER) <= 18 and {room(module) for module in modules()} - DATA == set(ORDER)


def test_imports_point_one_way() -> None:
    upward = [
        f"{module} imports {name}"
        for module, file in modules().items()
        for name in imported(file)
        if room(module) != room(name) and ORDER.index(room(name)) > ORDER.index(room(module)) and name not in DATA
    ]
    assert not upward, "\n".join(upward)


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Of the modules of one room too; what only the type checker reads does not count."""
    graph = {module: imported(file) & set(modules()) - {module} for module, file in modules().items()}
    while leaves := [module for module, names in graph.items() if not names]:
        graph = {module: names - set(leaves) for module, names in graph.items() if module not in leaves}
    assert not graph, f"in or above a circle: {sorted(graph)}"


def test_every_room_says_what_it_is() -> None:
    for module, file in modules().items():
        if file.name == "__init__.py" and module not in DATA:
            text = ast.get_docstring(ast.parse(file.read_text())) or ""
            assert 1 <= len(text.splitlines()) <= 6, file


def test_modules_are_short_and_have_names_of_their_own() -> None:
    for module, file in modules().items():
        assert len(file.read_text().splitlines()) <= LINES, file
        assert module.rpartition(".")[2] not in UPSTREAM, file


def test_no_backend_imports_another() -> None:
    """Code that two of them need has a module of its own in backends/."""
    trainers = {name for name in modules() if re.fullmatch(r"backends\.\w+_(sft|grpo)", name)}
    assert {name: imported(modules()[name]) & trainers for name in trainers} == {name: set() for name in trainers}
    assert len(trainers) == len(BACKENDS)
    for name, backend in BACKENDS.items():
        assert isinstance(backend, Backend) and backend.name == name


def packages(module: str) -> set[str]:
    """The packages outside the standard library that a module imports, itself or through modules of mtrl."""
    done: set[str] = set()
    found: set[str] = set()
    left = {module}
    while left:
        name = left.pop()
        done.add(name)
        tree = ast.parse(modules()[name].read_text())
        found |= {alias.name for node in _walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        found |= {node.module or "" for node in _walk(tree) if isinstance(node, ast.ImportFrom)}
        left |= (imported(modules()[name]) & set(modules())) - done
    return {name.partition(".")[0] for name in found} - sys.stdlib_module_names


def test_scripts_import_only_what_their_environment_has() -> None:
    assert {name for name in modules() if name.startswith("backends.jobs.")} <= ELSEWHERE.keys() | IN_MAIN
    for name, allowed in ELSEWHERE.items():
        assert packages(name) <= allowed, name


if __name__ == "__main__":
    for name, targets in arrows().items():
        sys.stdout.write(f"{name:20} {' '.join(sorted(targets, key=ORDER.index))}\n")
