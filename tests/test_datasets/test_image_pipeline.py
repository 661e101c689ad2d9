"""One image through transforms: what is blamed on the image, and what is not."""

from wsol_mm.datasets.dataset_problems import DatasetError, UnreadableImage
from wsol_mm.datasets.image_pipeline import has_loader, image_fields, run_transforms
from wsol_mm.datasets.transforms import LoadImageWithPillow

import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile

LOADERS = (LoadImageWithPillow(), LoadImageFromFile(), LoadImageFromFile(imdecode_backend='pillow'))


def failing(error):
    def transform(results):
        raise error

    return transform


@pytest.mark.parametrize('loader', LOADERS, ids=str)
@pytest.mark.parametrize('content', [None, b'', b'no image'])
def test_files_that_cannot_be_used(tmp_path, loader, content):
    path = tmp_path / 'a.jpg'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableImage) as caught:
        run_transforms([loader], {'img_path': str(path)})
    kind = 'FileNotFoundError' if content is None else 'UnidentifiedImageError'
    assert caught.value.path == str(path) and caught.value.reason.startswith(kind)


@pytest.mark.parametrize('error', [TypeError('x'), AssertionError('x'), ValueError('x'), KeyError('x')])
def test_errors_of_transforms_stay(tmp_path, write_image, error):
    item = {'img_path': str(write_image(tmp_path / 'a.jpg'))}
    with pytest.raises(type(error), match='x') as caught:
        run_transforms([LOADERS[0], failing(error)], item)
    assert caught.value is error


def test_transforms_may_refuse_an_image(tmp_path, write_image):
    item = {'img_path': str(write_image(tmp_path / 'a.jpg'))}
    with pytest.raises(
        UnreadableImage, match='a.jpg: expected a usable image, got an unusable one: another size'
    ):
        run_transforms([LOADERS[0], failing(DatasetError('another size'))], item)
    assert list(item) == ['img_path']


def test_images_of_their_own_pass_by_the_loaders():
    item = image_fields(np.ones((4, 6, 3), np.uint8))
    assert item['ori_shape'] == item['img_shape'] == (4, 6)
    for loader in LOADERS:
        assert has_loader([loader])
        assert run_transforms([loader], item) == item
    assert not has_loader([failing(ValueError())])
    assert run_transforms([lambda results: None, failing(ValueError())], item) is None
    with pytest.raises(DatasetError, match='^x$'):
        run_transforms([failing(DatasetError('x'))], item)
