"""Writes predictions to a file, for evaluation under other protocols later."""

from collections.abc import Sequence
from typing import Any

from wsol_mm.registry import METRICS

from mmengine.evaluator import DumpResults
from torch import Tensor


@METRICS.register_module()
class DumpPredictions(DumpResults):
    """MMEngine's ``DumpResults`` for predictions that share memory.

    The scores and maps of a head are parts of one tensor per batch, and pickling a part writes the whole:
    with batches of 64 the file would be 64 times as large. What is written is everything that the metrics
    read: scores, labels, maps, ground-truth boxes and masks, and the geometry of the image; see
    ``tools/analysis_tools/eval_predictions.py``.

    Args:
        out_file_path (str): File ending in ``.pkl`` or ``.pickle``.
        collect_device (str): 'cpu' or 'gpu'.
    """

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep a copy of the predictions of a batch.

        Args:
            data_batch: Not used.
            data_samples: The predictions.
        """
        copies = [
            {key: value.clone() if isinstance(value, Tensor) else value for key, value in sample.items()}
            for sample in data_samples
        ]
        super().process(data_batch, copies)
