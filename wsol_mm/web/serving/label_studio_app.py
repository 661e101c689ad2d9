"""A machine learning backend of Label Studio: predicted boxes for the tasks that are opened there.

Label Studio sends ``GET health``, ``POST setup`` with the labelling interface, and ``POST predict`` with
tasks (https://labelstud.io/guide/ml_create). Images are those in the folder of its local files alone.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from wsol_mm.annotation_formats.image_annotation import ImageAnnotation
from wsol_mm.annotation_formats.label_studio import LOCAL_FILES, rectangles
from wsol_mm.apis import LocalizationResult
from wsol_mm.utils.json_text import parse_json
from wsol_mm.web.inside_folder import file_inside

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse

_TAG = re.compile(r'<RectangleLabels\b[^>]*>')
_NAMES = ('name="label"', 'toName="image"')
# Of the tasks of a request, which may be more than the server lets wait.
_AT_ONCE = 8
# The server cannot answer now: that says nothing of an image.
_SERVER_TROUBLE = (503, 504)


def label_studio_routes(
    localize: Callable[[bytes], Awaitable[LocalizationResult]], folder: Path, model: str, max_queue: int
) -> APIRouter:
    """Make the routes.

    Args:
        localize: Finds the box of an image, given as the content of a file.
        folder: Folder of the images, the root of Label Studio's local files.
        model: Name of the model.
        max_queue: Images that the server lets wait; no more tasks are worked on at a time.

    Returns:
        Routes of ``/label-studio``.
    """
    router = APIRouter(prefix='/label-studio')
    turns = asyncio.Semaphore(min(_AT_ONCE, max_queue))

    async def prediction(task: Any) -> dict[str, Any]:
        """Predict a task; what cannot be used has no boxes and says why, and the others go on."""
        try:
            path, name = _image(task, folder)
            async with turns:
                result = await localize(await asyncio.to_thread(path.read_bytes))
        except HTTPException as error:
            if error.status_code in _SERVER_TROUBLE:
                raise
            return _no_prediction(model, error.detail)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            return _no_prediction(
                model, f'data.image: expected a file that can be read, got {name!r}: {reason}'
            )
        kept = list(result.kept())
        _, classes, scores, boxes, confidences = zip(*kept, strict=True) if kept else ((),) * 5
        corners = [box.tolist() for box in boxes]
        annotation = ImageAnnotation(
            1, name, name, result.size, range(len(kept)), scores, corners, confidences
        )
        regions = rectangles(annotation, classes)
        return {'result': regions, 'score': min(confidences, default=0.0), 'model_version': model}

    @router.get('/health')
    async def health() -> dict[str, str]:
        return {'status': 'UP', 'model_class': model}

    @router.post('/setup')
    async def setup(request: Request) -> dict[str, str]:
        schema = (await _body(request)).get('schema') or ''
        tags = _TAG.findall(str(schema))
        if tags and not any(all(name in tag for name in _NAMES) for tag in tags):
            raise HTTPException(
                422, f'schema: expected RectangleLabels with {" and ".join(_NAMES)}, got {tags[0][:200]}'
            )
        return {'model_version': model}

    @router.post('/predict')
    async def predict(request: Request) -> JSONResponse:
        tasks = (await _body(request)).get('tasks')
        if not isinstance(tasks, list):
            raise HTTPException(422, f'tasks: expected a list, got {str(tasks)[:80]!r}')
        predictions = [asyncio.ensure_future(prediction(task)) for task in tasks]
        try:
            results = await asyncio.gather(*predictions)
        finally:  # after an error, the others are not worked on for nothing
            for waiting in predictions:
                waiting.cancel()
        return JSONResponse({'results': results, 'model_version': model})

    return router


def _no_prediction(model: str, reason: str) -> dict[str, Any]:
    return {'result': [], 'score': 0.0, 'model_version': model, 'error': reason}


async def _body(request: Request) -> dict[str, Any]:
    try:
        content = parse_json(await request.body(), 'body')
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    if not isinstance(content, dict):
        raise HTTPException(422, f'body: expected a JSON object, got a {type(content).__name__}')
    return content


def _image(task: Any, folder: Path) -> tuple[Path, str]:
    """Return the file of a task's image, and its path in the folder."""
    data = task.get('data') if isinstance(task, dict) else None
    address = data.get('image') if isinstance(data, dict) else None
    parts = urlsplit(address) if isinstance(address, str) else None
    names = parse_qs(parts.query, errors='surrogateescape').get('d') if parts else None
    if parts is None or names is None or not parts.path.endswith(LOCAL_FILES.partition('?')[0]):
        raise HTTPException(422, f'data.image: expected {LOCAL_FILES}..., got {str(address)[:200]!r}')
    path = file_inside(folder, names[0])
    if path is None:
        raise HTTPException(404, f'data.image: expected a file in {folder}, got nothing at {names[0]!r}')
    return path, names[0]
