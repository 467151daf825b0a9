"""`mtrl`: the command line. One module per verb in mtrl/commands/; each imports what it needs when it is called.

Exit status 0 done, 1 failed, 2 the user's input is wrong, 130 interrupted by Ctrl-C. Errors go to stderr.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import typer
from typer.core import TyperCommand, TyperOption

from mtrl import __version__
from mtrl.commands import (
    certify,
    check,
    compare,
    convert,
    demo,
    doctor,
    estimate,
    evaluate,
    export,
    fetch,
    fit_labels,
    judge,
    new_task,
    options,
    plan,
    probe,
    prompts,
    reproduce,
    reward,
    score,
    select,
    serve,
    sift,
    status,
    study,
    tables,
    tasks,
    train,
)
from mtrl.commands.examples import EXAMPLES
from mtrl.core import hints
from mtrl.core.errors import FILE_SYSTEM, Interrupted, MtrlError, printable, remedy


class Verb(TyperCommand):
    """A command that takes the older spellings of its options, and whose errors name the next command with its
    folders.
    """

    def make_parser(self, ctx: Any) -> Any:
        parser = super().make_parser(ctx)
        for option in (parameter for parameter in self.params if isinstance(parameter, TyperOption)):
            for old in options.OLDER.get(option.opts[0], ()):
                parser.add_option(option, [old], option.name)
        return parser

    def invoke(self, ctx: Any) -> Any:  # Typer's own copy of click has the type
        hints.running = (ctx.info_name or "", ctx.params)
        try:
            return super().invoke(ctx)
        except MtrlError as error:
            error.then = hints.carried(error.then)
            raise


app = typer.Typer(
    help="Train and score multimodal judges: convert data, train by SFT and GRPO, evaluate, print the paper's tables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
PANELS: dict[str, dict[str, Callable[..., None]]] = {
    "Data": {
        "tasks": tasks.command,
        "new-task": new_task.command,
        "fetch": fetch.command,
        "convert": convert.command,
        "check": check.command,
        "fit-labels": fit_labels.command,
        "prompts": prompts.command,
    },
    "Train": {
        "sift": sift.command,
        "plan": plan.command,
        "sft": train.sft,
        "rl": train.rl,
        "status": status.command,
        "select": select.command,
        "export": export.command,
    },
    "Evaluate": {
        "eval": evaluate.command,
        "judge": judge.command,
        "score": score.command,
        "compare": compare.command,
        "tables": tables.command,
        "reward": reward.command,
    },
    "Trust": {
        "certify": certify.command,
        "estimate": estimate.command,
        "probe": probe.command,
        "serve": serve.command,
    },
    "Reproduce": {"reproduce": reproduce.command, "study": study.command, "demo": demo.command},
    "Setup": {"doctor": doctor.command},
}
for panel, verbs in PANELS.items():
    for verb, function in verbs.items():
        app.command(verb, cls=Verb, rich_help_panel=panel, epilog=EXAMPLES[verb])(function)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"mtrl {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def _stop(number: int, _: FrameType | None) -> None:
    raise Interrupted(signal.Signals(number).name)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits with its status. A bug keeps its traceback; a user's mistake never has one."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        app(args=arguments)
    except MtrlError as error:
        print(printable(f"mtrl: {error}" + (f"\nnext: {error.then}" if error.then else "")), file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in FILE_SYSTEM:
            raise
        where = error.filename2 or error.filename or "writing failed"
        print(
            f"mtrl: {error.strerror}: {where}\nnext: {remedy(error, 'run the same command again: it continues')}",
            file=sys.stderr,
        )
        sys.exit(1)
    except RuntimeError as error:
        if not str(error).startswith("Symlink loop"):  # Path.resolve's error for a loop of links before Python 3.13
            raise
        print(printable(f"mtrl: {error}\nnext: choose another path"), file=sys.stderr)
        sys.exit(1)
    except Interrupted as stop:
        print(f"mtrl: interrupted by {stop}. The same command continues from here", file=sys.stderr)
        sys.exit(Interrupted.exit_code)
