"""Small models and inputs for the tests of wsol_mm.models."""

from wsol_mm.registry import MODELS

import pytest
import torch
from torch import nn

VIT_ARCH = dict(embed_dims=24, num_layers=3, num_heads=2, feedforward_channels=48)
CONFORMER_ARCH = dict(embed_dims=24, depths=3, num_heads=2, channel_ratio=0.25)


@pytest.fixture(autouse=True)
def one_thread_and_seed():
    """Make every test repeatable, and polite on a shared machine."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


def randomize(model: nn.Module, std: float = 0.2) -> nn.Module:
    """Give every weight and buffer a random value, so that a wrong mapping shows."""
    generator = torch.Generator().manual_seed(1)
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            value.copy_(std * torch.randn(value.shape, generator=generator))
            if name.endswith('running_var'):
                value.abs_().add_(1)
            elif value.dim() == 1 and name.endswith('weight'):
                value.add_(1)
    return model


@pytest.fixture
def build_vit():
    """Return a function that builds a tiny TokenVisionTransformer with random weights."""

    def build(**kwargs) -> nn.Module:
        config = dict(type='TokenVisionTransformer', arch=VIT_ARCH, img_size=32, patch_size=8)
        return randomize(MODELS.build({**config, **kwargs})).eval()

    return build


@pytest.fixture
def build_conformer():
    """Return a function that builds a tiny TokenConformer with random weights."""

    def build(**kwargs) -> nn.Module:
        return randomize(MODELS.build({**dict(type='TokenConformer', arch=CONFORMER_ARCH), **kwargs})).eval()

    return build


@pytest.fixture
def build_localizer():
    """Return a function that builds a tiny ImageLocalizer with a TS-CAM head."""

    def build(
        hybrid: bool = False, num_classes: int = 7, backbone: dict | None = None, **kwargs
    ) -> nn.Module:
        if hybrid:
            config = dict(type='TokenConformer', arch=CONFORMER_ARCH)
            head = dict(conv_channels=64, conv_init='kaiming')
        else:
            config = dict(type='TokenVisionTransformer', arch=VIT_ARCH, img_size=32, patch_size=8)
            head = {}
        head = dict(type='TSCAMHead', num_classes=num_classes, in_channels=24, **head)
        config = dict(
            type='ImageLocalizer',
            backbone={**config, **(backbone or {})},
            head={**head, **kwargs.pop('head', {})},
        )
        return randomize(MODELS.build({**config, **kwargs})).eval()

    return build
