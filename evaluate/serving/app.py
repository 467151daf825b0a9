"""The app in front of the model server: its paths, from a request's body to its reply's JSON.

Every reply but a stream is JSON or plain text; an error has the form of problem.py. `/healthz` needs no key.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel

from mtrl import __version__
from mtrl.config.kinds import UNDECIDED
from mtrl.core import schema
from mtrl.evaluate.image_items import Asked
from mtrl.evaluate.serving import auth, decisions, passing, problem, rewarding, uploads
from mtrl.evaluate.serving.answering import Answering, Ready
from mtrl.evaluate.serving.counting import TYPE, Counting, Counts
from mtrl.evaluate.serving.hangups import EndedByHangUp
from mtrl.evaluate.serving.health import Health
from mtrl.evaluate.serving.problem import Problem, quoted, validated
from mtrl.evaluate.serving.uploads import Body, Limits
from mtrl.evaluate.verdict import Verdict

JSON_BODY = {"task": "photos", "images": ["<base64, or a data: URL>"], "fields": {"caption": "a red square"}}
REWARD_JSON = {"task": "photos", "images": ["<base64>", "<base64>"], "fields": {"caption": ["a red square", "a dog"]}}


def _described(example: dict[str, Any]) -> dict[str, Any]:
    """A body for OpenAPI."""
    content = {"application/json": {"example": example}, "multipart/form-data": {"schema": {"type": "object"}}}
    return {"requestBody": {"required": True, "content": content}}


BODY, REWARD_BODY = _described(JSON_BODY), _described(REWARD_JSON)


class JudgeRequest(schema.Model):
    """The request next to its images."""

    task: str
    fields: dict[str, str] = {}
    """The texts that the task's prompt needs."""


class Judged(BaseModel):
    """The reply of `/v1/judge`."""

    task: str
    verdict: str
    """One of the task's verdicts; "invalid": the answer cannot be read; "undecided": below the threshold."""
    raw: str | None
    """What the judge said, where there is a threshold."""
    decided: bool | None
    """Whether the verdict is above the threshold; null where the judge has none, so that nothing is promised."""
    confidence: float | None
    """The probability of the verdict that the judge said; null where it is not known."""
    probabilities: dict[str, float] | None
    """Of each verdict."""
    flipped: bool | None
    """Of a pair: whether the answers to its two orders contradict each other; null where one cannot be read."""
    confidence_turned: float | None
    """Of a pair: the confidence in the other order."""
    reasoning: str
    response: str
    """The judge's whole text."""
    response_turned: str | None
    """Of a pair: its text in the other order."""
    finish_reason: str
    """"stop", or "length" where it had no tokens left."""
    cached: bool
    versions: dict[str, str]
    """Of the judge (its fingerprint), its prompt's style, mtrl, and the model server."""


