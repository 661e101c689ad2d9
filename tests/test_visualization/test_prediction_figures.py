from dataclasses import replace

from wsol_mm.evaluation import get_protocol
from wsol_mm.visualization.map_collection import ImageMaps
from wsol_mm.visualization.prediction_figures import PredictionPictures, box_legend, caption

import numpy as np
import pytest
import torch
from mmpretrain.structures import DataSample
from PIL import Image

PROTOCOL = get_protocol('ts_cam')


def make_sample(path, size=(32, 16), **metainfo):
    """An image of a size (width, height), its middle half hot."""
    Image.new('RGB', size, 'white').save(path)
    metainfo = {'ori_shape': size[::-1], 'img_shape': (8, 8), **metainfo}
    metainfo.setdefault('scale_factor', (8 / metainfo['ori_shape'][1], 8 / metainfo['ori_shape'][0]))
    sample = DataSample(metainfo=dict(img_path=str(path), **metainfo))
    loc_map = torch.zeros(1, 8, 8)
    loc_map[:, 2:6, 2:6] = 1
    sample.loc_maps, sample.loc_labels = loc_map, torch.tensor([1])
    return sample.set_pred_score(torch.tensor([0.25, 0.75])).set_pred_label(1)


def test_caption_of_a_class_without_a_name():
    sample = DataSample().set_pred_score(torch.tensor([0.25, 0.75])).set_pred_label(1).set_gt_label(0)
    assert caption(sample, ['001.Cat'], 0.5) == 'IoU 0.50  Cat, taken for class 1 0.75'
    assert caption(sample, None, None) == 'class 0, taken for class 1 0.75'


def test_box_and_iou(tmp_path):
    sample = make_sample(tmp_path / 'a.png')
    assert PredictionPictures(sample, PROTOCOL).iou is None and PredictionPictures(sample, PROTOCOL).right
    assert [text.split(':')[0] for _, text in box_legend(sample, PROTOCOL)] == ['predicted box']
    sample.gt_bboxes = np.array([[8.0, 4, 24, 12]])
    pictures = PredictionPictures(sample, PROTOCOL)
    assert pictures.boxes.tolist() == [[8, 4, 24, 12]] and pictures.iou == 1
    sample.gt_bboxes = np.array([[0.0, 0, 8, 8]])
    assert not PredictionPictures(sample, PROTOCOL).right
    assert [
        text for _, text in box_legend(sample.set_gt_label(1), replace(PROTOCOL, thresholds=(0.25,)))
    ] == [
        'ground-truth box',
        'predicted box: map of the label, protocol ts_cam, threshold 0.25',
    ]


def test_tiles_of_turned_and_damaged_images(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    sample = make_sample(tmp_path / 'a.png', ori_shape=(32, 16), apply_exif=True)
    Image.new('RGB', (32, 16), 'white').save(tmp_path / 'a.png', exif=exif)
    tiles = PredictionPictures(sample, PROTOCOL).tiles(32)
    assert list(tiles) == ['image', 'localization map', 'boxes'], (
        'a method without attention has no tile of it'
    )
    assert tiles['image'].getpixel((16, 2)) == (255, 255, 255)  # upright, so that it fills the tile's height
    (tmp_path / 'a.png').write_bytes(b'no image')
    with pytest.raises(ValueError, match='expected a usable image'):
        PredictionPictures(sample, PROTOCOL)
    sample.set_metainfo(dict(load_error='truncated'))
    sample.attn_map = torch.eye(4)
    tiles = PredictionPictures(sample, PROTOCOL).tiles(32)
    assert list(tiles)[1] == 'attention' and tiles['image'].getpixel((16, 2)) == (0, 0, 0)


def test_what_the_network_did_not_see_is_faded(tmp_path):
    sample = make_sample(
        tmp_path / 'a.png', size=(32, 32), scale_factor=(0.5, 0.5)
    )  # 16x16, the centre of it
    heat = np.asarray(PredictionPictures(sample, PROTOCOL).heat_tile(torch.eye(4), 32)).astype(int)
    # Grey where the white image was not seen, coloured where nothing is hot.
    assert (np.ptp(heat[2, 2]), np.ptp(heat[10, 22]) > 20) == (0, True)


def test_figure_has_a_row_for_each_kind_of_layer_map(tmp_path):
    sample = make_sample(tmp_path / 'a.png')
    maps = ImageMaps(
        coupled=sample.loc_maps[0],
        attention=None,
        semantic=torch.eye(4),
        rollout=torch.eye(4),
        layers={'class-token attention': torch.rand(12, 4, 4), 'spatial mask': torch.rand(3, 4, 4)},
    )
    pictures = PredictionPictures(sample, PROTOCOL)
    tiles = pictures.tiles(64, maps)
    assert list(tiles) == ['image', 'Attention Rollout', 'semantic map', 'localization map', 'boxes']
    figure = pictures.figure(maps, None, 100)
    # Four lines of tiles, half as high as wide; the attention alone fills six columns.
    assert figure.width > 600 and 4 * 70 < figure.height < 5 * 90
    without = pictures.figure(maps._replace(layers={'class-token attention': torch.rand(6, 4, 4)}), None, 100)
    assert without.height < figure.height - 100
    convolutional = maps._replace(semantic=None, rollout=None, layers={})
    assert list(pictures.tiles(64, convolutional)) == ['image', 'localization map', 'boxes']
    assert pictures.figure(convolutional, None, 100).height < without.height - 100
