"""The inferencer as an actor of Ray Data: in this process, and on a local Ray with two workers."""

import os
import sys
from pathlib import Path

from wsol_mm.apis import LocalizationInferencer
from wsol_mm.apis.ray_prediction import RayLocalizer

import numpy as np
import pytest
from PIL import Image

arrow = pytest.importorskip('pyarrow')


@pytest.fixture(scope='module')
def photos(tmp_path_factory) -> list[str]:
    """Eight images, of which one is torn."""
    folder = tmp_path_factory.mktemp('photos')
    rng = np.random.default_rng(0)
    for number in range(8):
        Image.fromarray(rng.integers(0, 255, (40, 60 + number, 3), np.uint8)).save(folder / f'{number}.png')
    (folder / '5.png').write_bytes(b'torn')
    return sorted(map(str, folder.iterdir()))


def check(rows: list[dict], small_model, photos) -> None:
    """Compare rows with the results of the inferencer."""
    assert [Path(row['path']).name for row in rows] == [f'{number}.png' for number in range(8)]
    torn = rows.pop(5)
    assert torn['error'].startswith('UnidentifiedImageError') and torn['boxes'] is torn['width'] is None
    inferencer = LocalizationInferencer(*small_model, device='cpu')
    results = inferencer([row['path'] for row in rows], topk=2, progress=False)
    for row, result in zip(rows, results, strict=True):
        assert row['error'] is None and (row['width'], row['height']) == result.size
        assert row['labels'] == [result.classes[place] for place in np.flatnonzero(result.found)]
        # A last digit of the scores may depend on the batch.
        np.testing.assert_allclose(row['confidences'], np.array(result.confidences)[result.found], atol=1e-3)
        np.testing.assert_allclose(row['scores'], np.array(result.scores)[result.found], atol=1e-5)
        np.testing.assert_allclose(row['boxes'], result.boxes[result.found], atol=0.01)


def test_a_batch(small_model, photos):
    localizer = RayLocalizer(*small_model, topk=2, device='cpu')
    check(localizer(arrow.table({'path': photos})).to_pylist(), small_model, photos)
    nothing = localizer(arrow.table({'path': photos[5:6], 'mine': [7]}))
    # Types do not depend on what a batch holds.
    assert nothing.schema.field('boxes').type == arrow.list_(arrow.list_(arrow.float64(), 4))
    assert nothing.to_pylist()[0]['mine'] == 7
    with pytest.raises(ValueError, match="column: expected one of file, got 'path'"):
        localizer(arrow.table({'file': photos}))
    with pytest.raises(ValueError, match='topk: expected an integer from 1 to 3, got 4'):
        RayLocalizer(*small_model, topk=4, device='cpu')


@pytest.mark.slow
def test_two_workers_of_a_local_ray(small_model, photos, repo_dir, monkeypatch, tmp_path):
    ray = pytest.importorskip('ray.data', exc_type=ImportError) and pytest.importorskip('ray')
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(repo_dir), *sys.path]))
    monkeypatch.setenv('HOME', str(tmp_path))  # where it keeps a token
    monkeypatch.setenv('RAY_USAGE_STATS_ENABLED', '0')
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100_000_000, log_to_driver=False)
    try:
        boxes = ray.data.from_items([{'path': path} for path in photos], override_num_blocks=4).map_batches(
            RayLocalizer,
            fn_constructor_args=tuple(map(str, small_model)),
            fn_constructor_kwargs=dict(topk=2, device='cpu'),
            batch_format='pyarrow',
            batch_size=2,
            compute=ray.data.ActorPoolStrategy(size=2),
        )
        rows = boxes.take_all()
    finally:
        ray.shutdown()
    check(sorted(rows, key=lambda row: row['path']), small_model, photos)
