"""`mtrl`: the command line. One module a verb in mtrl/commands/; each imports what it needs when it is called.

Exit status 0 done, 1 failed, 2 the user's input is wrong, 130 stopped by Ctrl-C. Errors go to stderr in plain words.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any

import typer
from typer.core import TyperCommand

from mtrl import __version__, hints
from mtrl.commands import (
    check,
    compare,
    convert,
    demo,
    doctor,
    evaluate,
    export,
    fetch,
    fit_labels,
    judge,
    plan,
    prompts,
    reproduce,
    reward,
    select,
    status,
    tables,
    tasks,
    train,
)
from mtrl.errors import PLAIN, Interrupted, MtrlError, printable, remedy


class Verb(TyperCommand):
    """A command whose errors name the next command with the folders that this one was given."""

    def invoke(self, ctx: Any) -> Any:  # Typer's own copy of click has the type
        hints.running = (ctx.info_name or "", ctx.params)
        try:
            return super().invoke(ctx)
        except MtrlError as error:
            error.then = hints.carried(error.then)
            raise


app = typer.Typer(
    help="Train and score multimodal judges: release -> samples -> files -> job -> checkpoint -> verdicts -> tables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("tasks", cls=Verb)(tasks.command)
app.command("prompts", cls=Verb)(prompts.command)
app.command("fetch", cls=Verb)(fetch.command)
app.command("convert", cls=Verb)(convert.command)
app.command("check", cls=Verb)(check.command)
app.command("fit-labels", cls=Verb)(fit_labels.command)
app.command("plan", cls=Verb)(plan.command)
app.command("sft", cls=Verb)(train.sft)
app.command("rl", cls=Verb)(train.rl)
app.command("status", cls=Verb)(status.command)
app.command("select", cls=Verb)(select.command)
app.command("export", cls=Verb)(export.command)
app.command("eval", cls=Verb)(evaluate.command)
app.command("judge", cls=Verb)(judge.command)
app.command("score", cls=Verb)(evaluate.score_command)
app.command("compare", cls=Verb)(compare.command)
app.command("tables", cls=Verb)(tables.command)
app.command("reproduce", cls=Verb)(reproduce.command)
app.command("reward", cls=Verb)(reward.command)
app.command("doctor", cls=Verb)(doctor.command)
app.command("demo", cls=Verb)(demo.command)


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
        if error.errno not in PLAIN:
            raise
        where = error.filename2 or error.filename or "writing failed"
        print(
            f"mtrl: {error.strerror}: {where}\nnext: {remedy(error, 'run the same command: it goes on')}",
            file=sys.stderr,
        )
        sys.exit(1)
    except Interrupted as stop:
        print(f"mtrl: stopped by {stop}; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
