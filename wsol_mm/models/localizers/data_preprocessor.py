"""Normalisation of images and of their crops."""

from wsol_mm.registry import MODELS

from mmpretrain.models.utils import ClsDataPreprocessor
from torch import Tensor, stack


@MODELS.register_module()
class LocalizationDataPreprocessor(ClsDataPreprocessor):
    """mmpretrain's ``ClsDataPreprocessor`` that also takes several crops per image (``TenCrop``).

    The parent turns BGR into RGB by the first axis of an image, which for crops (10, 3, H, W) is not the
    colour, so it would leave their colours swapped without a word. Arguments are those of the parent.
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepare a batch.

        Args:
            data: ``inputs``: images (B, 3, H, W) or crops (B, T, 3, H, W), or a list of B of them;
                ``data_samples``, optional.
            training: Whether to apply batch augmentations.

        Returns:
            The same with normalised ``inputs``, (B, 3, H, W) or (B, T, 3, H, W).
        """
        inputs = data['inputs']
        if not isinstance(inputs, Tensor) and len(inputs) and inputs[0].dim() == 4:
            inputs = stack(list(inputs))
        if not isinstance(inputs, Tensor) or inputs.dim() != 5:
            return super().forward(data, training)
        batch = super().forward({**data, 'inputs': inputs.flatten(0, 1)}, training)
        batch['inputs'] = batch['inputs'].unflatten(0, inputs.shape[:2])
        return batch
