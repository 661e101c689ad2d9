"""Make the pictures of docs/review.md: python docs/make_review_pictures.py BOXES.json PHOTOS MAPS.

The boxes are those that tools/predict.py finds in the embedded data set; docs/make_pictures.sh calls this.
Needs Playwright and Chromium (the variable CHROMIUM, or the one on PATH).
"""

import shutil
import sys
import tempfile
from io import BytesIO
from pathlib import Path

REPO_DIR = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO_DIR))

from demo.scripted_browser import chromium, drag, ready, served, settled  # noqa: E402
from wsol_mm.web.review.review_app import review_app  # noqa: E402
from wsol_mm.web.review.review_set import ReviewSet  # noqa: E402

from PIL import Image  # noqa: E402
from playwright.sync_api import Page  # noqa: E402

DESKTOP, PHONE = dict(width=1200, height=700), dict(width=390, height=700)


def main() -> None:
    """Review some boxes, and keep what it looks like."""
    boxes, photos, maps = map(Path, sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copy(boxes, folder))
        review = ReviewSet(copy, copy.with_suffix('.journal'), 'anna')
        with served(review_app(review, photos, copy.with_suffix('.out'), maps)) as address:
            take_pictures(address, drawn_objects(photos.parent))


def drawn_objects(root: Path) -> dict[str, tuple[float, ...]]:
    """Read where the objects of the embedded data set are: x0, y0, x1, y1 by path."""
    paths = dict(line.split() for line in (root / 'images.txt').read_text().splitlines())
    found = {}
    for line in (root / 'bounding_boxes.txt').read_text().splitlines():
        number, *sides = line.split()
        x, y, width, height = map(float, sides)
        found[paths[number]] = (x, y, x + width, y + height)
    return found


def shown_box(page: Page) -> tuple[float, ...]:
    """Return x0, y0, x1, y1 of the selected box."""
    sides = page.evaluate(
        """() => ['x', 'y', 'width', 'height'].map(
            (name) => Number(document.querySelector('.selected .edge').getAttribute(name)))"""
    )
    x, y, width, height = sides
    return x, y, x + width, y + height


def take_pictures(address: str, objects: dict[str, tuple[float, ...]]) -> None:
    """Take them, into docs/images."""
    with chromium() as browser:
        page = browser.new_page(viewport=DESKTOP)
        ready(page, address)
        for key in ('Enter', 'Enter', 'x', 'Enter'):
            page.keyboard.press(key)
            settled(page)
        keep('review', [page.screenshot()])
        page.keyboard.press('m')
        page.select_option('#boxes select', label=page.inner_text('#name').partition('/')[0])
        settled(page)
        before, after = shown_box(page), objects[page.inner_text('#name')]
        drag(page, before[:2], after[:2])
        settled(page)
        drag(page, before[2:], after[2:])
        settled(page)
        page.wait_for_timeout(300)
        pictures = [page.screenshot()]
        phone = browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True).new_page()
        ready(phone, address)
        phone.wait_for_timeout(300)
        pictures.append(phone.screenshot())
        keep('review_more', pictures)


def keep(name: str, screenshots: list[bytes]) -> None:
    """Write screenshots side by side, small: 256 colours are enough for them."""
    pictures = [Image.open(BytesIO(screenshot)).convert('RGB') for screenshot in screenshots]
    gap = 16
    width = sum(picture.width for picture in pictures) + gap * (len(pictures) - 1)
    sheet = Image.new('RGB', (width, max(picture.height for picture in pictures)), 'white')
    left = 0
    for picture in pictures:
        sheet.paste(picture, (left, 0))
        left += picture.width + gap
    target = REPO_DIR / 'docs' / 'images' / f'{name}.png'
    sheet.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(target, optimize=True)
    print(f'{target}: {target.stat().st_size / 1000:.0f} kB')


if __name__ == '__main__':
    main()
