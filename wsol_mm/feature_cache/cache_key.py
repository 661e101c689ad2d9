"""What cached features depend on."""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from wsol_mm.utils.json_text import parse_json

import torch
from torch import Tensor, nn

_BYTES = torch.uint8
# Attributes of modules that belong to a run or a machine; features are the same.
_NO_SETTINGS = ('training', 'fused_attn', 'grad_checkpointing', 'init_cfg', 'is_init')


@dataclass(frozen=True)
class CacheKey:
    """Everything that cached features depend on.

    Attributes:
        backbone: Class and settings of the backbone, and a hash of those of all its modules.
        weights: Hash of all its weights and buffers.
        needs: Names of what is cached.
        mean: Subtracted from the RGB images, 0..255.
        std: What they are divided by.
        view_names: Kind of every view.
        views: Its transforms, in words.
        files: Hash of names and sizes of the image files, in the order of the data set.
        num_images: Their number.
        dtype: In which features are stored.
    """

    backbone: str
    weights: str
    needs: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    view_names: tuple[str, ...]
    views: tuple[str, ...]
    files: str
    num_images: int
    dtype: str

    def to_json(self) -> str:
        """Return the key as text."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str | bytes) -> 'CacheKey':
        """Return the key that :meth:`to_json` wrote.

        Raises:
            ValueError: If the text is no such key.
        """
        given = parse_json(text, 'key', 'what cached features depend on')
        names = {field.name for field in fields(cls)}
        if not isinstance(given, dict) or set(given) != names:
            found = sorted(given) if isinstance(given, dict) else type(given).__name__
            raise ValueError(f'expected an object of {sorted(names)}, got {found}')
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
        return cls(**values)

    def differences(self, other: 'CacheKey') -> list[str]:
        """Return what differs from another key, one text for each field."""
        found = []
        for name, mine in asdict(self).items():
            theirs = getattr(other, name)
            if name == 'views' and len(mine) == len(theirs):  # of long texts, only what differs
                found += [
                    f'views[{view}]: expected {texts[0]}, got {texts[1]}'
                    for view, texts in enumerate(zip(mine, theirs, strict=True))
                    if texts[0] != texts[1]
                ]
            elif mine != theirs:
                found.append(f'{name}: expected {mine}, got {theirs}')
        return found


def cache_key(
    model: nn.Module,
    dataset: Any,
    needs: Collection[str],
    views: Sequence[Sequence[Any]],
    view_names: Sequence[str],
    dtype: str,
) -> CacheKey:
    """Return the key of the features that a model's backbone makes of a data set.

    Args:
        model: A localizer.
        dataset: A :class:`LocalizationDataset`.
        needs: Names of what is cached.
        views: Built transforms of every view.
        view_names: Kind of every view.
        dtype: In which features are stored.
    """
    return CacheKey(
        **model_fields(model),
        needs=tuple(sorted(needs)),
        view_names=tuple(view_names),
        views=describe_views(views),
        files=hash_files(dataset),
        num_images=len(dataset),
        dtype=dtype,
    )


def cached_needs(head: nn.Module) -> set[str]:
    """Return what is cached for a head, the feature map by name; images are not, they pass no backbone."""
    needs = set(head.loss_needs | head.predict_needs) - {'images', 'pixels'}
    return needs | {'feature_map'} if head.needs_feature_map else needs


def model_fields(model: nn.Module) -> dict[str, Any]:
    """Return the fields of a key that a localizer decides: backbone, weights, mean and std."""
    preprocessor = model.data_preprocessor
    return dict(
        backbone=describe_backbone(model.backbone),
        weights=hash_weights(model.backbone),
        mean=_numbers(getattr(preprocessor, 'mean', None)),
        std=_numbers(getattr(preprocessor, 'std', None)),
    )


def describe_backbone(backbone: nn.Module) -> str:
    """Return class and settings of a backbone, and a hash of all its modules': what weights do not show.

    Settings are the public attributes that are numbers, words, None, or a sequence of them, such as the
    number of heads of an attention or the epsilon of a normalisation.
    """
    digest = hashlib.sha256()
    for name, module in backbone.named_modules():
        digest.update(f'{name} {type(module).__name__} {_settings(module)}\n'.encode())
    return f'{type(backbone).__name__} {_settings(backbone)} {digest.hexdigest()[:16]}'


def _settings(module: nn.Module) -> str:
    settings = {
        name: value
        for name, value in vars(module).items()
        if not name.startswith('_') and name not in _NO_SETTINGS and _is_plain(value)
    }
    return json.dumps(settings, sort_keys=True)


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def describe_views(views: Sequence[Sequence[Any]]) -> tuple[str, ...]:
    """Return the transforms of every view in words."""
    return tuple(', '.join(map(repr, view)) for view in views)


def hash_weights(module: nn.Module) -> str:
    """Return a hash of the names and values of all weights and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f'{name} {tuple(value.shape)} {value.dtype} '.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(dtype=_BYTES).numpy().tobytes())
    return digest.hexdigest()[:32]


def hash_files(dataset: Any) -> str:
    """Return a hash of names and sizes of a data set's images, in its order."""
    digest = hashlib.sha256()
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        digest.update(f'{info["img_id"]} {Path(info["img_path"]).stat().st_size}\n'.encode())
    return digest.hexdigest()[:32]


def _numbers(values: Tensor | None) -> tuple[float, ...]:
    return () if values is None else tuple(round(value, 4) for value in values.flatten().tolist())
