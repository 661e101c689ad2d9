"""A real browser without a window, and what a hand does with it on the review page.

For the labelling day, the pictures of the docs, and the tests.
"""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_ARGUMENTS = (
    '--no-sandbox',
    '--disable-gpu',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
)


def chromium_path() -> str | None:
    """Return the Chromium of the variable CHROMIUM or of PATH, if there is one."""
    return os.environ.get('CHROMIUM') or shutil.which('chromium') or shutil.which('google-chrome')


@contextmanager
def chromium() -> Iterator:
    """Start Chromium.

    Raises:
        ImportError: If Playwright is missing.
        FileNotFoundError: If there is no Chromium.
    """
    from playwright.sync_api import sync_playwright

    path = chromium_path()
    if path is None:
        raise FileNotFoundError(
            'chromium: expected the command on PATH or in the variable CHROMIUM, got none'
        )
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(_ARGUMENTS))
        yield browser
        browser.close()


@contextmanager
def served(app) -> Iterator[str]:
    """Serve an application in a thread; yield its address."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level='error'))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f'http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/'
    server.should_exit = True
    thread.join()


def ready(page, address: str) -> None:
    """Open the review page and wait for its first image."""
    page.goto(address)
    page.wait_for_selector('body[data-ready]')


def on_image(page, x: float, y: float) -> tuple[float, float]:
    """Return the place on the screen of a point of the image, in its pixels."""
    scale, left, top = page.evaluate(
        """() => {
            const box = document.getElementById('image').getBoundingClientRect();
            const width = document.getElementById('overlay').viewBox.baseVal.width;
            return [box.width / width, box.left, box.top];
        }"""
    )
    return left + x * scale, top + y * scale


def drag(page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag the mouse from a point of the image to another."""
    page.mouse.move(*on_image(page, *start))
    page.mouse.down()
    page.mouse.move(*on_image(page, *end), steps=4)
    page.mouse.up()


def settled(page) -> None:
    """Wait until all is on the server's disk and shown."""
    page.wait_for_selector('#saved:not(.busy)', state='attached')
