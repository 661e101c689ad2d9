"""The review page in a real browser, by mouse and keyboard."""

import json
import os
import re
import signal
import subprocess
import sys

from tests.conftest import REPO_DIR
from wsol_mm.datasets.dataset_problems import DatasetProblems
from wsol_mm.datasets.readers.box_annotations import read_coco_json

import pytest

from .browser import chromium, drag, on_image, ready, served, settled
from .review_samples import write_samples

pytest.importorskip('fastapi')

#: The object of every sample, and the box that was predicted instead.
OBJECT, PREDICTED = (20, 10, 50, 30), (18, 12, 38, 28)


@pytest.fixture
def address(tmp_path):
    write_samples(tmp_path)
    from wsol_mm.web.review.review_app import review_app
    from wsol_mm.web.review.review_set import ReviewSet

    review = ReviewSet(tmp_path / 'boxes.json', tmp_path / 'out.json.journal', 'anna')
    with served(review_app(review, tmp_path / 'photos', tmp_path / 'out.json')) as address:
        yield address


def actions(folder):
    lines = (folder / 'out.json.journal').read_text().splitlines()[1:]
    return [json.loads(line) for line in lines]


def test_by_mouse_and_keyboard_in_two_tabs(tmp_path, address):
    with chromium() as browser:
        page = browser.new_page()
        errors = []
        page.on('pageerror', lambda error: errors.append(str(error)))
        asked = []
        page.on('request', lambda request: asked.append(request.url))
        ready(page, address)
        assert page.inner_text('#name') == '2.png' and page.inner_text('#place') == '1 of 4'
        # A corner is corrected, a box drawn and given another class; the other tab has seen neither.
        other = browser.new_page()
        ready(other, address)
        drag(page, PREDICTED[2:], OBJECT[2:])
        drag(page, (2, 34), (12, 44))
        page.select_option('#boxes li.selected select', label='dog')
        settled(page)
        (kept, drawn) = actions(tmp_path)[-1]['boxes']
        assert kept[:2] == [20, 1] and kept[2] == pytest.approx([18, 12, 32, 18], abs=0.3)
        assert drawn[:2] == [None, 2] and drawn[2] == pytest.approx([2, 34, 10, 10], abs=0.3)
        other.keyboard.press('x')
        other.wait_for_selector('#banner:visible')
        assert 'changed in another tab' in other.inner_text('#banner') and len(actions(tmp_path)) == 3
        assert other.locator('#boxes li').count() == 2  # what the first tab has made of it
        other.click('#banner button:first-child')
        # Judging goes on to the next that is not checked; undo comes back.
        for key in ('Enter', 'x'):
            page.keyboard.press(key)
            settled(page)
        assert page.inner_text('#name') == '3.png' and page.inner_text('#counts') == '2 of 4 checked'
        assert [action['verdict'] for action in actions(tmp_path)[-2:]] == ['right', 'wrong']
        page.keyboard.press('u')
        settled(page)
        assert page.inner_text('#name') == '4.png' and page.inner_text('#verdict') == 'not checked'
        # After a reload, the page is where it was.
        page.reload()
        page.wait_for_selector('body[data-ready]')
        assert page.inner_text('#name') == '4.png'
        page.keyboard.press('Delete')
        settled(page)
        assert actions(tmp_path)[-1]['boxes'] == [] and page.is_visible('#no-box')
        page.select_option('#state', 'corrected')
        settled(page)
        assert page.inner_text('#place') == '1 of 2'
        assert not errors and all(url.startswith(address) or url.startswith('data:') for url in asked)


