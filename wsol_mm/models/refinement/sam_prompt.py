"""Maps sharpened by the Segment Anything Model, asked with their box or peak (Kirillov et al., ICCV 2023)."""

from pathlib import Path
from typing import Any, Literal, get_args

from wsol_mm.evaluation.functional.regions import region_boxes
from wsol_mm.registry import MODELS
from wsol_mm.utils.checkpoint_io import CheckpointError, read_checkpoint
from wsol_mm.utils.optional_packages import optional_package

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .resizing import resized

Prompt = Literal['box', 'point', 'both']
#: The published models, by the width of their image encoders.
_MODELS = {768: 'vit_b', 1024: 'vit_l', 1280: 'vit_h'}
_WIDTH = 'image_encoder.patch_embed.proj.weight'


@MODELS.register_module()
class SAMPrompt(nn.Module):
    """The mean of the map and of the object that SAM finds at its place.

    The mean, as of :class:`GrabCut`: thresholds near a half give the mask, where it agrees with the map, and
    others what the map says. The mask alone would leave nothing of a map that SAM has misunderstood; their
    product could only cut away, and a map stops at the head of a bird more often than it goes too far.

    Images go through SAM one by one, squashed to the square that it takes. It has no part in the state or
    the training of the model that it refines.

    Args:
        checkpoint: File with the weights of SAM, ``.pth`` or ``.safetensors``.
        model_type: Name in the registry of ``segment_anything``. None: the published model that the weights
            are of, ``vit_b``, ``vit_l`` or ``vit_h``.
        prompt: What SAM is asked with: ``'box'``, that of the largest region above half of the range of the
            map; ``'point'``, where the map is highest; or ``'both'``.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If the package is not installed.
        ValueError: If an argument is not as said, or the weights are those of another model.
    """

    #: SAM wants the image as large as it comes.
    any_size = True

    def __init__(self, checkpoint: str, model_type: str | None = None, prompt: Prompt = 'box') -> None:
        super().__init__()
        if prompt not in get_args(Prompt):
            raise ValueError(f'prompt: expected one of {get_args(Prompt)}, got {prompt!r}')
        self.checkpoint, self.prompt = checkpoint, prompt
        # In a tuple, it is no module of the localizer, whose checkpoints know nothing of it.
        self._hidden = (_load_sam(checkpoint, model_type),)

    def __str__(self) -> str:
        return f'SAM ({Path(self.checkpoint).name}, prompt: {self.prompt})'

    @torch.no_grad()
    def forward(self, maps: Tensor, pixels: Tensor) -> Tensor:
        """Filter maps.

        Args:
            maps: (B, K, H, W), float32, in 0..1.
            pixels: RGB images (B, 3, h, w), 0..255, of any size.

        Returns:
            (B, K, H, W). A map without contrast, or with NaN, stays as it is.
        """
        sam = self._hidden[0].to(maps.device)
        side = sam.image_encoder.img_size
        filtered = maps.clone()
        for i, (of_image, image) in enumerate(zip(maps, pixels, strict=True)):
            flat = of_image.flatten(1)
            usable = flat.isfinite().all(dim=1) & (flat.amax(dim=1) > flat.amin(dim=1))
            places = usable.nonzero()[:, 0]
            if not len(places):
                continue
            seen = resized(image[None], (side, side), 'bilinear')
            embedding = sam.image_encoder(sam.preprocess(seen))
            masks = self._masks(sam, embedding, of_image[places])
            filtered[i, places] = (of_image[places] + masks) / 2
        return filtered

    def _masks(self, sam: Any, embedding: Tensor, maps: Tensor) -> Tensor:
        """Return the masks (K, H, W) of the objects of maps, 0 or 1."""
        boxes, peaks = (
            torch.from_numpy(np.stack(found)).to(maps)
            for found in zip(*map(prompts, maps.cpu().numpy()), strict=True)
        )
        size = maps.new_tensor([maps.shape[2], maps.shape[1]])
        # The indices of the first and the last pixel, of SAM's image.
        scale = sam.image_encoder.img_size / size
        boxes = boxes * scale.repeat(2) - boxes.new_tensor([0, 0, 1, 1])
        peaks = (peaks + 0.5) * scale - 0.5
        ones = torch.ones(len(maps), 1, dtype=torch.int64, device=maps.device)
        sparse, dense = sam.prompt_encoder(
            points=None if self.prompt == 'box' else (peaks[:, None], ones),
            boxes=None if self.prompt == 'point' else boxes,
            masks=None,
        )
        logits, _ = sam.mask_decoder(
            image_embeddings=embedding,
            image_pe=sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        enlarged = resized(logits, tuple(maps.shape[1:]), 'bilinear')[:, 0]
        return (enlarged > sam.mask_threshold).to(maps)


def prompts(score: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what to ask SAM with, of a map (H, W) with contrast.

    Returns:
        The box of the largest region above half of its range, (4,), x0 y0 x1 y1 with exclusive ends; and
        the pixel (x, y) of its maximum, of several the first.
    """
    # Not above the mean of both ends, which of neighbouring numbers is rounded to the upper one.
    box = region_boxes(score - score.min() > np.ptp(score) / 2)[0][0]
    row, column = np.unravel_index(score.argmax(), score.shape)
    return box.astype(np.float32), np.array([column, row], np.float32)


def _load_sam(checkpoint: str, model_type: str | None) -> nn.Module:
    """Build SAM with the weights of a file; nothing in it is executed."""
    if not Path(checkpoint).is_file():
        raise FileNotFoundError(
            f'checkpoint: expected the weights of SAM, such as sam_vit_b_01ec64.pth of '
            f'facebookresearch/segment-anything, got no file at {checkpoint}'
        )
    weights = read_checkpoint(checkpoint)
    registry = optional_package('segment_anything', 'SAMPrompt').sam_model_registry
    if model_type is None:
        width = weights[_WIDTH].shape[0] if _WIDTH in weights else None
        if width not in _MODELS:
            found = f'none named {_WIDTH}' if width is None else f'a width of {width}'
            raise ValueError(
                f'{checkpoint}: expected weights of SAM, whose image encoder is {sorted(_MODELS)} wide, got '
                f'{found}'
            )
        model_type = _MODELS[width]
    if model_type not in registry:
        raise ValueError(f'model_type: expected one of {sorted(registry)}, got {model_type!r}')
    sam = registry[model_type]()
    try:
        sam.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if '\n' in str(error) else str(error)
        raise CheckpointError(
            f'{checkpoint}: expected the weights of SAM {model_type}, got {first}'
        ) from error
    return sam.eval().requires_grad_(False)
