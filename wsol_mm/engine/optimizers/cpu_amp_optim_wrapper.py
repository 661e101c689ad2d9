"""Mixed precision where there is no GPU."""

from collections.abc import Iterator
from contextlib import contextmanager

from wsol_mm.registry import OPTIM_WRAPPERS

import torch
from mmengine.optim import OptimWrapper
from torch import nn


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """Run the forward pass and the losses of training under bfloat16 autocast on the CPU.

    MMEngine's ``AmpOptimWrapper`` requires an accelerator. Autocast on the CPU is in bfloat16, whose range is
    that of float32, so that no loss scale is needed. Parameters and gradients stay float32.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Enter autocast, and hold back the gradient synchronisation of accumulation steps.

        Args:
            model: The model that is trained.

        Yields:
            The forward pass runs inside.
        """
        with super().optim_context(model), torch.autocast('cpu', dtype=torch.bfloat16):
            yield
