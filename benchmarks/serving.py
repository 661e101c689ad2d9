r"""Load a server of a model on this machine: requests per second, how long they take, and wrong ones.

    python -m benchmarks.serving CONFIG CHECKPOINT photos
    python -m benchmarks.serving CONFIG CHECKPOINT photos --clients 1 4 16 64 --requests 1000

Starts tools/serve.py in a process of its own and asks it over loopback, from as many connections at a time as
there are clients, each of which sends its next image when it has the last answer. Client and server share the
cores. Then come forty wrong requests, each of which must be refused with the right status and reason, and
the same image as at first, whose boxes must be the same.
"""

import argparse
import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

from wsol_mm.cli.argument_types import integer_within
from wsol_mm.cli.config_options import add_cfg_options
from wsol_mm.datasets.readers.image_files import IMAGE_EXTENSIONS, list_images

import httpx
import numpy as np

from .wrong_requests import wrong_requests

REPO_DIR = Path(__file__).resolve().parents[1]
MEGABYTES, MEGAPIXELS = 2, 4


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('config', help='config of the model')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument('photos', type=Path, help='folder of images')
    parser.add_argument(
        '--clients', type=integer_within(1), nargs='+', default=[1, 8, 32], help='how many at a time'
    )
    parser.add_argument('--requests', type=integer_within(1), default=500, help='requests in all, per row')
    parser.add_argument('--device', help='device of the model')
    parser.add_argument('--batch-size', type=integer_within(1), default=16, help='largest batch')
    add_cfg_options(parser)
    return parser.parse_args(arguments)


def start_server(args: argparse.Namespace) -> tuple[subprocess.Popen, str]:
    """Start the server; return its process and its address."""
    command = [sys.executable, str(REPO_DIR / 'tools' / 'serve.py'), args.config, args.checkpoint]
    command += ['--port', '0', '--batch-size', str(args.batch_size)]
    command += ['--max-megabytes', str(MEGABYTES), '--max-megapixels', str(MEGAPIXELS)]
    if args.device:
        command += ['--device', args.device]
    if args.cfg_options:
        command += ['--cfg-options', *(f'{key}={value}' for key, value in args.cfg_options.items())]
    paths = os.pathsep.join(filter(None, [str(REPO_DIR), os.environ.get('PYTHONPATH')]))
    process = subprocess.Popen(
        command, env=os.environ | {'PYTHONPATH': paths}, text=True, stdout=subprocess.PIPE
    )
    for line in process.stdout or ():
        if found := re.search(r'(http://127\.0\.0\.1:\d+)/', line):
            return process, found[1]
    raise SystemExit(f'{" ".join(command)}: expected a server, got status {process.wait()}')


async def load(address: str, bodies: Sequence[bytes], clients: int) -> tuple[float, list[float]]:
    """Send all images from a number of clients; return the seconds in all, and those of each request."""
    left = iter(bodies)
    durations = []

    async def client() -> None:
        async with httpx.AsyncClient(base_url=address, timeout=120) as web:
            for body in left:
                start = time.perf_counter()
                answer = await web.post('/predict', content=body)
                durations.append(time.perf_counter() - start)
                answer.raise_for_status()

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return time.perf_counter() - start, durations


def counted(address: str) -> tuple[int, int]:
    """Return how many batches and images the server has worked on."""
    text = httpx.get(f'{address}/metrics').text
    batches, images = (
        re.search(rf'^wsol_mm_{name}_total (\d+)', text, re.MULTILINE) for name in ('batches', 'images')
    )
    return int(batches[1] if batches else 0), int(images[1] if images else 0)


def send_wrong_requests(address: str) -> int:
    """Send all wrong requests; print the answers, and return how many are not as they must be."""
    wrong = 0
    print('\nwrong request                          status  answer')
    for request in wrong_requests(MEGABYTES << 20, MEGAPIXELS * 1_000_000):
        answer = httpx.request(
            request.method, address + request.path, content=request.body, headers=request.headers, timeout=60
        )
        said = answer.json()['error']
        fits = answer.status_code == request.status and request.answer in said
        wrong += not fits
        mark = '' if fits else '   <-- not as expected'
        print(f'{request.name:38} {answer.status_code:6}  {said[:110]}{mark}')
    return wrong


def main(arguments: list[str] | None = None) -> int:
    """Run the load, and print what came out.

    Args:
        arguments: Command line; that of the process if None.

    Returns:
        Exit status: 1 if a wrong request was not refused as it must be.
    """
    args = parse_args(arguments)
    names, _ = list_images(args.photos)
    if not names:
        raise SystemExit(f'{args.photos}: expected images ({", ".join(IMAGE_EXTENSIONS)}), got none')
    bodies = [(args.photos / name).read_bytes() for name in names[:500]]
    server, address = start_server(args)
    try:
        first = httpx.post(f'{address}/predict', content=bodies[0], timeout=120).raise_for_status().json()
        asyncio.run(load(address, list(islice(cycle(bodies), 32)), 4))  # warm-up
        print('clients  requests/s  images per batch  median ms  p99 ms')
        for clients in args.clients:
            before = counted(address)
            seconds, durations = asyncio.run(
                load(address, list(islice(cycle(bodies), args.requests)), clients)
            )
            after = counted(address)
            size = (after[1] - before[1]) / (after[0] - before[0])
            median, p99 = 1000 * np.percentile(durations, [50, 99])
            print(f'{clients:7}  {args.requests / seconds:10.1f}  {size:16.1f}  {median:9.1f}  {p99:6.1f}')
        wrong = send_wrong_requests(address)
        last = httpx.post(f'{address}/predict', content=bodies[0], timeout=120).raise_for_status().json()
        print(f'\n{wrong} not refused as they must be; the same image has the same boxes: {first == last}')
        return int(wrong > 0 or first != last)
    finally:
        server.terminate()
        server.wait()


if __name__ == '__main__':
    raise SystemExit(main())
