"""Base of heads whose map is learned and comes out good or useless, depending on the seed."""

import logging
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from mmengine.logging import print_log
from torch import Tensor

from .probe_head import ProbeHead

#: Weight of an iteration in the running means of the areas.
_MOMENTUM = 0.1


class GuardedHead(ProbeHead):
    """A probe head that notices, on training images and without boxes, that its map has become useless.

    Two mean areas tell: where the map is good, the second is at least ``least_share`` of the first. Both are
    kept in checkpoints, and whoever loads one that failed is told so. ``MapGuardHook`` acts on them.

    Attributes:
        areas: Running means over the training images, shares of the image, (2,).
    """

    #: What the two areas are.
    area_names: ClassVar[tuple[str, str]]
    #: Share of the first area from which on the second is good.
    least_share: ClassVar[float]
    #: What is expected of the second.
    expected_area: ClassVar[str]
    #: What has happened where it is less, and what helps, for messages.
    failure: ClassVar[str]
    remedy: ClassVar[str]
    #: What a single map is called that says nothing.
    useless_map: ClassVar[str]

    areas: Tensor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_buffer('areas', torch.zeros(2))
        self.register_load_state_dict_pre_hook(_before_loading)
        self.register_load_state_dict_post_hook(_after_loading)

    @abstractmethod
    def guarded_from(self, max_iters: int) -> int:
        """Return the number of iterations, of that of a training, before which the areas do not tell."""

    @property
    def failed(self) -> bool:
        """Whether the map has become useless, or was when training ended."""
        return self.fails(*self.areas.tolist())

    @classmethod
    def fails(cls, first: float, second: float) -> bool:
        """Return whether areas are those of a useless map."""
        return second < cls.least_share * first

    @classmethod
    def described(cls, first: float, second: float) -> str:
        """Return areas in words."""
        return f'{cls.area_names[1]} {second:.3f}, {cls.area_names[0]} {first:.3f}'

    @classmethod
    def complaint(cls, first: float, second: float) -> str:
        """Return what is wrong with areas, in words."""
        return (
            f'expected {cls.expected_area} ({first:.3f}), got {second:.3f}: {cls.failure}, and the maps are '
            'not to be used'
        )

    @torch.no_grad()
    def _keep_areas(self, areas: Tensor) -> None:
        """Move the running means towards the areas (2,) of a batch, the first of which they are."""
        # A weight on the device: nothing waits for it.
        self.areas.lerp_(areas.to(self.areas), torch.where(self.areas.any(), _MOMENTUM, 1.0))

    def restart(self) -> None:
        """Begin anew with other initial weights."""
        self.classifier.reset_parameters()
        self.areas.zero_()

    @abstractmethod
    def map_areas(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return the areas of predicted maps, and which maps say nothing.

        Args:
            maps: (B, h, w).

        Returns:
            (B, 2) and (B,), bool.
        """


def _before_loading(head: GuardedHead, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
    """Know nothing of areas of which the checkpoint says nothing, as a published one does."""
    state_dict.setdefault(f'{prefix}areas', torch.zeros_like(head.areas))


def _after_loading(head: GuardedHead, incompatible_keys: Mapping) -> None:
    if head.failed:
        print_log(
            f'{type(head).__name__}: {head.complaint(*head.areas.tolist())}. It was so when it was saved; '
            'MapGuardHook restarts such a training',
            'current',
            level=logging.WARNING,
        )
