"""What the description of a reference case says, in whatever words.

Descriptions differ from case to case in the names of their keys and in their prose: a key is looked up under
all its names, and numbers are taken out of sentences.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUMBER = r'\d+\.?\d*(?:e[+-]?\d+)?'

#: Names under which descriptions have one and the same thing; looked up at the top and in the parts below.
SYNONYMS: dict[str, tuple[str, ...]] = {
    'num_heads': ('num_heads', 'heads', 'n_heads', 'n_head', 'num_attention_heads'),
    'embed_dim': ('embed_dim', 'embed_dims', 'embedding_dim', 'hidden_size', 'dim'),
    'depth': ('depth', 'depths', 'n_layers', 'n_blocks', 'num_blocks'),
    'patch_size': ('patch_size', 'patch'),
    'mlp_ratio': ('mlp_ratio', 'mlp_ratios', 'mlp'),
    'num_classes': ('num_classes', 'n_classes', 'nb_classes', 'classes'),
    'qkv_bias': ('qkv_bias', 'attention_bias'),
    'qk_scale': ('qk_scale', 'attention_scale'),
    'drop_rate': ('drop_rate', 'dropout'),
    'attn_drop_rate': ('attn_drop_rate', 'attention_dropout'),
    'drop_path_rate': ('drop_path_rate', 'drop_path'),
    'norm_eps': ('norm_eps', 'layer_norm_eps', 'layernorm_eps', 'block_layernorm_eps', 'ln_eps', 'eps'),
    'norm_layer': ('norm_layer', 'norm', 'layer_norm'),
    'iterations': ('iterations', 'scm_iterations', 'iteration', 'num_iterations'),
    'batch': ('batch', 'batch_size', 'n_images'),
    'frame': ('crop_size', 'frame', 'frame_size', 'crop', 'resize', 'map_size', 'crop_size_of_map_224'),
    'image': (
        *('image', 'images', 'input', 'inputs', 'image_shape', 'images_shape', 'input_shape', 'inputs_shape'),
        *('input_size', 'image_size', 'img_size', 'image_hw', 'resolution', 'input_resolution', 'size'),
        *('input_recipe', 'image_recipe', 'images_recipe', 'inputs_recipe'),
    ),
    'architecture': (
        *('arch', 'architecture', 'factory', 'official_factory', 'backbone', 'model', 'model_class'),
        *('model_name', 'official_class', 'name'),
    ),
    'threshold': ('threshold', 'cam_thr', 'thr', 'cam_threshold'),
    'class_subset': (
        *('class_subset', 'classes_kept', 'class_step', 'class_stride', 'subset', 'subset_of_classes'),
        *('kept_classes', 'class_selection', 'class_subsampling'),
    ),
    'parameters': ('parameters', 'state_dict', 'state', 'parameter_shapes', 'shapes', 'state_shapes'),
    'norm_weights': ('norm_weights', 'norm_weight_names', 'norm_names', 'norms'),
    'recipe': ('weights_recipe', 'weight_recipe', 'state_recipe', 'recipe', 'weights', 'parameters_recipe'),
    'tolerance': ('tolerance', 'tolerances', 'tol'),
    'area_target': ('area_thr', 'area_threshold', 'target_area'),
}
#: Parts of a description in which the arguments of a model may stand.
_PARTS = (
    *('model_args', 'args', 'arguments', 'model_kwargs', 'kwargs', 'hyperparameters', 'config_args'),
    *('model', 'architecture', 'arch', 'vit', 'backbone', 'input', 'box', 'scm', 'evaluation', 'head'),
)


@dataclass(frozen=True)
class Description:
    """The files of one reference case, and how to read them.

    Attributes:
        system: Name of the folder, e.g. ``ts_cam``.
        name: File name without suffix.
        meta: The JSON file.
        arrays: The npz file, half precision cast to float32; an empty mapping if there is none.
        folder: Where the files are.
        half: Names of the arrays that are stored in half precision.
    """

    system: str
    name: str
    meta: dict[str, Any]
    arrays: Mapping[str, NDArray]
    folder: Path = Path()
    half: frozenset[str] = field(default=frozenset())

    @classmethod
    def load(cls, path: Path) -> 'Description':
        """Read a case from its npz or JSON file.

        Raises:
            FileNotFoundError: If the JSON file is missing.
        """
        description = path.with_suffix('.json')
        if not description.is_file():
            raise FileNotFoundError(
                f'{path}: expected the description {description.name} beside it, got none'
            )
        archive = path.with_suffix('.npz')
        arrays: dict[str, NDArray] = {}
        if archive.is_file():
            with np.load(archive) as file:
                arrays = dict(file)
        half = frozenset(name for name, array in arrays.items() if array.dtype == np.float16)
        arrays |= {name: arrays[name].astype(np.float32) for name in half}
        return cls(
            path.parent.name, path.stem, json.loads(description.read_text()), arrays, path.parent, half
        )

    def error(self, key: str, found: object, accepted: str) -> ValueError:
        """Return the error for something that cannot be read or derived."""
        return ValueError(f'{self.system}/{self.name}: {key}: expected {accepted}, got {found!r}')

    # ---------------------------------------------------------------- keys

    @cached_property
    def _places(self) -> list[Mapping]:
        """The description and its parts in which arguments may stand, these first."""
        parts = [self.meta[part] for part in _PARTS if isinstance(self.meta.get(part), Mapping)]
        parts += [deeper for part in parts for deeper in part.values() if isinstance(deeper, Mapping)]
        return [*parts, self.meta]

    def all(self, key: str) -> list[Any]:
        """Return the entries of the description under all names of ``key``, in the arguments first."""
        names = [_folded(name) for name in SYNONYMS.get(key, (key,))]
        places = [{_folded(name): value for name, value in place.items()} for place in self._places]
        return [place[name] for place in places for name in names if place.get(name) is not None]

    def get(self, key: str, default: Any = None) -> Any:
        """Return the first of :meth:`all`."""
        return next(iter(self.all(key)), default)

    def number(self, key: str, default: float | None = None) -> float | None:
        """Return the number under a key, also out of a sentence.

        Raises:
            ValueError: If the entry has no number, or several.
        """
        value = self.get(key)
        if value is None:
            return default
        numbers = {float(text) for text in re.findall(NUMBER, str(value))}
        if isinstance(value, bool) or len(numbers) != 1:
            raise self.error(key, value, 'one number')
        return numbers.pop()

    @cached_property
    def prose(self) -> str:
        """All sentences of the description, but the meanings of the arrays and the shapes of weights."""

        def texts(value: Any) -> list[str]:
            if isinstance(value, str):
                return [value]
            if isinstance(value, Mapping):
                return [text for entry in value.values() for text in texts(entry)]
            return []

        return ' ; '.join(
            text
            for key, value in self.meta.items()
            if key != 'arrays' and not (key in SYNONYMS['parameters'] and isinstance(value, Mapping))
            for text in texts(value)
        )

    def listed(self) -> set[str]:
        """Names of all arrays, also of those that the description lists and the npz lacks."""
        described = self.meta.get('arrays', ())
        return {*self.arrays, *(described if isinstance(described, Mapping | list) else ())}

    def meaning(self, name: str) -> str:
        """What the description says about one array."""
        described = self.meta.get('arrays')
        described = described.get(name, '') if isinstance(described, Mapping) else ''
        return str(described.get('meaning', '')) if isinstance(described, Mapping) else str(described)

    @property
    def trains(self) -> bool | None:
        """Whether the mode is training (True) or evaluation (False); None if it is both.

        Where the description has no mode, gradients tell it.
        """
        mode = str(self.meta.get('mode', '')).lower()
        train, test = 'train' in mode, re.search(r'eval|test|infer|predict', mode)
        if not train and not test:
            return any(name.startswith('grad') for name in self.arrays)
        return None if train and test else train

    @property
    def has_model(self) -> bool:
        """Whether the case has the weights of a whole model, carried or listed for a recipe."""
        listed = self.get('parameters')
        return 'state/cls_token' in self.arrays or bool(listed) and 'cls_token' in str(listed)

    def sibling(self, text: str) -> 'Description':
        """Return another case of the folder, named in words such as ``tiny_clip.npz (arrays state/*)``."""
        named = re.match(r'\W*([\w-]+)(?:\.npz|\.json)?\b', str(text))
        if named is None or not (self.folder / f'{named[1]}.json').is_file():
            raise self.error('state', text, 'the name of a case in the same folder')
        return type(self).load(self.folder / f'{named[1]}.json')

    # ---------------------------------------------------------------- weights

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Official names and shapes of the weights: those carried, or those listed for a recipe.

        Raises:
            ValueError: If there is neither.
        """
        carried = {name[6:]: value.shape for name, value in self.arrays.items() if name.startswith('state/')}
        if carried:
            return carried
        entries = self.get('parameters')
        if isinstance(entries, Mapping):
            entries = [(name, value) for name, value in entries.items()]
        if not isinstance(entries, Sequence) or isinstance(entries, str) or not entries:
            accepted = f'state/ arrays, or names and shapes under {SYNONYMS["parameters"]}'
            raise self.error('parameters', entries, accepted)
        return dict(map(self._shape_of, entries))

    def _shape_of(self, entry: Any) -> tuple[str, tuple[int, ...]]:
        name, shape = (entry.get('name'), entry.get('shape')) if isinstance(entry, Mapping) else entry[:2]
        if isinstance(shape, Mapping):
            shape = shape.get('shape')
        elif isinstance(shape, Sequence) and shape and isinstance(shape[0], list):
            shape = shape[0]  # shape and type
        if isinstance(shape, str):
            shape = [int(side) for side in re.findall(r'\d+', shape)]
        if shape is None or name is None:
            raise self.error('parameters', entry, 'a name and a shape')
        return name, tuple(shape)


def shape_in(value: Any) -> tuple[int | None, int, int] | None:
    """Return batch (or None), height and width that a number, a list, a mapping or a sentence tells."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return None, value, value
    if isinstance(value, Mapping):
        sides = [value.get(side, value.get(side[0])) for side in ('height', 'width')]
        shape = sides if None not in sides else value.get('shape', value.get('size'))
        shape = shape_in(shape)
        return shape and (value.get('batch', shape[0]), *shape[1:])
    if isinstance(value, list):
        sides = [side for side in value if isinstance(side, int)]
        return (sides[0] if len(sides) == 4 else None, *sides[-2:]) if 2 <= len(sides) <= 4 else None
    times, text = r'\s*[,x×]\s*', str(value)
    if written := re.search(rf'\b(\d+){times}3{times}(\d+){times}(\d+)\b', text):
        return int(written[1]), int(written[2]), int(written[3])
    written = re.search(rf'\b(?:3{times})?(\d{{2,4}}){times}(\d{{2,4}})\b', text)
    written = written or re.search(
        r'\b(?:frame|crop|images?|inputs?|size|resolution)\D{0,12}?((\d{2,4}))\b', text
    )
    written = written or re.search(r'\b((\d{2,4}))[- ]?(?:px|pixel|frame)', text)
    return (None, int(written[1]), int(written[2])) if written else None


def _folded(name: str) -> str:
    return re.sub(r'[\W_]', '', name).lower()


def every(text: str) -> list[int]:
    """Return all N of "every N-th" in a text; "every other" is 2."""
    words = {'other': 2, 'second': 2, 'third': 3, 'fourth': 4, 'fifth': 5, 'tenth': 10}
    found = re.findall(rf'\bevery (?:(\d+)(?:[- ]?(?:st|nd|rd|th))?|({"|".join(words)}))\b', text.lower())
    return [int(number) if number else words[word] for number, word in found]
