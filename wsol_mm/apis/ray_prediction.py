"""Boxes in a pipeline of Ray Data: the inferencer as the class of an actor.

Ray itself is not imported: ``ray.data.Dataset.map_batches`` takes the class as it is.
"""

from pathlib import Path
from typing import Any

from wsol_mm.datasets.dataset_problems import UnreadableImage
from wsol_mm.utils.optional_packages import optional_package

import numpy as np
from mmengine.config import Config
from mmengine.dataset import default_collate

from .localization_inferencer import LocalizationInferencer
from .localization_result import NOT_FINITE, LocalizationResult


class RayLocalizer:
    """Adds classes and boxes to the rows of a batch, each with the path of an image.

    Every actor loads the model once, on the GPU that Ray gives it, or the CPU.

    Args:
        config: Config file, config, or a name of the model index.
        checkpoint: The weights, as for :class:`LocalizationInferencer`.
        column: Column of the paths.
        topk: Number of the best classes to localize.
        **options: Other arguments of :class:`LocalizationInferencer`.

    Raises:
        ValueError: If an argument is not as said.
    """

    def __init__(
        self,
        config: str | Path | Config,
        checkpoint: str | Path | None = None,
        column: str = 'path',
        topk: int = 1,
        **options: Any,
    ) -> None:
        self.inferencer = LocalizationInferencer(config, checkpoint, **options)
        self.inferencer.check_topk(topk)
        self.column = column
        self.topk = topk

    def __call__(self, batch: Any) -> Any:
        """Predict a batch.

        Args:
            batch: Table of pyarrow (``batch_format='pyarrow'``) of B rows, with a column of paths.

        Returns:
            The same table with ``labels`` (names of the classes), their ``scores``, ``boxes`` (x0, y0, x1, y1
            in pixels, exclusive ends) and their ``confidences``, of every image, its ``width`` and
            ``height``, and ``error``: why the image cannot be used. The others are null then, and ``error``
            if all is well.

        Raises:
            ImportError: If there is no pyarrow.
            ValueError: If there is no such column.
        """
        arrow = optional_package('pyarrow', 'RayLocalizer')
        if self.column not in batch.column_names:
            raise ValueError(f'column: expected one of {", ".join(batch.column_names)}, got {self.column!r}')
        rows: list[dict[str, Any]] = []
        items, usable = [], []
        for path in batch.column(self.column).to_pylist():
            rows.append({})
            try:
                items.append(self.inferencer.pipeline(str(path)))
                usable.append(rows[-1])
            except UnreadableImage as error:
                rows[-1]['error'] = error.reason
        if items:
            samples = self.inferencer.forward(default_collate(items), topk=self.topk)
            results = self.inferencer.postprocess(samples, topk=self.topk)
            for row, result in zip(usable, results, strict=True):
                row.update(_columns(result))
        kinds = {
            'labels': arrow.list_(arrow.string()),
            'scores': arrow.list_(arrow.float64()),
            'boxes': arrow.list_(arrow.list_(arrow.float64(), 4)),
            'confidences': arrow.list_(arrow.float64()),
            'width': arrow.int32(),
            'height': arrow.int32(),
            'error': arrow.string(),
        }
        for name, kind in kinds.items():
            batch = batch.append_column(name, arrow.array([row.get(name) for row in rows], kind))
        return batch


def _columns(result: LocalizationResult) -> dict[str, Any]:
    if not result.finite:
        return {'error': NOT_FINITE}
    found = np.flatnonzero(result.found)
    return {
        'labels': [result.classes[place] for place in found],
        'scores': [result.scores[place] for place in found],
        'boxes': result.boxes[found].tolist(),
        'confidences': [result.confidences[place] for place in found],
        'width': result.size[0],
        'height': result.size[1],
    }
