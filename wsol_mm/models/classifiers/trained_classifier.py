"""Base of the classifiers that are localized with as they are: a network, one layer of which is watched."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from wsol_mm.structures import Features
from wsol_mm.structures.features import check_needs

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from .linear_form import LinearForm, class_weights, find_linear_form, normalised_like_mean
from .probing import MapLayout, evaluation_mode, layer_layout, probe_network

#: From a map to the one that takes its place, or None to leave it.
ChangeMap = Callable[[Tensor], Tensor | None]


class TrainedClassifier(nn.Module):
    """A trained classifier of any kind as a backbone: its features are the output of one layer.

    Its parameters, their gradients, the mode of its modules and their hooks are after every call what they
    were before, also if it fails.

    Args:
        model: The network.
        data_config: ``mean`` and ``std`` of 0..255, ``input_size`` (height, width) and ``to_rgb``: of the
            images that it was trained with.
        prefix_tokens: Tokens of a transformer before the first patch; None if unknown.
    """

    def __init__(
        self, model: nn.Module, data_config: dict[str, Any], prefix_tokens: int | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.data_config = data_config
        self.prefix_tokens = prefix_tokens
        self.layer: str | None = None
        self._layout = MapLayout('channels_first')
        self._linear_form: LinearForm | None = None

    @property
    def kind(self) -> str:
        """What it is, for messages."""
        return type(self.model).__name__

    @property
    def gives(self) -> frozenset[str]:
        """What :meth:`forward` can return beyond the feature map.

        ``'logits'``; ``'map_gradient'``: these as a differentiable function of the feature map;
        ``'class_weights'`` (C, D), of logits that are linear in it.
        """
        linear = frozenset() if self._linear_form is None else frozenset({'class_weights'})
        return frozenset({'logits', 'map_gradient'}) | linear

    @abstractmethod
    def logits(self, images: Tensor) -> Tensor:
        """Return the logits (B, C) of normalised images (B, 3, H, W)."""

    def watch(self, layer: str | None, before_attention: bool) -> tuple[int, int]:
        """Choose the layer whose output is the feature map, by one pass of noise through the network.

        Args:
            layer: Name of a module of the network; the default is found, and logged.
            before_attention: Whether the default of a transformer is the first normalisation of its last
                block (for gradients, which do not reach the patches behind it) instead of its last map.

        Returns:
            Numbers of classes and of channels.

        Raises:
            ValueError: If there is no such layer, or it returns no map.
        """
        probe = probe_network(self.model, self.logits, self.data_config['input_size'], self.prefix_tokens)
        chosen = layer
        if chosen is None:
            chosen = (probe.last_first_norm() if before_attention else None) or probe.last_map()
            if chosen is None:
                raise ValueError(
                    f'classifier: expected a network with a map inside, got {self.kind}: it has none'
                )
        self._layout = layer_layout(probe, chosen)
        self.layer = chosen
        self._linear_form = find_linear_form(probe, chosen)
        feature_map = probe.map_at(probe.record_of(chosen))
        assert feature_map is not None
        size = 'x'.join(str(side) for side in feature_map.shape[2:])
        print_log(
            f'{self.kind}: maps of {"the layer" if layer else "the layer found by default,"} {chosen!r}, '
            f'{feature_map.shape[1]} channels on {size} positions ({self._layout.kind.replace("_", " ")})',
            logger='current',
        )
        return probe.logits.shape[1], feature_map.shape[1]

    def forward(self, images: Tensor, needs: Collection[str] = ()) -> Features:
        """Run the network.

        Args:
            images: Normalised, (B, 3, H, W).
            needs: What to return beyond the feature map, of ``gives``.

        Returns:
            The map of the watched layer and, always, ``'logits'``. With ``'map_gradient'`` the logits can be
            differentiated with respect to the map, also where gradients are switched off; nothing before the
            layer is recorded for that.

        Raises:
            ValueError: If it cannot give what is asked for.
        """
        check_needs(needs, self.gives, type(self).__name__)
        maps: list[Tensor] = []

        def watch(feature_map: Tensor) -> Tensor | None:
            if 'map_gradient' not in needs:
                # What follows may work in place.
                maps.append(feature_map.clone())
                return None
            maps.append(feature_map.detach().requires_grad_())
            torch.set_grad_enabled(True)
            return maps[0]

        # Leaving the context puts the switch of the gradients back that the watched layer sets.
        with torch.no_grad(), self.changed_map(watch, (images.shape[2], images.shape[3])):
            logits = self.logits(images)
            linear = self._class_weights(maps[0]) if 'class_weights' in needs else None
        (feature_map,) = maps
        extras = {'logits': logits}
        if linear is not None:
            feature_map, extras['class_weights'] = linear
        return Features(feature_map, extras=extras, patch_start=self._layout.prefix)

    def _class_weights(self, feature_map: Tensor) -> tuple[Tensor, Tensor]:
        """Return the map in which the logits are linear, and their weights."""
        form = self._linear_form
        assert form is not None
        if form.norm is not None:
            feature_map = normalised_like_mean(feature_map, self.model.get_submodule(form.norm))
        module = None if form.classifier is None else self.model.get_submodule(form.classifier)
        return feature_map, class_weights(module, feature_map.shape[1], feature_map)

    @contextmanager
    def changed_map(self, change: ChangeMap, image_size: tuple[int, int]) -> Iterator[None]:
        """Run the network in evaluation mode, with another map of the watched layer, within the context.

        Args:
            change: From the map (B, D, h, w) to another one, or None to leave it.
            image_size: Height and width of the images.
        """
        layer = self.model.get_submodule(self.layer or '')

        def hook(_: nn.Module, __: tuple, output: Tensor) -> Tensor | None:
            changed = change(self._layout.to_map(output, image_size))
            return None if changed is None else self._layout.put_back(changed, output)

        with evaluation_mode(self.model):
            handle = layer.register_forward_hook(hook)
            try:
                yield
            finally:
                handle.remove()
