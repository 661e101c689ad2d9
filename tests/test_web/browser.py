"""The scripted browser, for tests that need it."""

from collections.abc import Iterator
from contextlib import contextmanager

from demo import scripted_browser
from demo.scripted_browser import drag, on_image, ready, served, settled

import pytest

__all__ = ['chromium', 'drag', 'on_image', 'ready', 'served', 'settled']


@contextmanager
def chromium() -> Iterator:
    """Start Chromium; skip the test where there is none."""
    pytest.importorskip('playwright.sync_api', reason='needs playwright')
    if scripted_browser.chromium_path() is None:
        pytest.skip('needs Chromium')
    with scripted_browser.chromium() as browser:
        yield browser
