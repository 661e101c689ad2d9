"""Compare the number of classes of the data with that of the model before anything runs."""

from collections.abc import Sequence
from typing import Any

from wsol_mm.registry import HOOKS
from wsol_mm.utils.model_wrappers import unwrapped

from mmengine.hooks import Hook
from mmengine.runner import Runner


@HOOKS.register_module()
class ClassCountHook(Hook):
    """Stop where data set and head have different numbers of classes.

    A head with too few classes fails far from the cause (an index error in the loss, a device assert on a
    GPU); one with too many trains without a word. The validation data are compared before the training
    as well, not after its first epoch.

    Data sets without ``metainfo['classes']`` and heads without ``num_classes`` are not compared.
    """

    def before_train(self, runner: Runner) -> None:
        """Compare the training data, and the validation data if there are any.

        Raises:
            ValueError: If the numbers of classes differ.
        """
        self._compare(runner, 'train', runner.train_dataloader.dataset)
        if runner.val_loop is not None:
            self.before_val(runner)

    def before_val(self, runner: Runner) -> None:
        """Compare the validation data.

        Raises:
            ValueError: If the numbers of classes differ.
        """
        self._compare(runner, 'val', runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        """Compare the test data.

        Raises:
            ValueError: If the numbers of classes differ.
        """
        self._compare(runner, 'test', runner.test_dataloader.dataset)

    @staticmethod
    def _compare(runner: Runner, split: str, dataset: Any) -> None:
        model = unwrapped(runner.model)
        in_head = getattr(getattr(model, 'head', None), 'num_classes', None)
        in_data = count_classes(dataset)
        if in_head is None or in_data is None or in_head == in_data:
            return
        raise ValueError(
            f'model.head.num_classes: expected {in_data}, the number of classes of '
            f'{split}_dataloader.dataset, got {in_head}. Set model.head.num_classes={in_data}'
        )


def count_classes(dataset: Any) -> int | None:
    """Count the classes of a data set; None if it has no class names. See :func:`find_classes`."""
    classes = find_classes(dataset)
    return None if classes is None else len(classes)


def find_classes(dataset: Any) -> Sequence[str] | None:
    """Find the class names of a data set, looking through wrappers that have no ``metainfo`` of their own.

    Args:
        dataset: A data set, or a wrapper with the wrapped one as ``dataset`` (``torch.utils.data.Subset``)
            or ``datasets`` (``torch.utils.data.ConcatDataset``, whose first one counts). MMEngine's wrappers
            have ``metainfo`` themselves.

    Returns:
        ``metainfo['classes']``; None if there are no class names.
    """
    while dataset is not None:
        classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
        if classes is not None:
            return classes
        several = getattr(dataset, 'datasets', None)
        dataset = several[0] if several else getattr(dataset, 'dataset', None)
    return None
