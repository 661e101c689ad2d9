"""The day of labelling: how images are split, and what the reviewer in the browser does."""

import importlib.util
import json

from tests.test_web.browser import chromium, ready, served

import numpy as np
import pytest
import timm
import torch
from PIL import Image

pytest.importorskip('fastapi')
pytest.importorskip('playwright')

#: Objects of the validation images, by class and number.
OBJECTS = {
    ('cat', 0): [(10, 8, 50, 40)],
    ('cat', 1): [(5, 5, 30, 60)],
    ('dog', 0): [(4, 6, 30, 40), (20, 20, 60, 62)],
    ('dog', 1): [(12, 0, 64, 30)],
}


@pytest.fixture(scope='module')
def day(repo_dir):
    spec = importlib.util.spec_from_file_location('labelling_day', repo_dir / 'demo' / 'labelling_day.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """Two classes of three training images and two of val, with bright objects, in folders and lists."""
    root = tmp_path_factory.mktemp('data')
    rng = np.random.default_rng(0)

    def write(path, objects):
        pixels = rng.integers(0, 90, (64, 64, 3), np.uint8)
        for x0, y0, x1, y1 in objects:
            pixels[y0:y1, x0:x1] += 150
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)

    for name in ('cat', 'dog'):
        for number in range(3):
            write(root / 'train' / name / f't{number}.png', [(8, 8, 40, 48)])
    rows = []
    for (name, number), objects in OBJECTS.items():
        write(root / 'val' / name / f'v{number}.png', objects)
        rows += [','.join([f'val/{name}/v{number}.png', *map(str, box)]) for box in objects]
    (root / 'metadata' / 'val').mkdir(parents=True)
    (root / 'metadata' / 'val' / 'localization.txt').write_text('\n'.join(rows) + '\n')
    return root


def test_every_second_image_is_kept_apart(day, images, tmp_path):
    truth = day.split_images(images, tmp_path)
    assert truth == {'cat/v0.png': OBJECTS['cat', 0], 'dog/v0.png': OBJECTS['dog', 0]}
    photos = sorted(path.relative_to(tmp_path / 'photos').as_posix() for path in tmp_path.glob('photos/*/*'))
    assert photos == [f'{name}/{file}.png' for name in ('cat', 'dog') for file in ('t0', 't1', 't2', 'v0')]
    assert (tmp_path / 'other.csv').read_text().splitlines() == [
        'cat/v1.png,5.0,5.0,30.0,60.0',
        'dog/v1.png,12.0,0.0,64.0,30.0',
    ]


def test_what_a_reviewer_leaves_as_it_is(day):
    objects = [(0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0)]
    assert day.fits(np.array([[20, 0, 30, 9], [0, 0, 10, 9]]), objects)
    assert not day.fits(np.array([[20, 0, 30, 9], [0, 0, 6, 10]]), objects)
    assert not day.fits(np.array([[0, 0, 10, 10]]), objects)
    assert not day.fits(np.array([[0, 0, 10, 10], [20, 0, 30, 10], [0, 0, 9, 10]]), objects)
    assert not day.fits(np.zeros((0, 4)), objects)


def test_the_reviewer_draws_what_is_there(day, images, tmp_path):
    """Images without known boxes are passed over, a box that fits is accepted, another one drawn anew."""
    from wsol_mm.web.review.review_app import review_app
    from wsol_mm.web.review.review_set import ReviewSet

    truth = day.split_images(images, tmp_path)
    names = ['cat/t0.png', 'dog/v0.png', 'cat/v0.png', 'dog/t0.png']
    coco = dict(
        images=[dict(id=i, file_name=name, width=64, height=64) for i, name in enumerate(names, 1)],
        annotations=[
            dict(id=i, image_id=i, category_id=label, bbox=[10, 8, 40, 30], confidence=i / 10)
            for i, label in enumerate((1, 2, 1, 2), 1)
        ],
        categories=[dict(id=1, name='cat'), dict(id=2, name='dog')],
    )
    (tmp_path / 'boxes.json').write_text(json.dumps(coco))
    journal = tmp_path / 'out.json.journal'
    review = ReviewSet(tmp_path / 'boxes.json', journal, 'script')
    app = review_app(review, tmp_path / 'photos', tmp_path / 'out.json')
    with served(app) as address, chromium() as browser:
        page = browser.new_page()
        ready(page, address)
        counts, names = day.review_in_browser(page, truth, 50)
    assert counts == dict(accepted=1, drawn=1, passed=1) and names == {'cat/v0.png', 'dog/v0.png'}
    last = {}
    for line in journal.read_text().splitlines()[1:]:
        action = json.loads(line)
        last[action['image']] = action
    assert [(last[i]['verdict'], len(last[i]['boxes'])) for i in (2, 3)] == [('right', 2), ('right', 1)]
    drawn = [[x, y, x + width, y + height] for _, _, (x, y, width, height) in last[2]['boxes']]
    np.testing.assert_allclose(drawn, OBJECTS['dog', 0], atol=1)
    # They have the class of what was deleted.
    assert [category for _, category, _ in last[2]['boxes']] == [2, 2]


@pytest.mark.slow
def test_the_whole_day(day, images, tmp_path, monkeypatch, capfd):
    torch.manual_seed(0)
    torch.save(timm.create_model('vit_tiny_patch16_224').state_dict(), tmp_path / 'weights.pth')
    small = ['--img-size', '32', '--num-workers', '0', '--cfg-options', 'train_cfg.max_epochs=1']
    monkeypatch.setattr(day, 'LABELLING', ['--config', 'trilite_vit-t-frozen_folder', *small])
    monkeypatch.setattr(day, 'DETECTOR', ['--epochs', '1', '--batch-size', '4'])
    words = [images, tmp_path / 'weights.pth', tmp_path / 'day', '--review', '1']
    monkeypatch.setattr('sys.argv', ['labelling_day.py', *map(str, words)])
    day.main()
    printed = capfd.readouterr().out
    table = [line for line in printed.splitlines() if line.startswith('| ')]
    which = ['photos', 'other', 'photos', 'unreviewed', 'photos', 'unreviewed', 'other']
    assert [row.split(' | ')[1] for row in table[2:]] == which
    # Two of the photographs have known boxes; one of them was reviewed, and the other is what is left.
    assert 'reviewed' in table[4] and float(table[4].split(' | ')[2]) >= 50
    left = {line.split(',')[0] for line in (tmp_path / 'day' / 'unreviewed.csv').read_text().splitlines()}
    assert left < {'cat/v0.png', 'dog/v0.png'} and len(left) == 1
    assert '1 right' in printed or '1 corrected' in printed
