"""What is wrong with a request, or why it has no answer: a status, a code for programs, and plain words.

Every error of the app has one form, {"error": {"message", "type", "code"}}, as the openai client reads it. A bug
answers 500 without its text, and keeps its traceback in the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from mtrl.core import schema
from mtrl.core.errors import UserError, printable
from mtrl.core.schema import M

SHOWN = 80  # characters of the client's own text that a message repeats


class Problem(Exception):
    """A request that is not answered; str() is the message, in plain words."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        headers: Mapping[str, str] | None = None,
        details: Any = None,
    ) -> None:
        """`status` is HTTP's, `code` one word for programs. `details` are added to the error, if any."""
        super().__init__(message)
        self.status, self.code, self.headers, self.details = status, code, dict(headers or {}), details

    @property
    def body(self) -> dict[str, Any]:
        """The reply's JSON."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {
            "message": str(self),
            "type": "authentication_error" if self.status == 401 else kind,
            "code": self.code,
        }
        return {"error": error | ({} if self.details is None else {"details": self.details})}

    @property
    def response(self) -> JSONResponse:
        return JSONResponse(self.body, self.status, self.headers)


def quoted(text: object) -> str:
    """What a client sent, as a message shows it: printable, in quotes and cut."""
    line = " ".join(printable(str(text)[: 2 * SHOWN]).split())
    return repr(line if len(line) <= SHOWN else line[: SHOWN - 3] + "...")


def validated(model: type[M], data: Any) -> M:
    """A part of a request as `model`. Raises Problem (400), with all mistakes in one line."""
    try:
        return schema.validate(model, data, "")
    except UserError as error:
        raise Problem(400, "invalid_request", "; ".join(str(error).removeprefix("\n  - ").split("\n  - "))) from None


def install(app: FastAPI) -> None:
    """Gives every error of `app` the one form: a Problem, an unknown path or method, and a bug.

    FastAPI validates nothing here: every path gets the whole Request."""

    async def problem(_: Request, error: Problem) -> JSONResponse:
        return error.response

    async def http(request: Request, error: HTTPException) -> JSONResponse:
        words = HTTPStatus(error.status_code)
        of = f": {request.method} {quoted(request.url.path)}" if error.status_code in (404, 405) else ""
        return Problem(error.status_code, words.name.lower(), f"{words.phrase}{of}", error.headers).response

    async def bug(_: Request, error: Exception) -> JSONResponse:
        return Problem(500, "internal_error", "this is a bug of mtrl; the server's log has it").response

    handlers: dict[Any, Any] = {Problem: problem, HTTPException: http, Exception: bug}
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
