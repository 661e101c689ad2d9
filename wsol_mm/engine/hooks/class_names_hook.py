"""Pass the names of the training classes to the prompts of CLIP."""

from wsol_mm.models.clip import class_names_from
from wsol_mm.models.losses.semantic_boost_adapter import SemanticBoostAdapter
from wsol_mm.registry import HOOKS

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from .class_count_hook import find_classes


@HOOKS.register_module()
class ClassNamesHook(Hook):
    """Give the classes of the training data to every :class:`SemanticBoostAdapter` without ``class_names``.

    The names are those of :func:`wsol_mm.models.clip.class_names_from`. A model that has no such part, or one
    with names of its own, is left as it is.
    """

    def before_train(self, runner: Runner) -> None:
        """Set the names.

        Raises:
            ValueError: If the data have no class names, none that can serve in a prompt, or not as many as
                the model has classes.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        adapters = [
            module
            for module in model.modules()
            if isinstance(module, SemanticBoostAdapter) and module.class_names is None
        ]
        if not adapters:
            return
        names = class_names_from(find_classes(runner.train_dataloader.dataset) or ())
        for adapter in adapters:
            adapter.set_class_names(names)
        print_log(f'Prompts of CLIP are about {len(names)} classes: {", ".join(names[:5])}, ...', 'current')
