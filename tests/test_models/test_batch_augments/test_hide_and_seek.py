"""Tests of wsol_mm.models.batch_augments: Hide-and-Seek, and CutMix of mmpretrain beside it."""

import wsol_mm  # noqa: F401
from wsol_mm.models.batch_augments import HideAndSeek
from wsol_mm.registry import MODELS

import numpy as np
import pytest
import torch
from mmpretrain.structures import DataSample


def test_cells_that_are_drawn_are_hidden():
    images = torch.ones(2, 3, 5, 8)
    draws = torch.tensor([[[0.2, 0.9, 0.9], [0.9, 0.5, 0.51]], [[0.9] * 3] * 2])
    augment = HideAndSeek(grid_size=3, drop_rate=0.5)
    assert augment.grid(5, 8) == (2, 3)
    assert augment.hide(images, draws) is images
    expected = torch.ones(5, 8)
    expected[:3, :3] = 0  # a draw equal to the rate hides, too
    expected[3:, 3:6] = 0
    assert torch.equal(images[0], expected.expand(3, 5, 8))
    assert images[1].all()


def test_share_of_hidden_cells_and_labels():
    torch.manual_seed(0)
    images, labels = HideAndSeek(grid_size=2, drop_rate=0.25)(torch.ones(4, 3, 64, 64), torch.eye(4).long())
    cells = images[:, 0, ::2, ::2]
    assert torch.equal(images[:, :1].expand(-1, 3, -1, -1), images)
    assert torch.equal(cells.repeat_interleave(2, 1).repeat_interleave(2, 2), images[:, 0])
    assert 0.2 < 1 - cells.mean() < 0.3
    assert torch.equal(labels, torch.eye(4))
    assert not torch.equal(cells[0], cells[1])


def test_no_grid_hides_nothing():
    images = torch.ones(1, 3, 4, 4)
    assert HideAndSeek(grid_size=0, drop_rate=1.0)(images, torch.ones(1, 1))[0].all()
    assert not HideAndSeek(grid_size=3, drop_rate=1.0)(images, torch.ones(1, 1))[0].any()


def test_errors():
    with pytest.raises(ValueError, match='grid_size: expected a number of pixels from 0, got -1'):
        HideAndSeek(grid_size=-1)
    with pytest.raises(ValueError, match='drop_rate: expected a number from 0 to 1, got 2'):
        HideAndSeek(drop_rate=2)


def localizer(augments: dict | list, **more) -> torch.nn.Module:
    return MODELS.build(
        dict(
            type='ImageLocalizer',
            backbone=dict(type='VGG16', base_channels=1),
            head=dict(type='CAMHead', num_classes=5, in_channels=8, hidden_channels=(4,)),
            data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3),
            train_cfg=dict(augments=augments, **more),
        )
    )


def batch() -> dict:
    samples = [DataSample().set_gt_label(label) for label in (1, 4, 2)]
    images = [torch.full((3, 32, 32), value, dtype=torch.uint8) for value in (50, 150, 250)]
    return dict(inputs=images, data_samples=samples)


def test_as_a_setting_of_a_model_it_hides_in_training_alone():
    torch.manual_seed(0)
    model = localizer(dict(type='HideAndSeek', grid_size=8, drop_rate=0.5))
    data = model.data_preprocessor(batch(), training=True)
    hidden = (data['inputs'][:, 0] == 0).float().mean()
    assert 0.2 < hidden < 0.8
    assert torch.equal(data['data_samples'][1].gt_score, torch.eye(5)[4])
    losses = model.train()(**data, mode='loss')
    plain = model.head.loss_module(model(data['inputs'], mode='tensor'), torch.tensor([1, 4, 2]))
    torch.testing.assert_close(losses['loss'], plain)  # the labels stay
    assert (model.data_preprocessor(batch(), training=False)['inputs'] != 0).all()


def test_cutmix_mixes_images_and_losses():
    """As section 2.4 of docs/specifications/cnn_baselines.md has it, for the same random numbers."""
    model = localizer(dict(type='CutMix', alpha=0.85), probs=0.79)
    original = model.data_preprocessor(batch(), training=False)['inputs'].clone()
    np.random.seed(5)
    torch.manual_seed(5)
    assert np.random.rand() < 0.79
    share, order = np.random.beta(0.85, 0.85), torch.randperm(3)
    cut = int(32 * np.sqrt(1 - share))
    row, column = np.random.randint(32), np.random.randint(32)
    y0, y1, x0, x1 = (
        np.clip(centre + sign * (cut // 2), 0, 32) for centre in (row, column) for sign in (-1, 1)
    )
    own = 1 - (y1 - y0) * (x1 - x0) / 32**2
    assert 0 < own < 1
    expected = original.clone()
    expected[:, :, y0:y1, x0:x1] = original[order, :, y0:y1, x0:x1]
    np.random.seed(5)
    torch.manual_seed(5)
    data = model.data_preprocessor(batch(), training=True)
    assert torch.equal(data['inputs'], expected)
    losses = model.train()(**data, mode='loss')
    logits, labels = model(data['inputs'], mode='tensor'), torch.tensor([1, 4, 2])
    loss = torch.nn.functional.cross_entropy
    torch.testing.assert_close(
        losses['loss'], own * loss(logits, labels) + (1 - own) * loss(logits, labels[order])
    )


def test_names_of_both_libraries_in_a_list():
    model = localizer([dict(type='HideAndSeek'), dict(type='CutMix', alpha=1.0)], probs=[0.5, 0.5])
    names = [type(augment).__name__ for augment in model.data_preprocessor.batch_augments.augments]
    assert names[:2] == ['HideAndSeek', 'CutMix']
