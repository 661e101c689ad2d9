"""A day of labelling: boxes from labels, a review of the doubtful ones, a detector, and boxes again.

    python demo/labelling_day.py IMAGES WEIGHTS OUT

IMAGES is a data set in the format of wsolevaluation, with labelled images in train/<class>/ and images with
boxes in val/<class>/ and metadata/val/; WEIGHTS are those of timm's vit_tiny_patch16_224 as a file. Every
second image of val is put beside those of train: they are the photographs to be labelled. The others are to
find out what the detector makes of images that nobody has looked at.

The steps are the commands of docs/own_data.md. The reviewer is a script in Chromium that has the boxes of
the metadata before it. It goes through the photographs, the least certain first, passes over those of train,
of which nobody knows the boxes, and treats --review others as a human would: a box that fits is accepted,
another one deleted and every object drawn, by mouse and keyboard. What has been reached is measured after
each step.
Needs Playwright and Chromium (the variable CHROMIUM, or the one on PATH).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

REPO_DIR = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO_DIR))

import wsol_mm  # noqa: E402, F401
from demo.scripted_browser import chromium, drag, ready, settled  # noqa: E402
from wsol_mm.cli.argument_types import integer_within, output_folder  # noqa: E402
from wsol_mm.cli.runner_options import RunnerArgumentParser, one_line_errors  # noqa: E402
from wsol_mm.datasets.readers.list_files import read_lines  # noqa: E402
from wsol_mm.evaluation.functional import box_iou  # noqa: E402
from wsol_mm.utils.whole_files import write_whole  # noqa: E402

import numpy as np  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Page

Box = tuple[float, ...]

PHOTOS, OTHER, UNSEEN = 'photos', 'other', 'unreviewed'
#: What is said beside images and folders.
LABELLING = ['--seed', '0', '--backbone', 'vit_tiny_patch16_224.augreg_in21k_ft_in1k']
DETECTOR = ['--seed', '0']
#: The reviewer accepts a box from this IoU on.
_FITS = 0.7


class Day:
    """Runs commands, and keeps what they did and how long it took.

    Args:
        out: Folder of all that is written.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.rows: list[str] = []

    def run(self, *words: str | Path) -> float:
        """Run a command of the repository; return the minutes that it took."""
        command = [sys.executable, *map(str, words)]
        print(f'$ python {shlex.join(command[1:])}', flush=True)
        start = time.perf_counter()
        subprocess.run(command, cwd=REPO_DIR, env=os.environ | {'PYTHONPATH': str(REPO_DIR)}, check=True)
        minutes = (time.perf_counter() - start) / 60
        print(f'# {minutes:.1f} min', flush=True)
        return minutes

    def measure(self, title: str, annotations: Path, which: str, minutes: float | None = None) -> None:
        """Count the boxes of a file against the true ones of photographs or of the other images."""
        result = annotations.with_suffix(f'.{which}.metrics')
        data = {
            'data_root': self.out / (OTHER if which == OTHER else PHOTOS),
            'leave_out': None,
            'box_source': self.out / f'{which}.csv',
            'require_boxes': False,
        }
        options = [f'test_dataloader.dataset.{key}={value}' for key, value in data.items()]
        config = self.out / 'labelled' / 'config.py'
        tool = 'tools/analysis_tools/eval_predictions.py'
        self.run(tool, '--ann', annotations, '--config', config, '--out', result, '--cfg-options', *options)
        found = json.loads(result.read_text())
        numbers = [f'{found[f"BoxAcc@{level}"]:.1f}' for level in ('0.3', '0.5', '0.7')]
        numbers += [f'{found[key]:.1f}' for key in ('Precision@0.5', 'Recall@0.5')]
        took = '' if minutes is None else f'{minutes:.1f}'
        self.rows.append(f'| {title} | {which} | {" | ".join(numbers)} | {took} |')


