"""The model inside what distributed runs wrap around it."""

from mmengine.model import is_model_wrapper
from torch import nn


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model itself, whether or not it is wrapped."""
    return model.module if is_model_wrapper(model) else model
