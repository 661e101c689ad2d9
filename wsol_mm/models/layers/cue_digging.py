"""CDM, the cue digging module of LCTR (Chen et al., AAAI 2022)."""

from wsol_mm.models.utils.precision import at_least_float32, autocast_off

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .per_sample_conv import per_sample_conv

KERNEL_INITS = ('reference', 'default')


def pooled_window_weights(grid: tuple[int, int], kernel_size: int, like: Tensor) -> Tensor:
    """Return the linear map from an image to the pooled windows that a kernel sees.

    The logits are the mean of a 3x3 average pooling (zeros outside, which count) of a zero-padded
    convolution. All of it is linear, so that the kernel can be applied last, to k*k numbers per channel.

    Args:
        grid: Height h and width w.
        kernel_size: Side k of the kernel, odd.
        like: Whose dtype and device to use.

    Returns:
        (h*w, k*k).
    """
    axes = []
    for side in grid:
        ones = torch.ones(1, 1, side, dtype=like.dtype, device=like.device)
        # How much a place weighs in the mean: its windows of 3 that have their centre on the grid.
        place = F.avg_pool1d(ones, 3, stride=1, padding=1).flatten() / side
        padded = F.pad(place, (kernel_size // 2, kernel_size // 2))
        axes.append(padded.unfold(0, side, 1).flip(0))
    rows, columns = axes
    both = rows[:, None, :, None] * columns[None, :, None, :]
    return both.reshape(kernel_size**2, -1).T


def _linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """Apply a layer in the precision of its input, whatever that of its weights."""
    return F.linear(x, layer.weight.to(x.dtype), layer.bias.to(x.dtype))


class CueDigging(nn.Module):
    """Convolution to class maps with a kernel that is mixed for every image.

    E kernels are weighted by the pooled *cues* (patch features where the class token does not look,
    convolved): g = sigmoid(W1 mean(cues) + W2 max(cues)); the image is convolved with sum_e g_e W_e. The
    bias is not weighted. Calling it gives all C maps; :meth:`pooled` and :meth:`class_maps` give what a
    model needs, and all agree up to rounding. Nothing loops over the batch.

    Args:
        in_channels: Channels D of the patch map and of the cues.
        num_classes: Number of classes C.
        num_kernels: Number of kernels E.
        kernel_size: Side of the kernels, odd.
        kernel_init: Bound of the uniform initial kernels and bias: ``'reference'`` is 1 / sqrt(C * D * k *
            k), as in the reference implementation, ``'default'`` that of a convolution, 1 / sqrt(D * k * k),
            which is sqrt(C) times larger.

    Raises:
        ValueError: If a number is not positive, ``kernel_size`` is even or ``kernel_init`` not one of
            the two.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        num_kernels: int = 4,
        kernel_size: int = 3,
        kernel_init: str = 'reference',
    ) -> None:
        super().__init__()
        for name, number in (
            ('in_channels', in_channels),
            ('num_classes', num_classes),
            ('num_kernels', num_kernels),
        ):
            if number < 1:
                raise ValueError(f'{name}: expected an integer from 1, got {number}')
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f'kernel_size: expected an odd positive integer, got {kernel_size}')
        if kernel_init not in KERNEL_INITS:
            raise ValueError(f'kernel_init: expected one of {KERNEL_INITS}, got {kernel_init!r}')
        self.num_classes = num_classes
        self.num_kernels = num_kernels
        self.kernel_size = kernel_size
        self.kernel_init = kernel_init
        shape = (num_kernels, num_classes, in_channels, kernel_size, kernel_size)
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(num_classes))
        self.route_mean = nn.Linear(in_channels, num_kernels)
        self.route_max = nn.Linear(in_channels, num_kernels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw kernels and bias anew."""
        _, classes, channels, height, width = self.weight.shape
        fan_in = channels * height * width * (classes if self.kernel_init == 'reference' else 1)
        nn.init.uniform_(self.weight, -(fan_in**-0.5), fan_in**-0.5)
        nn.init.uniform_(self.bias, -(fan_in**-0.5), fan_in**-0.5)

    def routing(self, cues: Tensor) -> Tensor:
        """Return the weights of the kernels, (B, E) in (0, 1), from the cues (B, D, h, w).

        They are in float32 or better, also under autocast.
        """
        with autocast_off(cues):
            mean = at_least_float32(cues).mean(dim=(2, 3))
            # The gradient goes to the first of equal maxima (half precision has many); `amax` would share it.
            largest = at_least_float32(cues.flatten(2).max(dim=2).values)
            return (_linear(self.route_mean, mean) + _linear(self.route_max, largest)).sigmoid()

    def forward(self, x: Tensor, routing: Tensor) -> Tensor:
        """Return all class maps.

        Args:
            x: Patch map, (B, D, h, w).
            routing: Weights of the kernels, (B, E).

        Returns:
            (B, C, h, w).
        """
        maps = F.conv2d(x, self.weight.flatten(0, 1), padding=self.kernel_size // 2)
        maps = maps.unflatten(1, (self.num_kernels, self.num_classes))
        weighted = maps * routing[..., None, None, None].to(maps.dtype)
        return weighted.sum(dim=1) + self.bias[:, None, None]

    def pooled(self, x: Tensor, routing: Tensor) -> Tensor:
        """Return the logits, (B, C): the mean of every class map after 3x3 average pooling.

        The pooling counts the zeros around the map, so that border cells weigh less. No map is made:
        see :func:`pooled_window_weights`.

        Args:
            x: Patch map, (B, D, h, w).
            routing: Weights of the kernels, (B, E).
        """
        windows = pooled_window_weights(x.shape[-2:], self.kernel_size, x)
        # The centre of the kernel stays on the grid: its weights sum to what the bias counts.
        centre = windows[:, windows.shape[1] // 2].sum()
        pooled = x.flatten(2) @ windows
        per_kernel = F.linear(pooled.flatten(1), self.weight.flatten(2).flatten(0, 1))
        per_kernel = per_kernel.unflatten(1, (self.num_kernels, self.num_classes))
        return torch.einsum('be,bec->bc', routing.to(per_kernel.dtype), per_kernel) + self.bias * centre

    def class_maps(self, x: Tensor, routing: Tensor, labels: Tensor) -> Tensor:
        """Return the maps of the wanted classes, in float32 or better (also under autocast).

        Args:
            x: Patch map, (B, D, h, w).
            routing: Weights of the kernels, (B, E).
            labels: Wanted class indices per image, (B, K), int64.

        Returns:
            (B, K, h, w).
        """
        with autocast_off(x):
            x = at_least_float32(x)
            kernels = self.weight[:, labels].to(x.dtype)
            kernels = torch.einsum('be,ebkdij->bkdij', routing.to(x.dtype), kernels)
            return per_sample_conv(x, kernels) + self.bias[labels].to(x.dtype)[..., None, None]