def split_images(images: Path, out: Path) -> dict[str, list[Box]]:
    """Copy the images into the folders of the day, and write the boxes of each folder.

    Args:
        images: The data set.
        out: Where to.

    Returns:
        The true boxes of the photographs, x0 y0 x1 y1, by path.
    """
    truth = defaultdict(list)
    for _, line in read_lines(images / 'metadata' / 'val' / 'localization.txt'):
        name, *corners = line.split(',')
        truth[name.removeprefix('val/')].append(tuple(map(float, corners)))
    for folder in sorted((images / 'train').iterdir()):
        shutil.copytree(folder, out / PHOTOS / folder.name, dirs_exist_ok=True)
        for number, image in enumerate(sorted((images / 'val' / folder.name).iterdir())):
            target = out / (OTHER if number % 2 else PHOTOS) / folder.name
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(image, target)
    chosen = {}
    for which in (PHOTOS, OTHER):
        chosen[which] = {name: boxes for name, boxes in truth.items() if (out / which / name).is_file()}
        write_boxes(out / f'{which}.csv', chosen[which])
    return chosen[PHOTOS]


def write_boxes(file: Path, boxes: dict[str, list[Box]]) -> None:
    """Write boxes by path as CSV."""
    rows = [','.join([name, *map(str, box)]) for name, objects in boxes.items() for box in objects]
    write_whole(file, ''.join(f'{row}\n' for row in rows))


def review_in_browser(page: Page, truth: dict[str, list[Box]], count: int) -> tuple[dict[str, int], set[str]]:
    """Review images on the page that is open, the least certain first.

    Args:
        page: The review page.
        truth: True boxes of the images that can be judged, x0 y0 x1 y1, by path.
        count: How many of these to review, or all if there are fewer.

    Returns:
        How many images were ``accepted``, ``drawn`` anew and ``passed`` over, and the names of all but the
        last.
    """
    counts = {'accepted': 0, 'drawn': 0, 'passed': 0}
    reviewed: set[str] = set()
    while len(reviewed) < min(count, len(truth)):
        name = page.inner_text('#name')
        objects = truth.get(name)
        if objects is None:
            counts['passed'] += 1
            page.keyboard.press('ArrowRight')
            page.wait_for_function('name => document.getElementById("name").innerText != name', arg=name)
            continue
        if fits(shown_boxes(page), objects):
            counts['accepted'] += 1
        else:
            counts['drawn'] += 1
            draw_objects(page, objects)
        page.keyboard.press('Enter')
        settled(page)
        reviewed.add(name)
    return counts, reviewed