def application(answering: Answering, key: str | None, limits: Limits = Limits()) -> FastAPI:  # noqa: B008 - frozen
    """`key`: what clients must send; None where they need none."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        await answering.asking.close()

    app = FastAPI(
        title="mtrl serve", version=__version__, summary=f"The judge {answering.judge.name}", lifespan=life,
        docs_url=None, redoc_url=None,  # their pages load scripts from another server; /docs is a text
    )  # fmt: skip
    problem.install(app)
    choices = {name: asked.task.choices for name, asked in answering.tasks.items()}
    counts = Counts(answering.cache, answering.asking.server, choices)
    guarded = APIRouter(dependencies=[Depends(auth.guard(key))])
    _judging(guarded, answering, counts, limits)
    _about(app, guarded, answering, counts)
    app.include_router(guarded)
    if answering.asking.own:
        app.include_router(passing.router(answering.asking, limits), dependencies=[Depends(auth.guard(key))])
    paths = frozenset(app.openapi()["paths"])
    app.add_middleware(EndedByHangUp)
    app.add_middleware(Counting, counts=counts, paths=paths)  # around it, and so counts what it ends
    return app


def _judging(router: APIRouter, answering: Answering, counts: Counts, limits: Limits) -> None:
    versions = {
        "judge": answering.judge.fingerprint, "checkpoint": answering.judge.name, "style": answering.judge.style,
        "mtrl": __version__, "model_server": answering.engine,
    }  # fmt: skip

    @router.post("/v1/judge", response_model=Judged, openapi_extra=BODY, summary="The verdict on an image, or a pair")
    async def judge(request: Request) -> Response:
        def ready(body: Body) -> Ready:
            wanted = validated(JudgeRequest, body.fields)
            return answering.ready(wanted.task, body.images, wanted.fields)

        item = await uploads.read(request, limits, ready)
        verdict, cached = await answering.judged(item)
        _counted(verdict, counts)
        return JSONResponse(_judged(verdict, item.item.task.choices, cached) | {"versions": versions})

    @router.post(
        "/v1/reward", openapi_extra=REWARD_BODY, summary="A number per image, or pair, for training a generator"
    )
    async def reward(request: Request) -> Response:
        def ready(body: Body) -> tuple[rewarding.Batch, list[Ready]]:
            asked = rewarding.batch(body, answering.task)
            return asked, [answering.ready(asked.task.name, *item) for item in asked.items]

        asked, items = await uploads.read(request, limits, ready)
        found = await answering.all_judged(items)
        for verdict, _ in found:
            if not verdict.rejected:
                counts.count(verdict)
        return JSONResponse(rewarding.reply(asked, [verdict for verdict, _ in found]) | {"versions": versions})

    @router.post("/v1/decisions", summary="OpenAI's Decisions API: instructions is the name of a task")
    async def decide(request: Request) -> Response:
        def ready(body: bytes) -> tuple[decisions.DecisionsRequest, list[Asked], list[Ready]]:
            wanted, given = decisions.read(uploads.parsed(body))
            if wanted.model != answering.judge.name:
                raise Problem(
                    404, "model_not_found", f"model {quoted(wanted.model)}; here it is {answering.judge.name}"
                )
            images = uploads.of_base64(given.images, len(body), limits)
            asked = [answering.task(question.instructions) for question in wanted.questions]
            for question, of in zip(wanted.questions, asked, strict=True):
                decisions.check(question, of)
            return wanted, asked, [answering.ready(of.task.name, images, given.fields_of(of)) for of in asked]

        wanted, asked, items = await asyncio.to_thread(ready, await uploads.whole(request, limits))
        found = await answering.all_judged(items)
        for verdict, _ in found:
            _counted(verdict, counts)
        replies = [decisions.answer(*one) for one in zip(wanted.questions, asked, (v for v, _ in found), strict=True)]
        return JSONResponse(decisions.reply(wanted.model, replies))


def _counted(verdict: Verdict, counts: Counts) -> None:
    """Raises Problem (422) where the model server rejected the request."""
    if verdict.rejected:
        raise Problem(422, "rejected", f"the model server does not take it: {verdict.rejected}")
    counts.count(verdict)


def _judged(verdict: Verdict, choices: tuple[str, ...], cached: bool) -> dict[str, Any]:
    """The fields of Judged but the versions."""
    same = ("task", "verdict", "raw", "confidence", "flipped", "confidence_turned", "reasoning", "response",
            "response_turned", "finish_reason")  # fmt: skip
    return {
        **{name: getattr(verdict, name) for name in same},
        "decided": None if verdict.raw is None else verdict.verdict != UNDECIDED,
        "probabilities": verdict.shares(choices),
        "cached": cached,
    }


def _about(app: FastAPI, guarded: APIRouter, answering: Answering, counts: Counts) -> None:
    checked = Health(answering.asking)

    @app.get("/healthz", summary="200 if the model server answers, else 503")
    async def health() -> Response:
        if await checked.alive():
            return JSONResponse({"status": "ok"})
        raise answering.asking.unavailable(answering.asking.server.problem() or "the model server does not answer")

    @guarded.get("/metrics", summary="Numbers for Prometheus")
    async def metrics() -> Response:
        return PlainTextResponse(counts.page(), media_type=TYPE)

    @guarded.get("/docs", summary="This list; /openapi.json says it for programs")
    async def docs() -> Response:
        lines = [
            f"{method.upper():5} {path:21} {about['summary']}"
            for path, methods in app.openapi()["paths"].items()
            for method, about in methods.items()
        ]
        named = [
            f"{name}: {one.task.images} image(s); fields: {', '.join(one.fields) or 'none'};"
            f" verdicts: {', '.join(one.task.choices)}"
            for name, one in answering.tasks.items()
        ]
        return PlainTextResponse("\n".join([*lines, "", "Tasks", *named, ""]))
