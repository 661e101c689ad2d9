"""A localizer that is told in words what to find, and needs no training."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from wsol_mm.models.clip import FrozenCLIP, class_names_from, load_class_names
from wsol_mm.registry import MODELS

import torch
from mmengine.logging import print_log
from mmpretrain.structures import DataSample
from torch import Tensor

from .image_localizer import ImageLocalizer


@MODELS.register_module()
class CLIPLocalizer(ImageLocalizer):
    """Localizes any list of names with a CLIP model as it is, and returns what every localizer returns.

    The image tower is in the backbone; the head compares its features with those of the texts, which are
    computed once. Scores are those of CLIP without training (zero-shot): the soft-max over the names.

    Args:
        clip: ``model`` and ``pretrained`` of :class:`FrozenCLIP`.
        backbone: A backbone that takes ``clip``, such as ``dict(type='CLIPVisionTransformer')``.
        head: A head that takes texts, such as ``dict(type='GEMHead')``.
        class_names: See :func:`load_class_names`. None for names that come later, by
            :meth:`set_class_names`: those of an inferencer or, with ``ClassNamesHook``, of the data.
        prompt: Text of a class, with {} for its name.
        map_prompt: Text for the maps, where it is another; {} need not occur. Patches tell 'bird' from the
            rest of an image better than one kind of bird from another.
        data_preprocessor: As of :class:`ImageLocalizer`.
        pretrained: None: the weights are CLIP's own.
        init_cfg: Initialisation config.
        refinement: As of :class:`ImageLocalizer`.

    Attributes:
        class_names: As given or set.

    Raises:
        FileNotFoundError: If there are no such weights or names; says what to download.
        ValueError: If CLIP, a name or a prompt is not as said.
    """

    #: The weights are there when it is built: it needs no checkpoint.
    trained = True
    #: It finds what it is told to.
    open_vocabulary = True
    #: Where a config gives the names.
    names_key = 'model.class_names'

    def __init__(
        self,
        clip: Mapping[str, Any],
        backbone: dict,
        head: dict,
        class_names: str | Path | Sequence[str] | None = None,
        prompt: str = 'a photo of a {}.',
        map_prompt: str | None = None,
        data_preprocessor: dict | None = None,
        pretrained: None = None,
        init_cfg: dict | None = None,
        refinement: dict | None = None,
    ) -> None:
        if prompt.count('{}') != 1:
            raise ValueError(f'prompt: expected a text with {{}} once, for the class name, got {prompt!r}')
        if map_prompt is not None and (map_prompt.count('{}') > 1 or not map_prompt.strip()):
            raise ValueError(
                f'map_prompt: expected a text with {{}} at most once, for the class name, got {map_prompt!r}'
            )
        if pretrained is not None:
            raise ValueError(f"pretrained: expected None, as the weights are CLIP's, got {pretrained!r}")
        # Before the weights, which take their time to load.
        names = None if class_names is None else self._names_in(class_names)
        loaded = FrozenCLIP(**{'key': 'model.clip', **clip})
        tower = MODELS.build({**backbone, 'clip': loaded})
        super().__init__(
            tower,
            {'num_classes': 1, **head},
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
            refinement=refinement,
        )
        self.clip = loaded
        self.prompt, self.map_prompt = prompt, map_prompt
        self.class_names: list[str] | None = None
        if names is not None:
            self._set_names(names)

    def set_class_names(self, names: str | Path | Sequence[str]) -> None:
        """Set what to find, and compute the texts.

        Args:
            names: See :func:`load_class_names`. Underscores are read as spaces, and what data sets put around
                names is dropped, as by :func:`class_names_from`.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If there is no name, or one that says nothing.
        """
        self._set_names(self._names_in(names))

    def _names_in(self, source: str | Path | Sequence[str]) -> list[str]:
        names = class_names_from(load_class_names(source, self.names_key), self.names_key)
        return [' '.join(name.replace('_', ' ').split()) for name in names]

    def _set_names(self, names: list[str]) -> None:
        prompts = [self.prompt.replace('{}', name) for name in names]
        map_prompts = prompts
        if self.map_prompt is not None:
            map_prompts = [self.map_prompt.replace('{}', name) for name in names]
        # Together, and each once: the text encoder is freed afterwards.
        texts = list(dict.fromkeys([*prompts, *map_prompts]))
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
        features = dict(zip(texts, self.clip.text_features(texts, device), strict=True))
        self.head.set_texts(
            *(torch.stack([features[text] for text in kind]) for kind in (prompts, map_prompts))
        )
        self.class_names = names
        shown = ', '.join(map(repr, dict.fromkeys([prompts[0], map_prompts[0]])))
        print_log(f'CLIP looks for {len(names)} classes; texts of the first: {shown}', 'current')

    def init_weights(self) -> None:
        """Leave the weights as they are."""
        self._is_init = True

    def loss(self, inputs: Tensor | Mapping[str, Tensor], data_samples: list[DataSample]) -> NoReturn:
        """Refuse to be trained.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f'model.type: expected a model to train, got {type(self).__name__}, which needs no training: '
            'test it with tools/test.py'
        )
