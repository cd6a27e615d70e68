"""Scorers over HTTP, with an OpenAPI page: for trainers whose environment is not this one."""

from __future__ import annotations

import asyncio
import hmac
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from harness.base.errors import unknown
from harness.scorers.messages import (
    AskedPrompt,
    Described,
    Health,
    ScoreAnswer,
    ScoreRequest,
    decoded_images,
)
from harness.scorers.scorer import Scorer, value_of
from harness.scorers.waiting_line import Full, Scores, WaitingLine

#: How often a caller is looked for who may have gone, in seconds.
_LOOK_S = 0.5
_CLIENT_GONE = 499
#: FastAPI looks names of annotations up in the module.
_BEARER = HTTPBearer(auto_error=False)


@dataclass(frozen=True)
class Limits:
    """What one caller may ask for, and all of them together.

    Attributes:
        together: images that are scored together at most.
        images: of one request.
        body_bytes: of one request.
        pixels: of one image.
        waiting: images that wait for a scorer.
    """

    together: int = 32
    images: int = 256
    body_bytes: int = 256 * 2**20
    pixels: int = 4096 * 4096
    waiting: int = 4096


class BodyLimit:
    """Refuses a body that is too large before it is in memory."""

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self._app, self._most_bytes = app, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._most_bytes:
            await JSONResponse({"detail": self._said}, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)(
                scope, receive, send
            )
            return
        n_bytes = 0

        async def counted() -> Message:
            nonlocal n_bytes
            message = await receive()
            n_bytes += len(message.get("body", b""))
            if n_bytes > self._most_bytes:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, self._said)
            return message

        await self._app(scope, counted, send)

    @property
    def _said(self) -> str:
        return f"a request has at most {self._most_bytes} bytes: send fewer images at a time"


def service(scorers: Sequence[Scorer], limits: Limits, token: str = "") -> FastAPI:
    """The application that serves scorers by their names.

    Args:
        token: callers have to send it (``Authorization: Bearer TOKEN``); empty asks for none.
    """
    device = threading.Lock()
    lines = {one.name: WaitingLine(one, limits.together, limits.waiting, device) for one in scorers}

    def allowed(given: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]) -> None:
        sent = given.credentials if given else ""
        if token and not hmac.compare_digest(sent.encode(), token.encode()):
            raise HTTPException(
                HTTPStatus.UNAUTHORIZED, "a token is needed", {"WWW-Authenticate": "Bearer"}
            )

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        yield
        for line in lines.values():
            await run_in_threadpool(line.close)

    app = FastAPI(title="hypernoise scorers", lifespan=running, dependencies=[Depends(allowed)])
    app.add_middleware(BodyLimit, most_bytes=limits.body_bytes)
    app.add_exception_handler(RequestValidationError, _told)

    @app.get("/health")
    def health() -> Health:
        served = []
        for name, line in lines.items():
            metrics = {metric.name: metric.meaning for metric in line.scorer.metrics}
            served.append(Described(name=name, metrics=metrics, waiting_images=line.n_waiting))
        return Health(status="ok", scorers=served)

    @app.post("/score/{name}")
    async def score(name: str, asked: ScoreRequest, request: Request) -> ScoreAnswer:
        if name not in lines:
            raise HTTPException(HTTPStatus.NOT_FOUND, str(unknown("scorer", name, lines)))
        if len(asked.images) > limits.images:
            raise HTTPException(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"a request has at most {limits.images} images, got {len(asked.images)}",
            )
        try:
            return await _answered(lines[name], asked, limits, request)
        except Full as error:
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": "1"}
            ) from error
        except ValueError as error:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error

    return app


async def _answered(
    line: WaitingLine, asked: ScoreRequest, limits: Limits, request: Request
) -> ScoreAnswer:
    prompts = await run_in_threadpool(
        line.scorer.asked,
        [one.model_dump() if isinstance(one, AskedPrompt) else one for one in asked.prompts],
    )
    pixels = await run_in_threadpool(decoded_images, asked.images, limits.pixels)
    if len(pixels) != len(prompts):
        raise ValueError(f"there are {len(pixels)} images and {len(prompts)} prompts")
    scores = await _while_wanted(line.submit(pixels, prompts), request)
    cut = await run_in_threadpool(line.scorer.cuts, prompts)
    texts = {prompt.prompt_id: prompt.text for prompt in prompts}
    return ScoreAnswer(
        scores=[
            {name: None if one.left_out else value_of(one) for name, one in of_image.items()}
            for of_image in scores
        ],
        details=[
            {name: one.detail for name, one in of_image.items() if one.detail}
            for of_image in scores
        ],
        cut_prompts=[texts.get(prompt_id, prompt_id) for prompt_id in cut["cut"]],
    )


async def _while_wanted(answer: Future[Scores], request: Request) -> Scores:
    """An answer, unless its caller has gone before its turn."""
    waited = asyncio.wrap_future(answer)
    while True:
        done, _ = await asyncio.wait([waited], timeout=_LOOK_S)
        if done:
            return waited.result()
        if await request.is_disconnected():
            waited.cancel()
            raise HTTPException(_CLIENT_GONE, "the caller has gone")


async def _told(_: Request, error: Any) -> JSONResponse:
    """What is wrong with a request, without the images that it had."""
    faults = [f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()]
    return JSONResponse({"detail": "; ".join(faults)}, HTTPStatus.UNPROCESSABLE_ENTITY)
