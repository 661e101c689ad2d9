"""Compare cached features with the backbone of the model before anything runs."""

from dataclasses import replace
from typing import Any

from wsol_mm.feature_cache.cache_key import cache_key
from wsol_mm.registry import HOOKS

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner


@HOOKS.register_module()
class FeatureCacheHook(Hook):
    """Stop where cached features are those of another backbone, other weights or other colours."""

    def before_train(self, runner: Runner) -> None:
        """Compare the training data, and the validation data if there are any."""
        self._compare(runner, runner.train_dataloader.dataset)
        if runner.val_loop is not None:
            self.before_val(runner)

    def before_val(self, runner: Runner) -> None:
        """Compare the validation data."""
        self._compare(runner, runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        """Compare the test data."""
        self._compare(runner, runner.test_dataloader.dataset)

    @staticmethod
    def _compare(runner: Runner, dataset: Any) -> None:
        cache = getattr(dataset, 'cache', None)
        if cache is None:
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        needs = (model.head.loss_needs | model.head.predict_needs) - {'images'}
        wanted = cache_key(model, dataset.dataset, needs, (), (), cache.key.dtype)
        # A cache may hold more than this head needs. Views are compared by the data set.
        known = cache.key.needs if set(wanted.needs) <= set(cache.key.needs) else wanted.needs
        own = dict(views=cache.key.views, view_names=cache.key.view_names, needs=known)
        cache.check(replace(wanted, **own))
