"""Base of networks that run their layers one after another."""

from collections.abc import Collection

from wsol_mm.structures import Features
from wsol_mm.structures.features import check_needs

from mmengine.model import BaseModule
from torch import Tensor


class LayerSequence(BaseModule):
    """A network whose layers are its children, in the order in which they run.

    What is between two layers has the name of the first of them: ``stages`` and ``inserts`` of
    :class:`~wsol_mm.models.localizers.ImageLocalizer` read and change it there.
    """

    #: What :meth:`forward` can return beyond the feature map.
    gives: frozenset[str] = frozenset()

    def forward(self, x: Tensor, needs: Collection[str] = ()) -> Features:
        """Return the output of the last layer for images (B, 3, H, W).

        Raises:
            ValueError: If more than the feature map is asked for.
        """
        check_needs(needs, self.gives, type(self).__name__)
        for layer in self.children():
            x = layer(x)
        return Features(x)
