"""The review page: an ASGI application over a :class:`ReviewSet`."""

import asyncio
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

from wsol_mm.web.access import AccessGuard
from wsol_mm.web.inside_folder import file_inside

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.exceptions import HTTPException as RoutingError

from .export import export_review
from .map_overlay import map_overlay
from .review_set import STATES, ConflictError, ReviewSet

#: Largest body of a request: that of an image with the most boxes.
_MAX_BODY = 1 << 20
#: What every browser shows itself; other formats are converted.
_MEDIA_TYPES = {'.jpg': 'image/jpeg', '.jpeg': 'image/jpeg', '.png': 'image/png', '.webp': 'image/webp'}
_PAGE = {'': ('index.html', 'text/html'), 'review.js': ('review.js', 'text/javascript'),
         'review.css': ('review.css', 'text/css')}  # fmt: skip
#: Of what does not change while the server runs.
_KEPT = {'cache-control': 'private, max-age=3600'}


def review_app(
    review: ReviewSet, folder: Path, out: Path, maps: Path | None = None, token: str | None = None
) -> AccessGuard:
    """Make the application.

    Args:
        review: What is reviewed.
        folder: Folder of the images.
        out: File of the export.
        maps: Folder of the localization maps, ``<image>.npz``.
        token: What requests must carry; None on loopback.

    Returns:
        An ASGI application.
    """
    app = FastAPI(title='wsol_mm review', docs_url=None, redoc_url=None, openapi_url=None)
    class_index = {category: index for index, category in enumerate(review.categories)}

    @app.exception_handler(ValueError)
    def wrong_value(request: Request, error: ValueError) -> JSONResponse:
        return JSONResponse({'error': str(error)}, 422)

    @app.exception_handler(OSError)
    def unwritten(request: Request, error: OSError) -> JSONResponse:
        return JSONResponse({'error': f'expected a disk that can be written, got an error: {error}'}, 507)

    @app.exception_handler(RoutingError)
    def refused(request: Request, error: RoutingError) -> JSONResponse:
        return JSONResponse({'error': error.detail}, error.status_code)

    @app.exception_handler(ConflictError)
    def conflict(request: Request, error: ConflictError) -> JSONResponse:
        return JSONResponse({'error': str(error), 'image': described(error.image_id)}, 409)

    def described(image_id: int) -> dict[str, Any]:
        image = review.images[image_id]
        state = image.state
        return {
            'id': image_id,
            'name': image.entry['file_name'],
            'width': image.width,
            'height': image.height,
            'certainty': image.certainty,
            'version': state.version,
            'verdict': state.verdict,
            'corrected': image.is_corrected,
            'by': state.by,
            'time': state.time,
            'boxes': [
                {
                    **box._asdict(),
                    'means': image.means(box),
                    'certainty': _number(image.originals.get(box.id) if box.id is not None else None),
                }
                for box in state.boxes
            ],
        }

    def known(image_id: int) -> int:
        if image_id not in review.images:
            raise HTTPException(404, f'image: expected the id of an image, got {image_id}')
        return image_id

    @app.get('/api/summary')
    def summary() -> dict[str, Any]:
        return {
            'categories': [{'id': key, 'name': name} for key, name in review.categories.items()],
            'counts': review.counts(),
            'states': STATES,
            'has_maps': maps is not None,
            'out': str(out),
            'reviewer': review.reviewer,
        }

    @app.get('/api/queue')
    def queue(
        category: int | None = None, low: float = 0.0, high: float = 1.0, state: str = 'all'
    ) -> dict[str, Any]:
        ids = review.queue(category, low, high, state)
        return {'ids': ids, 'open': [int(review.images[key].state.verdict is None) for key in ids]}

    @app.get('/api/images/{image_id}')
    def one_image(image_id: int) -> dict[str, Any]:
        return described(known(image_id))

    @app.post('/api/images/{image_id}')
    async def change(image_id: int, request: Request) -> dict[str, Any]:
        known(image_id)
        await asyncio.to_thread(review.change, image_id, await _json(request))
        return {'image': described(image_id), 'counts': review.counts()}

    @app.post('/api/undo')
    async def undo(request: Request) -> dict[str, Any]:
        tab = (await _json(request)).get('tab')
        image_id = await asyncio.to_thread(review.undo, tab) if isinstance(tab, str) else None
        return {'image': None if image_id is None else described(image_id), 'counts': review.counts()}

    @app.post('/api/export')
    async def export(request: Request) -> dict[str, Any]:
        only_right = bool((await _json(request)).get('only_right'))
        written = await asyncio.to_thread(export_review, review, out, only_right)
        return {'out': str(out), **written}

    @app.get('/api/images/{image_id}/file')
    def image_file(image_id: int) -> Response:
        name = review.images[known(image_id)].entry['file_name']
        path = file_inside(folder, name)
        if path is None:
            raise HTTPException(404, f'{name}: expected an image in {folder}, got none')
        media_type = _MEDIA_TYPES.get(path.suffix.lower())
        if media_type is not None:
            return FileResponse(path, media_type=media_type, headers=_KEPT)
        return Response(_as_png(path), media_type='image/png', headers=_KEPT)

    @app.get('/api/images/{image_id}/map')
    def image_map(image_id: int, category: int | None = Query(None)) -> Response:
        name = review.images[known(image_id)].entry['file_name']
        path = None if maps is None else file_inside(maps, f'{name}.npz')
        if path is None:
            raise HTTPException(404, f'{name}: expected a map of this image, got none')
        label = None if category is None else class_index.get(category)
        return Response(map_overlay(path, label), media_type='image/png', headers=_KEPT)

    @app.get('/{name:path}')
    def page(name: str) -> Response:
        if name not in _PAGE:
            raise HTTPException(404, f'/{name}: expected a page, got none')
        file, media_type = _PAGE[name]
        content = (files(__package__) / 'page' / file).read_bytes()
        return Response(content, media_type=media_type, headers={'cache-control': 'no-cache'})

    return AccessGuard(app, token, _MAX_BODY)


def _as_png(path: Path) -> bytes:
    # Here, because the data sets bring PyTorch with them, which takes seconds and few reviews need.
    from wsol_mm.datasets.dataset_problems import UnreadableImage
    from wsol_mm.datasets.readers.image_files import open_image, rgb_image, upright

    content = BytesIO()
    try:
        with open_image(path) as image:
            rgb_image(upright(image)).save(content, 'PNG', compress_level=1)
    except (UnreadableImage, ValueError) as error:
        raise HTTPException(404, f'{path.name}: expected an image, got another content: {error}') from error
    return content.getvalue()


async def _json(request: Request) -> dict[str, Any]:
    try:
        content = await request.json()
    except ValueError as error:
        raise ValueError(f'body: expected JSON, got another content ({error})') from error
    if not isinstance(content, dict):
        raise ValueError(f'body: expected an object of JSON, got {content!r:.80}')
    return content


def _number(annotation: dict | None) -> float | None:
    """Return how certain a box is, None of a drawn one."""
    if annotation is None:
        return None
    value = annotation.get('confidence', annotation.get('score'))
    return None if value is None else float(value)
