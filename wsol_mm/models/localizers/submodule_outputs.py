"""Outputs of named modules inside a network: read them, or change them on their way."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from typing import Any

from wsol_mm.registry import MODELS

from torch import Tensor, nn


def named_submodule(model: nn.Module, name: str, setting: str) -> nn.Module:
    """Return the module ``name`` of a model.

    Args:
        model: The model.
        name: Such as ``layer3.0``.
        setting: What asks for it, for the message.

    Raises:
        ValueError: If there is none.
    """
    try:
        if name:
            return model.get_submodule(name)
    except AttributeError:
        pass
    names = [known for known, _ in model.named_modules()]
    near = get_close_matches(str(name), names, n=3) or [key for key, _ in model.named_children()]
    kind = type(model).__name__
    raise ValueError(f'{setting}: expected the name of a module of {kind}, such as {near}, got {name!r}')


@contextmanager
def recorded_outputs(modules: Sequence[nn.Module]) -> Iterator[list[Tensor | None]]:
    """Record what modules return while the context lasts.

    Args:
        modules: Modules that each run once.

    Yields:
        Their outputs in the order of ``modules``; None before a module has run.
    """
    outputs: list[Tensor | None] = [None] * len(modules)
    with ExitStack() as stack:
        for index, module in enumerate(modules):

            def record(_: nn.Module, __: Any, output: Tensor, index: int = index) -> None:
                outputs[index] = output

            stack.callback(module.register_forward_hook(record).remove)
        yield outputs


class _Replaced:
    """A forward hook that passes a module's output through a layer.

    An object instead of a function: a deep copy of the model (an average of its weights) then holds the
    copy of the layer, which follows the copy's mode.
    """

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer

    def __call__(self, module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return self.layer(output)


def insert_layers(model: nn.Module, inserts: Sequence[dict]) -> nn.ModuleList:
    """Let layers change what named modules of a model return, without changing any parameter's name.

    Args:
        model: The model.
        inserts: Configs of layers, each with ``after``, the names of one or more modules of the model. A
            layer that stands after several modules is one layer.

    Returns:
        The layers.

    Raises:
        ValueError: If ``after`` is missing or names no module.
    """
    layers = nn.ModuleList()
    for config in inserts:
        settings = dict(config)
        after = settings.pop('after', None)
        if not after:
            raise ValueError(
                f'inserts: expected names of modules of the model in `after`, got none in {config}'
            )
        layer = MODELS.build(settings)
        for name in [after] if isinstance(after, str) else after:
            named_submodule(model, name, 'inserts.after').register_forward_hook(_Replaced(layer))
        layers.append(layer)
    return layers
