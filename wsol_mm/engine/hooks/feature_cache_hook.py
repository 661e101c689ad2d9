"""Compare cached features with the backbone of the model before anything runs."""

from dataclasses import replace

from wsol_mm.feature_cache.cache_key import cached_needs, model_fields
from wsol_mm.registry import HOOKS
from wsol_mm.utils.model_wrappers import unwrapped

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader


@HOOKS.register_module()
class FeatureCacheHook(Hook):
    """Stop where cached features are those of another backbone, other weights or other colours.

    Images and views are compared by :class:`CachedFeatures` itself. A training compares once, before it
    starts: no gradient reaches a backbone that no image passes.
    """

    _is_training = False

    def before_train(self, runner: Runner) -> None:
        """Compare the training data, and the validation data if there are any."""
        loaders = [runner.train_dataloader, *([runner.val_dataloader] if runner.val_loop is not None else [])]
        self._compare(runner, *loaders)
        self._is_training = True

    def after_train(self, runner: Runner) -> None:
        """Let a validation by itself be compared again."""
        self._is_training = False

    def before_val(self, runner: Runner) -> None:
        """Compare the validation data, unless they belong to a training."""
        if not self._is_training:
            self._compare(runner, runner.val_dataloader)

    def before_test(self, runner: Runner) -> None:
        """Compare the test data."""
        self._compare(runner, runner.test_dataloader)

    @staticmethod
    def _compare(runner: Runner, *loaders: DataLoader) -> None:
        datasets = [loader.dataset for loader in loaders if hasattr(loader.dataset, 'cache')]
        if not datasets:
            return
        model = unwrapped(runner.model)
        needs, fields = cached_needs(model.head), model_fields(model)
        for dataset in datasets:
            key = dataset.cache.key
            # A cache may hold more than this head needs.
            known = key.needs if needs <= set(key.needs) else tuple(sorted(needs))
            dataset.cache.check(replace(key, **fields, needs=known))
            dataset.read_only(needs)
