"""Every option of every verb: one spelling for one thing, a help text, and the spellings of earlier versions, which
still work.
"""

from __future__ import annotations

from collections import defaultdict

import pytest
import typer
from typer.core import TyperOption

from mtrl.cli import app
from mtrl.commands.options import OLDER, names
from mtrl.demo.walkthrough import tiny

VERBS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
# what each verb took before the spellings were made one; these must work for ever
EARLIER = [
    ("export", ["run", "--to", "x"], "out"),
    ("fetch", ["seetrue", "--to", "x"], "out"),
    ("demo", ["--folder", "x"], "out"),
    ("judge", ["a.png", "--task", "x"], "tasks"),
    ("plan", ["sft_single", "--task", "x"], "tasks"),
    ("sft", ["sft_single", "--task", "x"], "tasks"),
    ("rl", ["rl_single", "--task=x"], "tasks"),
    ("eval", ["--endpoint", "u", "--model", "x"], "served_model"),
    ("judge", ["a.png", "--endpoint", "u", "--model=x"], "served_model"),
]


def options(verb: str) -> list[TyperOption]:
    return [parameter for parameter in VERBS[verb].params if isinstance(parameter, TyperOption)]


@pytest.mark.parametrize("verb", VERBS)
def test_each_option_has_one_spelling_and_a_help_text(verb: str, cli) -> None:
    shown = cli(verb, "--help").out
    for parameter in VERBS[verb].params:
        assert parameter.help and parameter.help.endswith((".", ")")), (verb, parameter.name)
    for option in options(verb):
        assert len(option.opts) == 1 and not option.secondary_opts, (verb, option.opts)
        assert f" {option.opts[0]} " in shown
        for old in OLDER.get(option.opts[0], []):
            assert f" {old} " not in shown, (verb, old)


def test_one_thing_has_one_name_across_the_verbs() -> None:
    """Neither two options with one help text, nor an older spelling in sight; --model is the preset that is trained."""
    spelled = defaultdict(set)
    for verb in VERBS:
        for option in options(verb):
            spelled[option.help].add(option.opts[0])
    assert {text: names for text, names in spelled.items() if len(names) > 1} == {}
    models = {verb for verb in VERBS for option in options(verb) if option.opts == ["--model"]}
    assert models == {"plan", "sft", "rl", "reproduce"}
    for new, olds in OLDER.items():
        assert {new} == {name for name in set().union(*spelled.values()) - {"--model"} if name in (new, *olds)}


@pytest.mark.parametrize(("verb", "arguments", "name"), EARLIER)
def test_spellings_of_earlier_versions_work(verb: str, arguments: list[str], name: str) -> None:
    assert str(VERBS[verb].make_context(verb, list(arguments)).params[name]) == "x"


@pytest.mark.parametrize("verb", ["eval", "sift", "probe", "serve"])
def test_names_are_a_comma_list_and_an_empty_one_does_not_mean_all(verb: str, cli) -> None:
    for given in ("", " , "):
        wrong = cli(verb, "--ckpt", tiny(), "--tasks", given)
        assert wrong.code == 2 and f"--tasks {given!r} has no name" in wrong.err
        assert "pass --tasks NAME,NAME, or leave it out" in wrong.err
    assert names("--tasks", " a,b,,a ", ["c"]) == ["a", "b"] and names("--tasks", None, ["c"]) == ["c"]


@pytest.mark.parametrize("verb", ["sift", "probe", "serve"])
def test_the_tasks_of_a_judge_that_mtrl_did_not_train_are_not_guessed(verb: str, cli) -> None:
    wrong = cli(verb, "--ckpt", tiny())
    assert wrong.code == 2 and f"so it is not known which tasks to {verb}" in wrong.err
    assert "pass --tasks NAME,NAME (mtrl tasks)" in wrong.err
