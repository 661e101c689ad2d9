"""Semantic boost adapter of CDTR (TPAMI 2025): CLIP judges the object map."""

from collections.abc import Sequence
from pathlib import Path

from wsol_mm.models.clip import FrozenCLIP, load_class_names
from wsol_mm.models.clip.class_names import CLASS_NAMES_KEY
from wsol_mm.models.layers.spatial_calibration import min_max
from wsol_mm.models.utils.precision import at_least_float32, autocast_off

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_MIN_MAX_EPS = 1e-15
_SIMILARITY_RANGE = (1e-4, 0.9999)


class SemanticBoostAdapter(nn.Module):
    """Loss that is small where CLIP finds the foreground closer to its class than the background.

    The object map U, upsampled to the image x, splits it into foreground U * x and background (1 - U) * x. A
    frozen CLIP compares both with the prompt of a class; the loss is :func:`foreground_contrast_loss` of the
    two cosines. The gradient reaches the object map through CLIP's image encoder; there is nothing to train
    here, no parameter and no entry in the state dict. CLIP is needed for training alone: it is loaded by
    :meth:`init_weights` or the first :meth:`forward`.

    Args:
        num_classes: Number of classes; class names must be as many. None to accept any number.
        class_names: See :func:`load_class_names`. None for those of the training data, which
            ``ClassNamesHook`` passes to :meth:`set_class_names`.
        clip: Arguments of :class:`FrozenCLIP`: ``model`` and ``pretrained``.
        prompt: Prompt, with {} for the name of the class.
        prompt_index: Which prompt an image is compared with. ``'batch'``: the official code takes that of
            class i for image i of the batch, whatever its label. ``'label'``: that of its label, which is
            recommended.
        normalize_map: Bring every object map to [0, 1] first, (U - min) / (max - min + 1e-15); the gradient
            passes minimum and maximum, too. The official code does so for ILSVRC and not for CUB.
        clip_statistics: Give CLIP images in its own normalisation. The official code gives it those of the
            transformer.
        image_mean: With ``clip_statistics``, mean by which the images were normalised (RGB, values up to
            255), as in the config of the data preprocessor.
        image_std: Their standard deviation.
        loss_weight: For the head, which multiplies the loss by it.

    Raises:
        ValueError: If ``prompt_index`` is neither of the two, or ``prompt`` has not one {}.
    """

    #: Where a config gives the names.
    names_key = CLASS_NAMES_KEY

    def __init__(
        self,
        num_classes: int | None = None,
        class_names: str | Path | Sequence[str] | None = None,
        clip: dict | None = None,
        prompt: str = 'a photo of {}.',
        prompt_index: str = 'batch',
        normalize_map: bool = False,
        clip_statistics: bool = False,
        image_mean: Sequence[float] = (123.675, 116.28, 103.53),
        image_std: Sequence[float] = (58.395, 57.12, 57.375),
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if prompt_index not in ('batch', 'label'):
            raise ValueError(f"prompt_index: expected 'batch' or 'label', got {prompt_index!r}")
        if prompt.count('{}') != 1:
            raise ValueError(f'prompt: expected a text with {{}} once, for the class name, got {prompt!r}')
        self.num_classes = num_classes
        self.class_names = class_names
        self.clip = FrozenCLIP(**(clip or {}))
        self.prompt = prompt
        self.prompt_index = prompt_index
        self.normalize_map = normalize_map
        self.clip_statistics = clip_statistics
        self.image_mean = tuple(image_mean)
        self.image_std = tuple(image_std)
        self.loss_weight = loss_weight
        self._prompts: tuple[str, ...] | None = None

    def extra_repr(self) -> str:
        """See :class:`torch.nn.Module`."""
        return (
            f'clip={self.clip.model!r}, pretrained={self.clip.pretrained!r}, prompt={self.prompt!r}, '
            f'prompt_index={self.prompt_index!r}, normalize_map={self.normalize_map}'
        )

    def init_weights(self) -> None:
        """Read the class names if the config gives them, and load CLIP.

        MMEngine's runner calls it before a training, so what is missing is missed before the first step.

        Raises:
            FileNotFoundError: If there is no file with names or weights.
            ValueError: If the number of names is wrong, or as :meth:`FrozenCLIP.load` does.
        """
        if self.class_names is not None:
            self.set_class_names(load_class_names(self.class_names))
        self.clip.load()

    def set_class_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """Set the names of the classes, in the order of their indices, and return the prompts.

        Raises:
            ValueError: If there are not ``num_classes`` of them.
        """
        if self.num_classes not in (None, len(names)):
            raise ValueError(
                f'{CLASS_NAMES_KEY}: expected a name for each of the {self.num_classes} classes, got '
                f'{len(names)} ({", ".join(map(repr, names[:3]))}, ...)'
            )
        self._prompts = tuple(self.prompt.replace('{}', name) for name in names)
        return self._prompts

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompts of the classes.

        Raises:
            ValueError: If the class names are not known.
        """
        if self._prompts is None:
            if self.class_names is None:
                raise ValueError(
                    f'{CLASS_NAMES_KEY}: expected the names of the classes for the prompts of CLIP, got '
                    "none. Set them, or add dict(type='ClassNamesHook') to custom_hooks"
                )
            return self.set_class_names(load_class_names(self.class_names))
        return self._prompts

    def forward(self, images: Tensor, object_maps: Tensor, labels: Tensor) -> Tensor:
        """Return the loss, not weighted.

        Args:
            images: Images as the backbone got them, (B, 3, H, W).
            object_maps: Maps of the objects, (B, h, w).
            labels: Class indices (B,); not used with ``prompt_index='batch'``.

        Returns:
            Scalar, float32.

        Raises:
            ValueError: If the shapes do not fit, or as :meth:`prompt_features` does.
        """
        return foreground_contrast_loss(*self.similarities(images, object_maps, labels))

    def similarities(self, images: Tensor, object_maps: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cosines of foreground and of background with the prompt, (B,) each, in [-1, 1].

        Arguments are those of :meth:`forward`.
        """
        prompts = self.prompt_features(labels)
        features = self.clip.image_features(self.views(images, object_maps))
        with autocast_off(features):
            cosines = (F.normalize(features, dim=-1).unflatten(0, (2, -1)) * prompts).sum(dim=-1)
        return cosines[0], cosines[1]

    def prompt_features(self, labels: Tensor) -> Tensor:
        """Return the normalised features of the prompt for each image, (B, D).

        Args:
            labels: Class indices (B,).

        Raises:
            ValueError: If the class names are not known, or are fewer than the images and taken by position.
        """
        features = self.clip.text_features(self.prompts, labels.device)
        if self.prompt_index == 'label':
            return features[labels]
        if len(labels) > len(features):
            raise ValueError(
                f"prompt_index: expected a batch of at most {len(features)} images per process with 'batch', "
                f'which takes class i for image i, got {len(labels)}. Use smaller batches, or '
                "model.head.sba.prompt_index='label'"
            )
        return features[: len(labels)]

    def views(self, images: Tensor, object_maps: Tensor) -> Tensor:
        """Return the foregrounds and then the backgrounds of the images, (2B, 3, H, W), float32.

        Args:
            images: (B, 3, H, W).
            object_maps: (B, h, w).

        Raises:
            ValueError: If there are not as many maps as images.
        """
        if object_maps.dim() != 3 or len(object_maps) != len(images):
            raise ValueError(
                f'object_maps: expected a map (h, w) for each image of {tuple(images.shape)}, got the shape '
                f'{tuple(object_maps.shape)}'
            )
        images, maps = at_least_float32(images), at_least_float32(object_maps)[:, None]
        with autocast_off(images):
            if self.normalize_map:
                maps = min_max(maps.flatten(1), _MIN_MAX_EPS).view_as(maps)
            if self.clip_statistics:
                images = self._in_clip_statistics(images)
            masks = F.interpolate(maps, images.shape[-2:], mode='bilinear', align_corners=True)
            return torch.cat((masks * images, (1 - masks) * images))

    def _in_clip_statistics(self, images: Tensor) -> Tensor:
        own_mean, own_std, mean, std = (
            images.new_tensor(values).view(3, 1, 1)
            for values in (self.image_mean, self.image_std, *self.clip.statistics)
        )
        return ((images * own_std + own_mean) / 255 - mean) / std


def foreground_contrast_loss(foreground: Tensor, background: Tensor) -> Tensor:
    """Return -mean log(f / (f + b)), f and b clamped to [0.0001, 0.9999] (no gradient outside).

    Args:
        foreground: Similarities f of the foregrounds, of any shape.
        background: Similarities b of the backgrounds, of the same shape.

    Returns:
        Scalar.
    """
    foreground, background = (
        at_least_float32(cosines).clamp(*_SIMILARITY_RANGE) for cosines in (foreground, background)
    )
    return -(foreground / (foreground + background)).log().mean()
