"""Predictions with a known right answer, for the tests of the metrics."""

from wsol_mm.evaluation.metrics import LocalizationMetric

import numpy as np
import torch
from mmpretrain.structures import DataSample

NUM_CLASSES = 6
SIDE = 56


def block_map(x0: int, y0: int, x1: int, y1: int, side: int = SIDE) -> np.ndarray:
    """Map (side, side) of ones in a block; thresholding it gives the block at every threshold."""
    loc_map = np.zeros((side, side), np.float32)
    loc_map[y0:y1, x0:x1] = 1
    return loc_map


GOOD, BAD = block_map(10, 10, 40, 40), block_map(0, 0, 6, 6)
BOX = [10, 10, 40, 40]


def make_sample(
    maps: dict[int, np.ndarray], ranked: list[int], label: int, gt_bboxes=None, index: int = 0, **fields
) -> dict:
    """Prediction for one image of SIDE x SIDE pixels, as the evaluator hands it to a metric."""
    sample = DataSample(
        metainfo=dict(
            ori_shape=(SIDE, SIDE), img_shape=(SIDE, SIDE), scale_factor=(1.0, 1.0), sample_idx=index
        )
    )
    sample.set_gt_label(label)
    sample.pred_topk = torch.tensor(ranked)
    sample.loc_labels = torch.tensor(list(maps))
    sample.loc_maps = torch.from_numpy(np.stack(list(maps.values())))
    if gt_bboxes is not None:
        sample.gt_bboxes = np.asarray(gt_bboxes, np.float64)
    for name, value in fields.items():
        sample.set_field(value, name)
    return sample.to_dict()


def random_samples(number: int, seed: int = 0) -> list[dict]:
    """Random but fixed predictions with smooth maps of all classes."""
    rng = np.random.default_rng(seed)
    samples = []
    for index in range(number):
        maps = {c: rng.standard_normal((7, 7)).astype(np.float32) for c in range(NUM_CLASSES)}
        x0, y0 = rng.integers(0, SIDE // 2, 2)
        box = [x0, y0, x0 + rng.integers(8, SIDE // 2), y0 + rng.integers(8, SIDE // 2)]
        ranked = rng.permutation(NUM_CLASSES)[:5].tolist()
        samples.append(make_sample(maps, ranked, int(rng.integers(NUM_CLASSES)), [box], index))
    return samples


def evaluate(samples: list[dict], protocols: list, num_eval_workers: int = 0, **kwargs) -> dict:
    """Metrics of predictions under some protocols."""
    metric = LocalizationMetric(protocols, num_eval_workers=num_eval_workers, **kwargs)
    metric.dataset_meta = dict(classes=[f'class{i}' for i in range(NUM_CLASSES)])
    metric.process(None, samples)
    return metric.evaluate(len(samples))
