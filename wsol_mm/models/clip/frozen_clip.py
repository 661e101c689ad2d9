"""A frozen CLIP model that is no part of the model which learns from it."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from wsol_mm.models.utils.precision import at_least_float32, autocast_off

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .loading import CLIP_KEY, load_clip, model_config

#: Prompts that are encoded at a time.
_TEXT_CHUNK = 64


class FrozenCLIP:
    """Image and text features of a CLIP model whose weights are never trained.

    It is no ``nn.Module``, so a module that holds it has none of its weights among its parameters or in its
    state dict, does not move it and does not switch its mode: it is always in evaluation mode, on the device
    of its inputs. A deep copy, such as that of an averaged model, shares it.

    The weights are loaded by :meth:`load` or at the first use. The text encoder is freed once the
    prompts are encoded.

    Args:
        model: See :func:`load_clip`.
        pretrained: See :func:`load_clip`.
        key: See :func:`load_clip`.
    """

    def __init__(
        self,
        model: str | Mapping[str, Any] = 'ViT-B-32-quickgelu',
        pretrained: str | None = 'openai',
        key: str = CLIP_KEY,
    ) -> None:
        self.model = model
        self.pretrained = pretrained
        self.key = key
        self._visual: nn.Module | None = None
        self._whole: nn.Module | None = None  # with the text encoder, as long as that is needed
        self._encoded: tuple[tuple[str, ...], Tensor] | None = None

    def __deepcopy__(self, memo: dict) -> 'FrozenCLIP':
        """Return itself: frozen weights need no copy."""
        return self

    @property
    def is_loaded(self) -> bool:
        """Whether the weights have been loaded."""
        return self._visual is not None

    @property
    def config(self) -> dict[str, Any]:
        """open_clip's config of the model, for which no weights are needed.

        Raises:
            ValueError: See :func:`load_clip`.
        """
        return model_config(self.model, self.key)

    @property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of RGB images in [0, 1] with which the model was trained."""
        self.load()
        return self._statistics

    def load(self) -> nn.Module:
        """Load the weights unless that has been done, and return the image encoder.

        Raises:
            FileNotFoundError: See :func:`load_clip`.
            ValueError: See :func:`load_clip`.
        """
        if self._visual is None:
            self._load()
        assert self._visual is not None
        return self._visual

    def _load(self) -> nn.Module:
        loaded = load_clip(self.model, self.pretrained, self.key)
        self._whole = loaded.network.requires_grad_(False).eval()
        # One that is in use stays, when other prompts need the text encoder again.
        self._visual = loaded.network.visual if self._visual is None else self._visual
        self._tokenizer = loaded.tokenizer
        self._statistics = (loaded.mean, loaded.std)
        return loaded.network

    def text_features(self, prompts: Sequence[str], device: torch.device | str) -> Tensor:
        """Return the features of prompts, which are computed once and kept until other prompts come.

        Args:
            prompts: C prompts.
            device: Where to compute and return them.

        Returns:
            Features of length 1, (C, D), float32, without gradient.
        """
        prompts = tuple(prompts)
        if self._encoded is None or self._encoded[0] != prompts:
            whole = self._load() if self._whole is None else self._whole
            self._encoded = (prompts, self._encode(whole.to(device), prompts, torch.device(device)))
            self._whole = None
        features = self._encoded[1].to(device)
        self._encoded = (self._encoded[0], features)
        return features

    @torch.no_grad()
    def _encode(self, network: nn.Module, prompts: tuple[str, ...], device: torch.device) -> Tensor:
        tokens = self._tokenizer(list(prompts)).to(device)
        with autocast_off(tokens):
            features = torch.cat([network.encode_text(chunk) for chunk in tokens.split(_TEXT_CHUNK)])
            return F.normalize(features.float(), dim=-1)

    def image_features(self, images: Tensor) -> Tensor:
        """Return the features of images, with their gradient.

        Images of another size than the model's are resized (bicubic, antialiased). On a CUDA device that has
        bfloat16, the encoder runs under autocast to it, whatever the rest of the training uses; elsewhere
        under what is active.

        Args:
            images: Normalised images (B, 3, H, W).

        Returns:
            Features (B, D), not normalised, float32.
        """
        visual = self.load()
        parameter = next(visual.parameters())
        if parameter.device != images.device:
            visual.to(images.device)
        images = images.to(parameter.dtype)
        size = visual.image_size
        size = (size, size) if isinstance(size, int) else tuple(size)
        if images.shape[-2:] != size:
            with autocast_off(images):
                images = F.interpolate(images, size, mode='bicubic', align_corners=False, antialias=True)
        with _encoder_autocast(images.device):
            return at_least_float32(visual(images))


def _encoder_autocast(device: torch.device) -> AbstractContextManager:
    if device.type == 'cuda' and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.autocast('cuda', dtype=torch.bfloat16)
    return nullcontext()
