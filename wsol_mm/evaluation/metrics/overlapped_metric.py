"""Metrics whose work on an image is done beside the network."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

from wsol_mm.utils.worker_processes import MadeWhenSent

from mmengine.evaluator import BaseMetric
from torch import Tensor

from .ordered_workers import OrderedWorkers

Record = TypeVar('Record')
Made = TypeVar('Made')


class OverlappedMetric(BaseMetric, Generic[Record]):
    """A metric of records, one of each image, that other processes make while the network goes on.

    Args:
        make_record: Makes the record of a prediction, of which it gets :attr:`fields` with NumPy arrays for
            tensors. It must not depend on other images.
        num_eval_workers: Processes of each rank. At most two batches wait for them. 0: :meth:`process` makes
            the records itself.
        **kwargs: Of :class:`mmengine.evaluator.BaseMetric`.

    Raises:
        ValueError: If ``num_eval_workers`` is not an integer from 0.
    """

    #: What of a prediction goes into its record; metrics add to it.
    fields: ClassVar[Sequence[str]] = (
        *('img_path', 'load_error', 'ori_shape', 'img_shape', 'scale_factor'),
        *('gt_label', 'pred_score', 'loc_maps', 'loc_labels'),
    )

    def __init__(
        self, make_record: Callable[[Mapping[str, Any]], Record], num_eval_workers: int, **kwargs: Any
    ) -> None:
        if not isinstance(num_eval_workers, int) or num_eval_workers < 0:
            raise ValueError(f'num_eval_workers: expected an integer from 0, got {num_eval_workers!r}')
        super().__init__(**kwargs)
        self._workers = OrderedWorkers(partial(_named, make_record), num_eval_workers)

    @property
    def results(self) -> list[Record]:
        """The records of all images so far; waits for those that are not ready."""
        self._records += self._workers.finish()
        return self._records

    @results.setter
    def results(self, records: list[Record]) -> None:
        self._records = records

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Start on the records of a batch.

        Args:
            data_batch: Not used.
            data_samples: Predictions, see the class.

        Raises:
            Exception: What is wrong with an image, of this batch or of an earlier one; the message begins
                with its path.
        """
        arrays = partial(_named, partial(_arrays, self.fields))
        self._records += self._workers.put(MadeWhenSent(arrays, data_samples))


def _arrays(fields: Sequence[str], sample: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: sample[name] for name in fields if name in sample}
    return {
        name: value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        for name, value in kept.items()
    }


def _named(function: Callable[[Mapping[str, Any]], Made], sample: Mapping[str, Any]) -> Made:
    try:
        return function(sample)
    except Exception as error:
        # The type stays; which image it was is known here alone.
        reason = error.args[0] if error.args else type(error).__name__
        error.args = (f'{sample.get("img_path", "image without a path")}: {reason}', *error.args[1:])
        raise