def shown_boxes(page: Page) -> np.ndarray:
    """Return the boxes (N, 4) on the page, x0 y0 x1 y1 in pixels of the image."""
    sides = page.eval_on_selector_all(
        '#overlay .edge', "all => all.map(e => ['x', 'y', 'width', 'height'].map(n => +e.getAttribute(n)))"
    )
    boxes = np.array(sides, float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def fits(boxes: np.ndarray, objects: list[Box]) -> bool:
    """Say whether every object has one box, which a reviewer would leave as it is."""
    ious = box_iou(boxes, np.array(objects))
    return len(boxes) == len(objects) and all((ious.max(axis=axis) >= _FITS).all() for axis in (0, 1))


def draw_objects(page: Page, objects: list[Box]) -> None:
    """Delete all boxes of the image, and draw those of its objects."""
    while page.locator('#boxes li').count():
        page.keyboard.press('Delete')
        settled(page)
    for x0, y0, x1, y1 in objects:
        if page.get_attribute('#draw', 'aria-pressed') == 'false':
            page.keyboard.press('b')
        drag(page, (x0 + 0.25, y0 + 0.25), (x1 - 0.25, y1 - 0.25))
        settled(page)


def review(
    annotations: Path, photos: Path, truth: dict[str, list[Box]], count: int
) -> tuple[Path, set[str], float]:
    """Start the review tool, review in a browser, and stop it.

    Returns:
        The file that it wrote, the names of the images that were reviewed, and the minutes that it took.
    """
    out = annotations.with_name(f'{annotations.stem}.reviewed.json')
    words = ['tools/review.py', str(annotations), str(photos), '--port', '0', '--reviewer', 'script']
    print(f'$ python {shlex.join(words)}', flush=True)
    start = time.perf_counter()
    variables = os.environ | {'PYTHONPATH': str(REPO_DIR)}
    server = subprocess.Popen(
        [sys.executable, *words], cwd=REPO_DIR, env=variables, text=True, stdout=subprocess.PIPE
    )
    try:
        address = None
        while address is None:
            line = server.stdout.readline()
            if not line:
                raise RuntimeError(
                    f'tools/review.py: expected the address of its page, got status {server.wait()}'
                )
            address = re.search(r'http://127\.0\.0\.1:\d+/', line)
        with chromium() as browser:
            page = browser.new_page(viewport={'width': 1200, 'height': 800})
            ready(page, address[0])
            counts, names = review_in_browser(page, truth, count)
            print(f'# {counts}', flush=True)
        server.send_signal(signal.SIGINT)
        print(server.communicate()[0].strip().splitlines()[-1])
    finally:
        server.kill()
    minutes = (time.perf_counter() - start) / 60
    print(f'# {minutes:.1f} min', flush=True)
    return out, names, minutes


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = RunnerArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('images', type=Path, help='data set with train/, val/ and metadata/val/')
    parser.add_argument('weights', type=Path, help="weights of timm's vit_tiny_patch16_224")
    parser.add_argument('out', type=output_folder, help='folder of all that is written')
    parser.add_argument('--review', type=integer_within(1), default=50, help='images to review (default: 50)')
    return parser.parse_args(arguments)


@one_line_errors(ImportError)
def main() -> None:
    """Label, review, train, predict; print what came out of each step."""
    args = parse_arguments()
    with chromium():  # what is missing is missed now, and not after minutes
        pass
    day = Day(args.out.resolve())
    photos, other, labelled = day.out / PHOTOS, day.out / OTHER, day.out / 'labelled'
    truth = split_images(args.images, day.out)

    first, there = labelled / 'boxes.json', day.out / 'other.json'
    config, weights = labelled / 'config.py', args.weights.resolve()
    minutes = day.run('tools/label_folder.py', photos, '--out', labelled, '--weights', weights, *LABELLING)
    day.measure('from labels', first, PHOTOS, minutes)
    checkpoint = next(labelled.glob('*.pth'))
    known = ['--labels', 'from-folder', '--out', there]
    minutes = day.run('tools/predict.py', config, checkpoint, other, *known)
    day.measure('the same model', there, OTHER, minutes)

    reviewed, names, minutes = review(first, photos, truth, args.review)
    day.measure(f'{args.review} images reviewed', reviewed, PHOTOS, minutes)
    unseen = {name: boxes for name, boxes in truth.items() if name not in names}
    write_boxes(day.out / f'{UNSEEN}.csv', unseen)
    if unseen:
        day.measure('from labels', first, UNSEEN)
    source = [f'train_dataloader.dataset.{key}={value}' for key, value in
              (('box_source', reviewed), ('require_boxes', False))]  # fmt: skip
    day.run('tools/misc/verify_dataset.py', config, '--split', 'train', '--cfg-options', *source)

    detected = [day.out / f'detected_{which}.json' for which in (PHOTOS, OTHER)]
    data = [reviewed, photos, '--detect', photos, other, '--out', *detected]
    minutes = day.run('demo/train_detector.py', config, checkpoint, *data, *DETECTOR)
    day.measure('of a detector trained on those', detected[0], PHOTOS, minutes)
    if unseen:
        day.measure('of the same detector', detected[0], UNSEEN)
    day.measure('of the same detector', detected[1], OTHER)
    columns = ('boxes', 'images', 'BoxAcc@0.3', '@0.5', '@0.7', 'precision', 'recall', 'minutes')
    print('\n'.join([f'| {" | ".join(columns)} |', f'|{" --- |" * len(columns)}', *day.rows]))


if __name__ == '__main__':
    main()
