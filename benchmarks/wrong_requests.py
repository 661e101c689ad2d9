"""Forty requests that a server of a model must refuse, with the answer to each."""

from collections.abc import Iterator
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image


class WrongRequest(NamedTuple):
    """A request, and how it is refused.

    Attributes:
        name: What is wrong with it.
        status: Status of the answer.
        answer: What the answer's ``error`` contains.
        method: Of HTTP.
        path: With the query.
        body: Content; None for none.
        headers: Further headers.
    """

    name: str
    status: int
    answer: str
    method: str = 'POST'
    path: str = '/predict'
    body: bytes | None = None
    headers: dict[str, str] = {}


def image_file(
    size: tuple[int, int] = (48, 40), mode: str = 'RGB', kind: str = 'PNG', **options: object
) -> bytes:
    """Return the content of a small image file of noise."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], channels), np.uint8)
    image = Image.fromarray(pixels.squeeze())
    content = BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def form(*parts: tuple[str, str | None, bytes], boundary: str = 'limit') -> bytes:
    """Return the body of a form: name, file name or None, and content of every field."""
    lines = b''
    for name, file, content in parts:
        file_name = '' if file is None else f'; filename="{file}"'
        lines += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file_name}\r\n\r\n'.encode()
        lines += content + b'\r\n'
    return lines + f'--{boundary}--\r\n'.encode()


def wrong_requests(max_bytes: int, max_pixels: int) -> list[WrongRequest]:
    """Make the requests.

    Args:
        max_bytes: Largest file that the server takes.
        max_pixels: Pixels of the largest image that it takes.

    Returns:
        The requests.
    """
    return [*_contents(max_bytes, max_pixels), *_parameters(), *_forms(), *_paths()]


def _contents(max_bytes: int, max_pixels: int) -> Iterator[WrongRequest]:
    png, jpeg = image_file(), image_file(kind='JPEG')
    no_image = 'image: expected the content of an image file, got '
    float_tiff = BytesIO()
    Image.fromarray(np.zeros((8, 8), np.float32)).save(float_tiff, 'TIFF')
    deep_tiff = BytesIO()
    Image.fromarray(np.full((8, 8), 1 << 20, np.int32)).save(deep_tiff, 'TIFF')
    for name, body in (
        ('nothing', b''),
        ('text', b'a photograph'),
        ('JSON', b'{"image": "photo.jpg"}'),
        ('an address', b'http://localhost/photo.jpg'),
        ('a path', b'/etc/passwd'),
        ('HTML', b'<html><img src="a.jpg"></html>'),
        ('SVG', b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
        ('zeros', bytes(1000)),
        ('base64', b'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ'),
        ('a PDF', b'%PDF-1.7\n1 0 obj\n<<>>\nendobj'),
        ('a zip file', b'PK\x03\x04' + bytes(60)),
        ('the start of a PNG', png[:8]),
        ('half a PNG', png[: len(png) // 2]),
        ('half a JPEG', jpeg[: len(jpeg) // 2]),
        ('a PNG with a broken header', png[:16] + b'\xff' * 8 + png[24:]),
        ('a TIFF of floating-point numbers', float_tiff.getvalue()),
        ('a TIFF of 32 bits', deep_tiff.getvalue()),
    ):
        answer = 'image: expected' if name == 'a PNG with a broken header' else no_image
        yield WrongRequest(name, 415, answer, body=body)
    side = int(max_pixels**0.5) + 1
    large = BytesIO()
    Image.new('1', (side, side)).save(large, 'PNG')
    yield WrongRequest(
        'too many pixels',
        415,
        f'image: expected at most {max_pixels} pixels, got {side} x {side}',
        body=large.getvalue(),
    )
    yield WrongRequest('too many bytes', 413, 'body: expected at most', body=bytes(max_bytes + 5000))
    yield WrongRequest('far too many bytes', 413, 'body: expected at most', body=bytes(max_bytes * 2))


def _parameters() -> Iterator[WrongRequest]:
    png = image_file()
    for name, query, answer in (
        ('topk 0', 'topk=0', 'topk: expected an integer from 1 to'),
        ('topk of too many', 'topk=1000', 'topk: expected an integer from 1 to'),
        ('topk below 0', 'topk=-1', "topk: expected an integer from 1, got '-1'"),
        ('topk a word', 'topk=all', "topk: expected an integer from 1, got 'all'"),
        ('topk of other digits', 'topk=%D9%A3', 'topk: expected an integer from 1, got'),
        ('topk of a thousand digits', f'topk={"9" * 1000}', 'topk: expected an integer from 1, got'),
        ('score_thr above 1', 'score_thr=2', "score_thr: expected a number in [0, 1], got '2'"),
        ('score_thr nan', 'score_thr=nan', "score_thr: expected a number in [0, 1], got 'nan'"),
        ('score_thr a word', 'score_thr=high', "score_thr: expected a number in [0, 1], got 'high'"),
        ('another output', 'output=xml', "output: expected 'json' or 'picture', got 'xml'"),
        (
            'an unknown parameter',
            'top_k=3',
            "parameters: expected topk, score_thr, min_confidence, output, got 'top_k'",
        ),
    ):
        yield WrongRequest(name, 422, answer, path=f'/predict?{query}', body=png)


def _forms() -> Iterator[WrongRequest]:
    kind = {'content-type': 'multipart/form-data; boundary=limit'}
    png = image_file()
    one = ('file', '1.png', png)
    for name, body, headers, answer in (
        ('a form without a file', form(('topk', None, b'1')), kind, 'form: expected one file, got 0'),
        ('a form of two files', form(one, ('other', '2.png', png)), kind, 'form: expected one file, got 2'),
        ('a form without its limits', png, kind, 'form: expected'),
        ('a form that does not say its limits', form(one), {'content-type': 'multipart/form-data'}, 'form: '),
        ('a form with a wrong field', form(one, ('topk', None, b'x')), kind, 'topk: expected an integer'),
    ):
        yield WrongRequest(name, 422, answer, body=body, headers=headers)


def _paths() -> Iterator[WrongRequest]:
    yield WrongRequest('GET of predict', 405, '/predict: expected POST, got GET', 'GET')
    yield WrongRequest('a path upwards', 404, 'expected one of /', 'GET', '/%2e%2e/%2e%2e/etc/passwd')
    yield WrongRequest('DELETE', 405, '/predict: expected POST, got DELETE', 'DELETE')
    yield WrongRequest(
        'another site',
        403,
        'Origin: expected a page of',
        body=image_file(),
        headers={'origin': 'http://elsewhere.example'},
    )
