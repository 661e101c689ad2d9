"""A reference case: weights, inputs and architecture.

What the arrays and the shapes of the weights tell is taken from them and checked against the words of the
description.
"""

import math
import re
import zlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .description import NUMBER, SYNONYMS, Description, every, shape_in

#: What the published names of architectures fix and weights do not show: heads, norm eps, scale of q k^T.
_NAMED: tuple[tuple[str, dict[str, Any]], ...] = (
    (r'conformer\w*_(tiny|ti|t|small|s)(?![a-z])', dict(num_heads=6)),
    (r'conformer\w*_(base|b)(?![a-z])', dict(num_heads=9)),
    (r'\bvit\w*_(small|s)(?![a-z])', dict(num_heads=8, norm_eps=1e-5, qk_scale=768**-0.5)),
    (r'deit\w*_(tiny|ti|t)(?![a-z])', dict(num_heads=3)),
    (r'deit\w*_(small|s)(?![a-z])', dict(num_heads=6)),
    (r'deit\w*_(base|b)(?![a-z])', dict(num_heads=12)),
)
#: The recipe of the README: scale of all weights, and what is added to some by the last part of their names.
_SCALE = 0.02
_OFFSETS = {'thred': 0.5, '_loss_rate': 1.0}


class Case(Description):
    """One reference case: weights, inputs and architecture, as its arrays and its description tell them."""

    def state(self) -> dict[str, Tensor]:
        """Return the reference model's weights and buffers under their official names.

        Those that the description lists as not filled are left out: they keep what a constructor gives them.

        Raises:
            ValueError: If the case neither carries weights nor has a recipe for them.
        """
        if any(name.startswith('state/') for name in self.arrays):
            return {name: torch.from_numpy(self.arrays[f'state/{name}']) for name in self.shapes}
        recipe = self.get('recipe')
        accepted = f'state/ arrays, or the recipe of the README under {SYNONYMS["recipe"]}'
        if isinstance(recipe, str) and 'fan_in' in recipe:
            return self._state_by_fan_in(recipe)
        if not isinstance(recipe, str) or re.search('carried', recipe):
            raise self.error('weights', recipe, accepted)
        written = re.search(rf'({NUMBER})\s*(?:\*|x|times)\s*(?:\w+\.)?(?:standard|randn|N\()', recipe)
        written = written or re.search(r'\b(0\.0\d*)\b', recipe)
        scale = float(written[1]) if written else _SCALE
        offsets = re.findall(rf'\*\.(\w+)\s*(?:gets?|is|[:=])\s*({NUMBER})\s*\+\s*v', recipe)
        offsets = _OFFSETS | {name: float(offset) for name, offset in offsets}
        ones = self._norm_weights(recipe)
        state = {}
        for name, shape in self.shapes.items():
            if name in self.not_filled:
                continue
            if name.endswith('num_batches_tracked'):
                state[name] = torch.zeros((), dtype=torch.int64)
                continue
            # Cast before anything is added, as the recipe says.
            value = (scale * draw(name, shape)).astype(np.float32)
            if name.endswith('.running_var'):
                value = 1 + np.abs(value)
            elif name in ones:
                value = 1 + value
            value = value + np.float32(offsets.get(name.rpartition('.')[2], 0.0))
            state[name] = torch.from_numpy(value)
        return state

    def _state_by_fan_in(self, recipe: str) -> dict[str, Tensor]:
        """Return weights by the recipe that divides matrices and kernels by the root of their fan-in."""
        gain = self.number('recipe_gain')
        written = re.search(rf'({NUMBER})\s*\*\s*z', recipe)
        if gain is None or written is None:
            raise self.error('recipe_gain', gain, 'a number, and "0.02*z" in the recipe')
        scale, ones, state = float(written[1]), self._norm_weights(recipe), {}
        for name, shape in self.shapes.items():
            if name in self.not_filled:
                continue
            if name.endswith('num_batches_tracked'):
                state[name] = torch.zeros((), dtype=torch.int64)
                continue
            value = draw(name, shape) * (scale if len(shape) < 2 else gain / math.prod(shape[1:]) ** 0.5)
            if name.endswith('.running_var'):
                value = 1 + np.abs(value)
            elif name in ones:
                value = 1 + value
            state[name] = torch.from_numpy(value.astype(np.float32))
        return state

    @property
    def not_filled(self) -> frozenset[str]:
        """Names of weights that a recipe leaves alone."""
        return frozenset(
            name
            for key, value in self.meta.items()
            if re.match(r'(not|un)_?filled$|untouched|unchanged', key) and isinstance(value, list)
            for name in value
        )

    def _norm_weights(self, recipe: str) -> set[str]:
        """Names of the weights that scale a norm: those listed, or else all with one dimension."""
        listed = self.get('norm_weights')
        if isinstance(listed, list):
            return set(listed)
        entries = self.get('parameters')
        if isinstance(entries, list) and isinstance(entries[0], Mapping) and 'norm_weight' in entries[0]:
            return {entry['name'] for entry in entries if entry['norm_weight']}
        scales = {
            name
            for name, shape in self.shapes.items()
            if len(shape) == 1 and name.rpartition('.')[2] == 'weight' and name not in self.not_filled
        }
        return scales | {name for name in self.shapes if '.' in name and name in recipe}

    # ---------------------------------------------------------------- inputs

    def images(self) -> Tensor:
        """Return the input batch, (B, 3, H, W) float32: stored, or drawn as its recipe says."""
        stored = self._input(4, 'image', 'images', 'input', 'inputs')
        seed = self.get('image_seed', 'in/image')
        stored = draw(seed, self._image_shape) if stored is None else stored
        return torch.from_numpy(stored.astype(np.float32))

    def labels(self) -> Tensor | None:
        """Return the class indices (B,), or None if the case has none."""
        labels = self._input(1, 'label', 'labels', 'target', 'targets')
        return None if labels is None else torch.from_numpy(labels.astype(np.int64))

    def _input(self, dimensions: int, *names: str) -> NDArray | None:
        arrays = (self.arrays.get(f'in/{name}') for name in names)
        return next((array for array in arrays if array is not None and array.ndim == dimensions), None)

    @property
    def _image_shape(self) -> tuple[int, ...]:
        """Shape of images that are drawn: as described, or as the position embedding needs them."""
        told = [*self.all('image'), *self.all('frame'), self.prose]
        shapes = [shape for shape in map(shape_in, told) if shape is not None]
        shape = next((shape for shape in shapes if shape[0] is not None), shapes[0] if shapes else None)
        if shape is None and 'pos_embed' in self.shapes:
            side = round((self.shapes['pos_embed'][1] - 1) ** 0.5) * self.architecture['patch_size']
            shape = None, side, side
        if shape is None:
            raise self.error('in/image', None, f'the array, or its shape under {SYNONYMS["image"]}')
        batch = self.number('batch', shape[0])
        if batch is None and self.labels() is None:
            raise self.error('batch', None, 'a number of images, or in/label')
        return int(len(self.labels()) if batch is None else batch), 3, *shape[1:]

    def frame(self, default: int | None = None) -> int:
        """Return the side of the square in which boxes are.

        Arrays of enlarged maps tell it; else the description; else ``default``, what the method fixes.

        Raises:
            ValueError: If nothing tells it.
        """
        for name, array in self.arrays.items():
            named = re.fullmatch(r'out/(?:\w+/)?\w*?map_?(\d{2,4})(?:_\w+)?', name)
            if named:
                return int(named[1])
            if re.search(r'(scoremap|map_resized|map_uint8)', name):
                return array.shape[-1]
        written = re.search(r'\b(?:frame|crop)\D{0,12}(\d{2,4})\b|\b(\d{2,4})\W+(?:\w+ )?frame\b', self.prose)
        sides = [shape_in(value) for value in self.all('frame')]
        side = sides[0][-1] if any(sides) else int(written[1] or written[2]) if written else default
        if side is None:
            raise self.error('frame', None, f'one of {SYNONYMS["frame"]}, or "frame N" in words')
        return side

    # ---------------------------------------------------------------- architecture

    @cached_property
    def named(self) -> dict[str, Any]:
        """What the published name of the architecture fixes, e.g. of ``deit_scm_small_patch16_224``."""
        words = ' '.join(value for value in self.all('architecture') if isinstance(value, str)).lower()
        words = re.sub(r'[\s-]+', '_', words)
        return next((facts for pattern, facts in _NAMED if re.search(pattern, words)), {})

    @property
    def is_hybrid(self) -> bool:
        """Whether the weights are those of a Conformer."""
        return 'trans_patch_conv.weight' in self.shapes

    @cached_property
    def architecture(self) -> dict[str, Any]:
        """Sizes of the transformer: by the shapes of its weights, and otherwise by the description.

        Raises:
            ValueError: If the description states another size than the weights have, or if it does not say
                what they do not show.
        """
        shapes = self.shapes
        layer = r'trans_1\.' if self.is_hybrid else r'blocks\.0\.'
        inner = {re.sub(layer, '', name): shape for name, shape in shapes.items() if re.match(layer, name)}
        width = shapes['cls_token'][-1]
        if self.is_hybrid:
            numbers = [int(m[1]) for m in (re.match(r'conv_trans_(\d+)\.', name) for name in shapes) if m]
            depth, patch = max(numbers), 4 * shapes['trans_patch_conv.weight'][-1]
        else:
            depth = 1 + max(int(m[1]) for m in (re.match(r'blocks\.(\d+)\.', name) for name in shapes) if m)
            patch = shapes['patch_embed.proj.weight'][-1]
        found: dict[str, Any] = dict(
            embed_dim=width,
            depth=depth,
            patch_size=patch,
            mlp_ratio=inner['mlp.fc1.weight'][0] / width,
            qkv_bias='attn.qkv.bias' in inner,
        )
        if self.is_hybrid:
            found['channel_ratio'] = shapes['conv_cls_head.weight'][1] / 256
        for key, value in found.items():
            stated = self.get(key)
            if isinstance(stated, int | float) and stated != value:
                raise self.error(key, stated, f'{value}, which the shapes of the weights tell')
        found |= {key: self.number(key, 0.0) for key in ('drop_rate', 'attn_drop_rate', 'drop_path_rate')}
        found |= dict(num_heads=self._heads(width), norm_eps=self._norm_eps(), qk_scale=self._qk_scale())
        return found

    def _heads(self, width: int) -> int:
        stated = self.number('num_heads')
        if stated is None:
            written = re.search(r'\bheads?[ =:]+(\d+)|\b(\d+)[ -]heads?\b', self.prose)
            stated = (written[1] or written[2]) if written else self.named.get('num_heads')
        if stated is None or width % int(stated):
            raise self.error('num_heads', stated, f'a divisor of the width {width}; weights do not tell it')
        return int(stated)

    def _norm_eps(self) -> float:
        """Return the eps of the layer norms; 1e-6 is that of all reference models but those that say so."""
        for key in ('norm_eps', 'norm_layer'):
            value = self.get(key)
            if isinstance(value, float):
                return value
            written = re.search(rf'(?:eps\D{{0,3}}|^)({NUMBER})', str(value))
            if value is not None and written:
                return float(written[1])
        return self.named.get('norm_eps', 1e-6)

    def _qk_scale(self) -> float | None:
        return self.number('qk_scale', self.named.get('qk_scale'))

    @property
    def num_classes(self) -> int:
        """Number of classes, by the weights of the classifier."""
        for name in ('head.weight', 'trans_cls_head.weight', 'CDM.bias'):
            if name in self.shapes:
                classes, stated = self.shapes[name][0], self.get('num_classes')
                if isinstance(stated, int) and stated != classes:
                    raise self.error('num_classes', stated, f'{classes}, which the weights tell')
                return classes
        raise self.error('num_classes', None, 'the weights of a classifier')

    @property
    def image_sides(self) -> tuple[int, int]:
        """Height and width of the images, which the position embedding must be for.

        Raises:
            ValueError: If it is for another number of patches.
        """
        steps = self._input(5, 'images', 'image')  # of several steps
        height, width = (self.images() if steps is None else steps).shape[-2:]
        if 'pos_embed' in self.shapes:
            patch, tokens = self.architecture['patch_size'], self.shapes['pos_embed'][1]
            if (height // patch) * (width // patch) + 1 != tokens:
                accepted = f'images whose patches of {patch} are the {tokens - 1} of pos_embed'
                raise self.error('in/image', (height, width), accepted)
        return height, width

    # ---------------------------------------------------------------- subsets

    def thinned(self, name: str, value: NDArray) -> NDArray:
        """Return a computed array with those classes, channels or pixels that the case keeps of it.

        "Every N-th" comes from the meaning of the array or the subset of classes of the case; both must fit
        the shape that is stored. A map that is stored for the first images alone is cut.

        Raises:
            ValueError: If the case says it in other words.
        """
        shape = self.arrays[name].shape
        if value.shape == shape or value.ndim != len(shape):
            return value
        kept = self.get('class_subset')
        if kept is not None and (indices := self._kept_classes(kept)) is not None:
            axes = [axis for axis, size in enumerate(value.shape) if axis and size != shape[axis]]
            if len(axes) == 1:
                chosen = np.arange(value.shape[axes[0]])[::indices] if isinstance(indices, int) else indices
                if len(chosen) == shape[axes[0]]:
                    return value.take(chosen, axis=axes[0])
        for axis, size in enumerate(shape):
            if size == value.shape[axis]:
                continue
            steps = [step for step in self._steps(name) if -(-value.shape[axis] // step) == size]
            if steps:
                value = value.take(range(0, value.shape[axis], steps[0]), axis=axis)
            elif axis == 0 and size < value.shape[0] and re.search(r'first', self.meaning(name)):
                value = value[:size]
        return value

    def _kept_classes(self, kept: Any) -> int | list[int] | None:
        if isinstance(kept, int):
            return kept
        if isinstance(kept, list) and all(isinstance(index, int) for index in kept):
            return kept
        written = every(str(kept))
        if len(written) != 1:
            raise self.error('class_subset', kept, '"every N-th class", N, or a list of classes')
        return written[0]

    def _steps(self, name: str) -> list[int]:
        """Return all N of "every N-th" in the meaning of an array, its name, and the case's prose on maps."""
        strides = [int(step) for step in re.findall(r'(?:::|_s|/)(\d+)\b', f'{self.meaning(name)} {name}')]
        return every(self.meaning(name)) + strides + every(self.prose)


def draw(name: str, shape: tuple[int, ...]) -> NDArray:
    """Return standard normal numbers in double precision, seeded with the CRC-32 of ``name``."""
    return np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).standard_normal(shape)
