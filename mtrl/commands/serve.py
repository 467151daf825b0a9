"""`mtrl serve --ckpt PATH`: a judge as a web server, in front of vLLM's own.

Ctrl-C ends it with exit status 130, as every command. SIGTERM is how a service manager ends a server: exit status 0.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtrl.commands import options

if TYPE_CHECKING:
    from mtrl.evaluate.image_items import Asked
    from mtrl.evaluate.subject import Subject


def command(
    ckpt: options.Checkpoint = None,
    tasks: options.TrainedTasks = None,
    endpoint: options.Endpoint = None,
    served_model: options.ServedModel = None,
    host: Annotated[
        str, typer.Option(help="The address to listen at. For any but this machine's own, clients need MTRL_API_KEY.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 8080,
    style: options.Style = None,
    prompts: options.Prompts = "export",
    raw: Annotated[
        bool, typer.Option("--raw", help="Do not use the thresholds of the judge's decision.json (mtrl certify).")
    ] = False,
    tensor_parallel: options.TensorParallel = 1,
    cache: Annotated[
        Path | None, typer.Option(help="File of the cache of verdicts. Default: one in the user's cache folder.")
    ] = None,
    cache_mb: Annotated[int, typer.Option(min=0, help="Size of the cache in MB. 0: no cache.")] = 256,
) -> None:
    """Serve a judge over HTTP: /v1/judge, with a cache, metrics and a key, in front of vLLM's own server."""
    from mtrl.core.console import check, say
    from mtrl.core.errors import Interrupted, UserError
    from mtrl.evaluate import decision, judges
    from mtrl.evaluate.serving import answering, running

    if endpoint and (cache or tensor_parallel > 1):
        raise UserError(
            "--cache and --tensor-parallel have no effect with --endpoint: its server has options of its own, and may"
            " get another model, so verdicts are kept in memory only",
            "leave them out",
        )
    if raw and not ckpt:
        raise UserError("--raw has no effect without --ckpt: thresholds are in the folder of a judge", "leave it out")
    if cache and cache.is_dir():
        raise UserError(f"--cache {cache} is a folder, not a file", f"pass --cache {cache / 'verdicts.sqlite3'}")
    if cache and not cache_mb:
        raise UserError("--cache has no effect with --cache-mb 0", "leave one of them out")
    judge = judges.named(ckpt, endpoint, served_model, style, prompts)
    if cache and judge.is_named_only:
        raise UserError(
            f"--cache has no effect with {judge.checkpoint}: other weights may have this name later, so verdicts are"
            " kept in memory only",
            "leave it out, or pass a folder as --ckpt",
        )
    names = options.trained_tasks(judge, tasks, "serve")
    asked = answering.loaded(judge, names)
    say(f"{judge.checkpoint}: style {judge.style}, by {judge.told_by}; {len(asked)} tasks: {', '.join(asked)}")
    for line in judge.remarks(asked):
        say(line)
    limits = {}
    if ckpt and not raw:
        limits = decision.thresholds(Path(ckpt), (one.task for one in asked.values()), judge.style)
        if not limits and Path(ckpt).is_dir():
            say(decision.without(Path(ckpt)))
    for name, limit in limits.items():
        say(f"task {name}: undecided below a confidence of {limit.threshold:.6g} ({ckpt}/decision.json)")
    if ckpt and endpoint:
        check("warning", f"that {endpoint} has the weights of {ckpt} cannot be checked")
    settings = running.Settings(judge, asked, limits, endpoint, tensor_parallel, host, port, cache, cache_mb)
    try:
        running.run(settings, say, lambda address: _ready(address, judge, asked))
    except Interrupted as signal:
        say(f"ended by {signal}")
        raise typer.Exit(0 if str(signal) == "SIGTERM" else signal.exit_code) from None


def _ready(address: str, judge: Subject, asked: dict[str, Asked]) -> None:
    """What a user does next: a request that works as it is printed, once there is an image."""
    from mtrl.core.console import say
    from mtrl.evaluate.serving.auth import VARIABLE

    name, one = next(iter(asked.items()))
    words = [f"-F images=@IMAGE{place if one.task.images > 1 else ''}" for place in range(1, one.task.images + 1)]
    if one.fields:
        inner = ", ".join(f'"{field}": "..."' for field in one.fields)
        words.append(f"-F 'fields={{{inner}}}'")
    say(f"serving {judge.name} at {address} (Ctrl-C ends it). For example:")
    key = f' -H "Authorization: Bearer ${VARIABLE}"' if os.environ.get(VARIABLE, "").strip() else ""
    say(f"  curl{key} {address}/v1/judge -F task={name} {' '.join(words)}")
    say(f"more: {address}/docs")
