"""Optimizers whose parameters stand in as few groups as they have settings."""

import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from wsol_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIMIZERS
from wsol_mm.utils.model_wrappers import unwrapped

from mmengine import optim
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from torch import Tensor, nn


# Under the name of its base, which is MMEngine's default: every config gets it.
@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class DefaultOptimWrapperConstructor(optim.DefaultOptimWrapperConstructor):
    """MMEngine's constructor (same arguments), with one group for all parameters of the same settings.

    With ``paramwise_cfg`` MMEngine makes a group of every parameter, and an optimizer takes groups one
    by one: kernels for many tensors at once have nothing to join. The updates are the same, bit for bit, in
    one group and in many, and so is the norm by which gradients are clipped: it is summed in the order of the
    model.

    On a GPU an optimizer of PyTorch that has one takes a fused kernel, unless its config says ``fused`` or
    ``foreach``. What is said of single parameters is written to the log file only.
    """

    # Of the base class.
    optimizer_cfg: dict[str, Any]

    def add_params(
        self, params: list[dict], module: nn.Module, prefix: str = '', is_dcn_module: Any = None
    ) -> None:
        """Add the groups of a module, and join those of the whole model.

        Args:
            params: Groups; extended in place.
            module: The module.
            prefix: Its name in the model; empty for the model.
            is_dcn_module: Of the base class.
        """
        super().add_params(params, module, prefix, is_dcn_module)
        if not prefix:
            params[:] = joined(params)

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer and its wrapper.

        Args:
            model: The model that is trained, on its device.

        Returns:
            The wrapper.
        """
        # A plain dictionary: a config would make configs of the groups, which torch.compile does not take.
        self.optimizer_cfg = dict(self.optimizer_cfg)
        if can_be_fused(self.optimizer_cfg, unwrapped(model)):
            self.optimizer_cfg['fused'] = True
        with _parameters_in_files_only():
            wrapper = super().__call__(model)
        if wrapper.clip_grad_kwargs:
            wrapper.clip_func = GradientClipping(wrapper.clip_func, unwrapped(model))
        return wrapper


class GradientClipping:
    """Clips gradients in the order of the model, and keeps their norm where it is.

    MMEngine reads the norm of every step for its log, so that the host waits for the device.

    Args:
        function: ``torch.nn.utils.clip_grad_norm_`` or ``clip_grad_value_``.
        model: The model whose gradients are clipped.
    """

    def __init__(self, function: Callable[..., Tensor | None], model: nn.Module) -> None:
        self.function = function
        self._place = {id(parameter): place for place, parameter in enumerate(model.parameters())}
        self._norm: Tensor | None = None

    def __call__(self, parameters: list[nn.Parameter], **kwargs: Any) -> None:
        """Clip.

        Args:
            parameters: Those with gradients.
            **kwargs: Arguments of the function.
        """
        parameters = sorted(parameters, key=lambda parameter: self._place[id(parameter)])
        self._norm = self.function(parameters, **kwargs)

    def take_norm(self) -> Tensor | None:
        """Return the norm () of the last step, once; None if nothing was clipped, or single values were."""
        norm, self._norm = self._norm, None
        return norm


def joined(groups: list[dict]) -> list[dict]:
    """Join groups of equal settings, in the order in which they come first.

    Args:
        groups: Groups of an optimizer.

    Returns:
        Groups of different settings.
    """
    found: list[tuple[dict, list]] = []
    for group in groups:
        settings = {name: value for name, value in group.items() if name != 'params'}
        for known, parameters in found:
            if known == settings:
                parameters += group['params']
                break
        else:
            found.append((settings, list(group['params'])))
    return [{'params': parameters, **settings} for settings, parameters in found]


def can_be_fused(config: dict, model: nn.Module) -> bool:
    """Whether an optimizer has a fused kernel for the parameters of a model, and nothing else was asked for.

    Args:
        config: Config of the optimizer.
        model: The model.
    """
    if {'fused', 'foreach'} & set(config):
        return False
    kind = config['type']
    if isinstance(kind, str):
        kind = OPTIMIZERS.get(kind)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return (
        kind is not None
        and 'fused' in inspect.signature(kind).parameters
        and all(parameter.is_cuda and parameter.is_floating_point() for parameter in trained)
    )


@contextmanager
def _parameters_in_files_only() -> Iterator[None]:
    """Keep MMEngine's lines for settings of every parameter, and for every frozen one, off the console."""

    def keep(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        return not (text.startswith('paramwise_options') or 'is skipped since its requires_grad' in text)

    consoles = [
        handler
        for handler in MMLogger.get_current_instance().handlers
        if not isinstance(handler, logging.FileHandler)
    ]
    for handler in consoles:
        handler.addFilter(keep)
    try:
        yield
    finally:
        for handler in consoles:
            handler.removeFilter(keep)
