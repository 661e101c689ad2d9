"""Pass the names of the classes of the data to the texts of CLIP."""

from typing import Any

from wsol_mm.models.clip import class_names_from
from wsol_mm.models.localizers import CLIPLocalizer
from wsol_mm.models.losses.semantic_boost_adapter import SemanticBoostAdapter
from wsol_mm.registry import HOOKS
from wsol_mm.utils.model_wrappers import unwrapped

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from .class_count_hook import find_classes


@HOOKS.register_module()
class ClassNamesHook(Hook):
    """Give the classes of the data to what has no ``class_names`` of its own.

    A :class:`SemanticBoostAdapter` gets those of the training data, a :class:`CLIPLocalizer` those of the
    data that it is tested with. The names are those of :func:`wsol_mm.models.clip.class_names_from`. A model
    without such a part, or one with names of its own, is left as it is.
    """

    def before_train(self, runner: Runner) -> None:
        """Set the names.

        Raises:
            ValueError: If the data have no class names, none that can serve in a prompt, or not as many as
                the model has classes.
        """
        names = self._set_names(runner, SemanticBoostAdapter, runner.train_dataloader.dataset)
        if names:
            print_log(
                f'Prompts of CLIP are about {len(names)} classes: {", ".join(names[:5])}, ...', 'current'
            )

    def before_val(self, runner: Runner) -> None:
        """Set the names of what is found; errors are those of :meth:`before_train`."""
        self._set_names(runner, CLIPLocalizer, runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        """Set the names of what is found; errors are those of :meth:`before_train`."""
        self._set_names(runner, CLIPLocalizer, runner.test_dataloader.dataset)

    @staticmethod
    def _set_names(
        runner: Runner, kind: type[SemanticBoostAdapter] | type[CLIPLocalizer], dataset: Any
    ) -> list[str]:
        """Set the names of the modules of a kind that have none; return them if there is such a module."""
        model = unwrapped(runner.model)
        unnamed = [
            module for module in model.modules() if isinstance(module, kind) and module.class_names is None
        ]
        if not unnamed:
            return []
        names = class_names_from(find_classes(dataset) or (), kind.names_key)
        for module in unnamed:
            module.set_class_names(names)
        return names
