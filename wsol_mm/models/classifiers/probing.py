"""What a network is like inside, found by one pass of an image through it."""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

# They change no map in a way that matters, or pool it to a fixed size.
_SKIPPED = (
    nn.Identity,
    nn.Flatten,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.modules.dropout._DropoutNd,
)
# How the libraries call the normalisation that the attention of a block reads.
_FIRST_NORMS = ('norm1', 'ln1', 'ln_1', 'layernorm_before')


class MapLayout(NamedTuple):
    """Where the map (B, D, h, w) is in the output of a layer.

    Attributes:
        kind: ``'channels_first'`` (B, D, h, w), ``'channels_last'`` (B, h, w, D) or ``'tokens'`` (B, N, D),
            row-major.
        prefix: Tokens before the first patch: class token, registers.
    """

    kind: str
    prefix: int = 0

    def to_map(self, output: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Return the map (B, D, h, w) inside an output.

        Args:
            output: Of the layer.
            image_size: Height and width of the images, in whose aspect the patches lie.

        Raises:
            ValueError: If the patches make no grid of that aspect.
        """
        if self.kind == 'channels_first':
            return output
        if self.kind == 'channels_last':
            return output.permute(0, 3, 1, 2)
        patches = output[:, self.prefix :]
        grid = grid_of(patches.shape[1], image_size)
        if grid is None:
            raise ValueError(
                f'inputs: expected images whose patches make a grid of their aspect, got {image_size} '
                f'(height, width) and {patches.shape[1]} patches'
            )
        return patches.transpose(1, 2).unflatten(2, grid)

    def put_back(self, feature_map: Tensor, output: Tensor) -> Tensor:
        """Return an output like ``output``, in new memory, with another map."""
        if self.kind == 'channels_first':
            return feature_map.clone()
        if self.kind == 'channels_last':
            return feature_map.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format)
        patches = feature_map.flatten(2).transpose(1, 2)
        return torch.cat((output[:, : self.prefix].to(patches.dtype), patches), dim=1)


def grid_of(patches: int, image_size: tuple[int, int]) -> tuple[int, int] | None:
    """Return height and width of a grid of so many patches in the aspect of an image, or None."""
    height, width = image_size
    rows = round(math.sqrt(patches * height / width))
    if rows < 1 or patches % rows or rows * width != patches // rows * height:
        return None
    return rows, patches // rows


class Record(NamedTuple):
    """What a module returned.

    Attributes:
        name: Of the module.
        module: The module.
        input: Its first argument, if that is a tensor.
        output: What it returned, a tensor.
    """

    name: str
    module: nn.Module
    input: Tensor | None
    output: Tensor


class Probe(NamedTuple):
    """One pass of an image through a network.

    Attributes:
        image: The image (1, 3, H, W), noise.
        records: Of all modules that returned one tensor, in the order in which they finished.
        logits: Of the network, (1, C).
        prefix_tokens: Tokens before the first patch, where the network says so.
    """

    image: Tensor
    records: list[Record]
    logits: Tensor
    prefix_tokens: int | None

    def layout_of(self, output: Tensor) -> MapLayout | None:
        """Return where the map is in an output; None if it holds no map of more than one position."""
        size = (self.image.shape[2], self.image.shape[3])
        shape = output.shape
        if len(shape) == 4 and shape[0] == 1:
            for kind, rows, columns in (('channels_first', *shape[2:]), ('channels_last', *shape[1:3])):
                if rows * columns > 1 and _same_aspect(rows, columns, size):
                    return MapLayout(kind)
        if len(shape) == 3 and shape[0] == 1:
            known = self.prefix_tokens
            # The fewest that leave a grid, where the network does not say.
            for prefix in range(min(shape[1] - 1, 16)) if known is None else (known, 0):
                if shape[1] - prefix > 1 and grid_of(shape[1] - prefix, size) is not None:
                    return MapLayout('tokens', prefix)
        return None

    def map_at(self, record: Record) -> Tensor | None:
        """Return the map (1, D, h, w) in an output, if there is one."""
        layout = self.layout_of(record.output)
        if layout is None:
            return None
        return layout.to_map(record.output, (self.image.shape[2], self.image.shape[3]))

    def last_map(self) -> str | None:
        """Return the name of the last module that returns a map."""
        maps = (
            record.name
            for record in reversed(self.records)
            if not isinstance(record.module, _SKIPPED) and self.layout_of(record.output) is not None
        )
        return next(maps, None)

    def last_first_norm(self) -> str | None:
        """Return the name of the first normalisation of the last transformer block, if its tokens are a map.

        It is what the last attention reads. Behind it patches no longer reach a class token, and before it
        the residual stream has tokens of very different lengths.
        """
        names = {name for name, *_ in self.records if name.rpartition('.')[2] in _FIRST_NORMS}
        for record in reversed(self.records):
            if record.name not in names:
                continue
            parent = record.name.rpartition('.')[0]
            # A final normalisation of that name stands beside the blocks, not in one.
            in_block = not any(name.startswith(f'{parent}.') and name != record.name for name in names)
            layout = self.layout_of(record.output) if in_block else None
            if layout is not None and layout.kind != 'channels_first':
                return record.name
        return None

    def record_of(self, name: str) -> Record:
        """Return what a module returned.

        Raises:
            ValueError: If there is no such module, it did not run, ran several times, or returned no tensor.
        """
        found = [record for record in self.records if record.name == name]
        if len(found) != 1:
            names = list(dict.fromkeys(record.name for record in self.records))
            near = get_close_matches(str(name), names, n=3) or names[-3:]
            raise ValueError(
                f'cam.target_layer: expected the name of a module that runs once and returns a tensor, such '
                f'as {near}, got {name!r}'
            )
        return found[0]


def _same_aspect(rows: int, columns: int, size: tuple[int, int]) -> bool:
    """Return whether a grid has the aspect of an image, up to rounding of odd sides."""
    height, width = size
    return abs(rows * width - columns * height) < max(height, width)


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode; the mode of every module comes back, also after an exception."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def probe_network(
    model: nn.Module,
    run: Callable[[Tensor], Tensor],
    image_size: tuple[int, int],
    prefix_tokens: int | None,
) -> Probe:
    """Pass an image of noise through a network in evaluation mode, without gradients.

    Args:
        model: The network.
        run: From images to logits.
        image_size: Height and width.
        prefix_tokens: See :class:`Probe`.
    """
    records: list[Record] = []
    parameter = next(model.parameters())
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, *image_size, generator=generator).to(parameter)
    with ExitStack() as stack:
        stack.enter_context(evaluation_mode(model))
        stack.enter_context(torch.no_grad())
        for name, module in model.named_modules():

            def record(module: nn.Module, args: Any, output: Any, name: str = name) -> None:
                if name and isinstance(output, Tensor):
                    first = args[0] if args and isinstance(args[0], Tensor) else None
                    records.append(Record(name, module, first, output))

            stack.callback(module.register_forward_hook(record).remove)
        logits = run(image)
    return Probe(image, records, logits, prefix_tokens)


def layer_layout(probe: Probe, name: str) -> MapLayout:
    """Return where the map is in the output of a named layer.

    Raises:
        ValueError: If there is no such layer, or it returns no map.
    """
    output = probe.record_of(name).output
    layout = probe.layout_of(output)
    if layout is None:
        raise ValueError(
            f'cam.target_layer: expected a layer that returns a map (B, D, h, w), (B, h, w, D) or tokens '
            f'(B, N, D), got {name!r}, which returns {tuple(output.shape)}'
        )
    return layout
