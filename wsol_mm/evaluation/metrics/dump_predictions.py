"""Writes predictions to a file, for evaluation under other protocols later."""

import pickle
from collections.abc import Sequence
from typing import Any

from wsol_mm.registry import METRICS
from wsol_mm.utils.whole_files import whole_file

from mmengine.evaluator import DumpResults
from torch import Tensor


@METRICS.register_module()
class DumpPredictions(DumpResults):
    """MMEngine's ``DumpResults`` for predictions that share memory.

    The scores and maps of a head are parts of one tensor per batch, and pickling a part writes the whole:
    with batches of 64 the file would be 64 times as large. What is written is everything that the metrics
    read: scores, labels, maps, ground-truth boxes and masks, and the geometry of the image; see
    ``tools/analysis_tools/eval_predictions.py``.

    The file is written by :meth:`write`, which whoever runs the test calls after the metrics of it are known,
    so that a disk that is full does not cost them.

    Args:
        out_file_path: File ending in ``.pkl`` or ``.pickle``.
        collect_device: 'cpu' or 'gpu'.
    """

    _predictions: list | None = None

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

    def compute_metrics(self, results: list) -> dict:
        """Keep the predictions of all processes for :meth:`write`; there are no metrics."""
        self._predictions = results
        return {}

    def write(self) -> None:
        """Write the predictions, whole or not at all; only the main process has any.

        Raises:
            OSError: If the file cannot be written.
        """
        if self._predictions is not None:
            with whole_file(self.out_file_path) as part, part.open('wb') as file:
                pickle.dump(self._predictions, file)
            self._predictions = None