@pytest.mark.slow
def test_fingers(tmp_path, address):
    """One draws a box; two enlarge the image, and leave the boxes as they are."""
    with chromium() as browser:
        page = browser.new_context(
            viewport=dict(width=390, height=700), has_touch=True, is_mobile=True
        ).new_page()
        ready(page, address)
        touch = page.context.new_cdp_session(page)

        def fingers(kind, *points):
            touch.send(
                'Input.dispatchTouchEvent',
                dict(
                    type=kind,
                    touchPoints=[
                        dict(x=x, y=y, id=number)
                        for number, (x, y) in enumerate(on_image(page, *point) for point in points)
                    ],
                ),
            )

        fingers('touchStart', (42, 4))
        fingers('touchMove', (60, 8))
        fingers('touchMove', (62, 40))
        fingers('touchEnd')
        settled(page)
        assert actions(tmp_path)[-1]['boxes'][1][2] == pytest.approx([42, 4, 20, 36], abs=0.5)
        before = page.locator('#image').bounding_box()['width']
        fingers('touchStart', (5, 30))
        fingers('touchMove', (8, 30))
        fingers('touchStart', (8, 30), (20, 30))
        fingers('touchMove', (2, 30), (26, 30))
        fingers('touchEnd')
        settled(page)
        assert page.locator('#image').bounding_box()['width'] > 1.5 * before
        assert len(actions(tmp_path)) == 1 and page.locator('#boxes li').count() == 2


@pytest.mark.slow
def test_a_day_of_review(tmp_path, request):
    """Twenty boxes corrected by mouse and keyboard, over a reload and a kill, come back as drawn."""
    write_samples(tmp_path, [number / 40 for number in range(30)])
    command = [sys.executable, str(REPO_DIR / 'tools/review.py'), 'boxes.json', 'photos', '--port']
    variables = os.environ | dict(PYTHONPATH=str(REPO_DIR))

    servers = []
    request.addfinalizer(lambda: [process.kill() for process in servers])

    def start(port):
        process = subprocess.Popen(
            [*command, str(port)], cwd=tmp_path, env=variables, text=True, stdout=subprocess.PIPE
        )
        servers.append(process)
        while True:
            line = process.stdout.readline()
            assert line, 'the server has not started'
            if found := re.search(r'http://127\.0\.0\.1:(\d+)/', line):
                return process, int(found[1])

    server, port = start(0)
    with chromium() as browser:
        page = browser.new_page()
        ready(page, f'http://127.0.0.1:{port}/')
        for number in range(1, 21):
            assert page.inner_text('#name') == f'{number}.png'
            if number % 4 == 0:  # deleted, and drawn anew
                page.keyboard.press('Delete')
                settled(page)
                drag(page, OBJECT[:2], OBJECT[2:])
            elif number % 4 == 1:
                drag(page, PREDICTED[:2], OBJECT[:2])
                drag(page, PREDICTED[2:], OBJECT[2:])
            elif number % 4 == 2:  # moved, and the other corner dragged
                drag(page, (28, 20), (30, 18))
                drag(page, (40, 26), OBJECT[2:])
            else:
                for key, times in (('Shift+ArrowRight', 2), ('Shift+ArrowUp', 2), ('Alt+ArrowRight', 10),
                                   ('Alt+ArrowDown', 4)):  # fmt: skip
                    for _ in range(times):
                        page.keyboard.press(key)
            settled(page)
            if number == 10:  # killed between a change and the next key, and started again
                server.send_signal(signal.SIGKILL)
                server.wait()
                page.keyboard.press('Enter')
                page.wait_for_selector('#banner:visible')
                assert 'is not saved yet' in page.inner_text('#banner')
                server, _ = start(port)
            else:
                page.keyboard.press('Enter')
            settled(page)
            if number == 5:
                page.reload()
                page.wait_for_selector('body[data-ready]')
        page.click('#export')
        page.wait_for_selector('#banner:visible')
        assert '30 boxes of 30 images' in page.inner_text('#banner')
    server.send_signal(signal.SIGINT)
    assert '30 boxes in 30 images (0 right, 20 corrected, 0 wrong)' in server.communicate()[0]
    found = read_coco_json(tmp_path / 'boxes.reviewed.json', DatasetProblems('test'))
    for number in range(1, 31):
        expected = OBJECT if number <= 20 else PREDICTED
        assert found[f'{number}.png'].boxes == [pytest.approx(expected, abs=0.5)], number
    means = [
        box.get('review') for box in json.loads((tmp_path / 'boxes.reviewed.json').read_text())['annotations']
    ]
    assert (means.count('corrected'), means.count('drawn'), means.count(None)) == (15, 5, 10)
