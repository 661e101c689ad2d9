"""The server of a model: an ASGI application over a :class:`LocalizationService`."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from wsol_mm.apis import LocalizationResult
from wsol_mm.web.access import AccessGuard

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException as RoutingError

from .batching import BusyError, RequestBatcher
from .label_studio_app import label_studio_routes
from .localization_service import Answer, LocalizationService, Question, UnusableImageError, result_as_json
from .metrics import ServerMetrics

_PAGE = {'/': ('index.html', 'text/html'), '/serve.js': ('serve.js', 'text/javascript'),
         '/serve.css': ('serve.css', 'text/css')}  # fmt: skip
#: What a request may say beside the image, in the address or as fields of a form.
_PARAMETERS = ('topk', 'score_thr', 'min_confidence', 'output')
_OUTPUTS = ('json', 'picture')


def serving_app(
    service: LocalizationService,
    name: str,
    batch_size: int = 16,
    max_wait: float = 0.005,
    max_queue: int = 128,
    token: str | None = None,
    label_studio: Path | None = None,
) -> AccessGuard:
    """Make the application.

    Args:
        service: The model.
        name: What it is called.
        batch_size: Images in the largest batch.
        max_wait: Seconds that an image waits for others to make a batch.
        max_queue: Images that may wait; further ones are refused.
        token: What requests must carry; None on loopback.
        label_studio: Folder of the images for which Label Studio may ask; None for none.

    Returns:
        An ASGI application.
    """
    metrics = ServerMetrics()
    limits = service.limits

    def work(questions: list) -> list:
        metrics.batch(len(questions))
        return service.answers(questions)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.batcher = RequestBatcher(work, batch_size, max_wait, max_queue)
        app.state.drawing = asyncio.Lock()
        await app.state.batcher.start()
        yield
        await app.state.batcher.stop()

    app = FastAPI(title='wsol_mm', docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)

    @app.exception_handler(RoutingError)
    def refused(request: Request, error: RoutingError) -> JSONResponse:
        reason = error.detail
        if not isinstance(error, HTTPException):  # of the router: no such address, or method of one
            known = sorted({getattr(route, 'path', '') for route in app.routes})
            reason = f'{request.url.path[:100]}: expected one of {", ".join(known)}, got none of them'
            if allowed := (error.headers or {}).get('Allow'):
                reason = f'{request.url.path}: expected {allowed}, got {request.method}'
        return JSONResponse({'error': reason}, error.status_code, headers=error.headers)

    async def localized(content: bytes, topk: int) -> tuple[Question, Answer]:
        try:
            question = await asyncio.to_thread(service.question, content, topk)
        except UnusableImageError as error:
            raise HTTPException(415, str(error)) from error
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        try:
            answer = await asyncio.wait_for(app.state.batcher.submit(question), limits.timeout)
        except BusyError as error:
            raise HTTPException(503, f'server: {error}', {'retry-after': '1'}) from error
        except asyncio.TimeoutError as error:
            reason = f'server: expected an answer within {limits.timeout:g} s, got none'
            raise HTTPException(504, reason) from error
        if not answer.result.finite:
            raise HTTPException(500, 'model: expected finite scores and maps, got NaN or infinity')
        return question, answer

    async def answered(request: Request) -> Response:
        content, parameters = await _content(request)
        topk, score_thr, min_confidence, output = _checked(parameters)
        question, answer = await localized(content, topk)
        if output == 'picture':
            async with app.state.drawing:
                picture = await asyncio.to_thread(
                    service.picture, question, answer, score_thr, min_confidence
                )
            return Response(picture, media_type='image/png')
        return JSONResponse(result_as_json(answer.result, score_thr, min_confidence))

    @app.post('/predict')
    async def predict(request: Request) -> Response:
        start = time.perf_counter()
        status = 500
        try:
            response = await answered(request)
            status = response.status_code
            return response
        except HTTPException as error:
            status = error.status_code
            raise
        finally:
            metrics.request(status, time.perf_counter() - start)

    @app.get('/health')
    async def health() -> dict[str, Any]:
        return {'status': 'ok', 'model': name, 'waiting': app.state.batcher.num_waiting}

    @app.get('/metrics')
    async def numbers() -> Response:
        return Response(metrics.text(app.state.batcher.num_waiting), media_type='text/plain; version=0.0.4')

    @app.get('/classes')
    async def classes() -> list[str]:
        return list(service.inferencer.classes)

    if label_studio is not None:

        async def best(content: bytes) -> LocalizationResult:
            return (await localized(content, 1))[1].result

        app.include_router(label_studio_routes(best, label_studio, name, max_queue))

    async def page(request: Request) -> Response:
        file, media_type = _PAGE[request.url.path]
        content = (files(__package__) / 'page' / file).read_bytes()
        return Response(content, media_type=media_type, headers={'cache-control': 'no-cache'})

    for address in _PAGE:
        app.get(address)(page)

    # A form adds a little around the image.
    return AccessGuard(app, token, limits.max_bytes + 4096, open_paths=('/health',))


async def _content(request: Request) -> tuple[bytes, dict[str, str]]:
    """Return the image and the parameters: the body and the address, or the fields of a form."""
    parameters = dict(request.query_params)
    kind = request.headers.get('content-type', '').partition(';')[0].strip().lower()
    if kind != 'multipart/form-data':  # curl says of any file that it is a form
        return await request.body(), parameters
    try:
        async with request.form(max_files=2, max_fields=8) as form:
            uploads = [value for value in form.values() if isinstance(value, UploadFile)]
            if len(uploads) != 1:
                raise HTTPException(422, f'form: expected one file, got {len(uploads)}')
            fields = {key: value for key, value in form.items() if isinstance(value, str)}
            return await uploads[0].read(), parameters | fields
    except RoutingError as error:
        if error.status_code != 400:
            raise
        # How Starlette says that a form does not parse.
        reason = f'form: expected multipart/form-data, got another body: {error.detail}'
        raise HTTPException(422, reason) from error


def _checked(parameters: dict[str, str]) -> tuple[int, float, float, str]:
    unknown = sorted(set(parameters) - {*_PARAMETERS, 'token'})
    if unknown:
        raise HTTPException(422, f'parameters: expected {", ".join(_PARAMETERS)}, got {unknown[0][:80]!r}')
    topk = parameters.get('topk', '1')
    output = parameters.get('output', 'json')
    if not (topk.isascii() and topk.isdecimal() and len(topk) < 10):
        raise HTTPException(422, f'topk: expected an integer from 1, got {topk[:80]!r}')
    shares = [_share(name, parameters.get(name, '0')) for name in ('score_thr', 'min_confidence')]
    if output not in _OUTPUTS:
        raise HTTPException(422, f"output: expected 'json' or 'picture', got {output[:80]!r}")
    return int(topk), shares[0], shares[1], output


def _share(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise HTTPException(422, f'{name}: expected a number in [0, 1], got {text[:80]!r}')
    return number
