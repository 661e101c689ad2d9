"""Tests of wsol_mm.apis.localization_result."""

from wsol_mm.apis.localization_result import Prediction, localization_result
from wsol_mm.evaluation.box_protocol import with_one_threshold

import torch
from mmpretrain.structures import DataSample


def test_every_object_of_a_model_without_classes_has_a_box():
    maps = torch.zeros(3, 4, 4)
    maps[0, :2, :2] = maps[1, 2:, 1:] = 1.0  # and nothing in the third
    meta = dict(img_path='bird.jpg', ori_shape=(8, 8), img_shape=(4, 4), scale_factor=(0.5, 0.5))
    sample = DataSample(metainfo=meta).set_pred_score(torch.tensor([0.2, 0.8]))
    sample.pred_topk, sample.loc_maps = torch.tensor([1, 0]), maps
    sample.loc_labels = torch.tensor([-1, -1, -1])
    protocol = with_one_threshold(dict(name='maxboxacc', interpolation='nearest'), 0.5)
    result = localization_result(Prediction.of(sample), ['crow', 'wren'], protocol, maps='grid')
    assert result.classes == ['wren'] * 3 and result.found.tolist() == [True, True, False]
    assert result.boxes[:2].tolist() == [[0, 0, 4, 4], [2, 4, 8, 8]]
    assert (result.maps == maps.numpy()).all() and result.map_labels == [-1, -1, -1]
    # A box for each of two classes; the maps are kept once.
    result = localization_result(Prediction.of(sample, topk=2), ['crow', 'wren'], protocol, maps='image')
    assert result.classes == ['wren'] * 3 + ['crow'] * 3 and result.found.tolist() == [True, True, False] * 2
    assert result.maps.shape == (3, 8, 8) and result.map_labels == [-1, -1, -1]
