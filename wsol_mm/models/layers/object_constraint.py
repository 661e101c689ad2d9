"""OCM, the object constraint module of CATR (Chen et al., ICCV 2023)."""

import torch.nn.functional as F
from torch import Tensor, nn


class ObjectConstraint(nn.Module):
    """Foreground map from the class token's attention in the first layers.

    The heads of every layer are mixed to one map by a convolution of that layer's own, normalised over the
    batch and rectified; a 3x3 convolution mixes the layers. The layers' branches are one grouped
    convolution here.

    Args:
        num_layers: Number K of layers that are looked at: 9 on CUB, 10 on ILSVRC.
        num_heads: Number H of heads.
    """

    def __init__(self, num_layers: int = 9, num_heads: int = 6) -> None:
        super().__init__()
        self.branch_conv = nn.Conv2d(
            num_layers * num_heads, num_layers, kernel_size=1, groups=num_layers, bias=False
        )
        self.branch_norm = nn.BatchNorm2d(num_layers)
        self.fuse_conv = nn.Conv2d(num_layers, 1, kernel_size=3, padding=1, bias=False)
        self.fuse_norm = nn.BatchNorm2d(1)

    def forward(self, attention: Tensor) -> Tensor:
        """Return the probability of foreground, (B, h, w).

        Args:
            attention: Class token's attention in the first K layers, (B, K*H, h, w), channel layer * H +
                head.
        """
        attention = attention.to(self.branch_conv.weight.dtype)
        branches = F.leaky_relu(self.branch_norm(self.branch_conv(attention)), 0.01)
        return self.fuse_norm(self.fuse_conv(branches)).squeeze(1).sigmoid()
