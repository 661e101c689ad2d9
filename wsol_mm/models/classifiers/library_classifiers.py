"""Trained classifiers of timm, torchvision and mmpretrain, by name or config."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wsol_mm.models.weights.sources import fetch_state_dict
from wsol_mm.registry import MODELS
from wsol_mm.utils.checkpoint_differences import read_fitting_checkpoint

import mmpretrain.models  # noqa: F401  its models register themselves
import timm
import torchvision
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from mmpretrain.apis import get_model
from torch import Tensor, nn

from .trained_classifier import TrainedClassifier

# Trained with other statistics than those of torchvision's presets, to which the network itself turns.
_OWN_STATISTICS = ('googlenet', 'inception_v3')


def _checked_size(size: int | Sequence[int]) -> tuple[int, int]:
    """Return height and width of a size that may be one number."""
    sides = (size, size) if isinstance(size, int) else tuple(size)
    return (sides[0], sides[0]) if len(sides) == 1 else (sides[-2], sides[-1])


def _statistics(values: Sequence[float]) -> tuple[float, ...]:
    """Return mean or standard deviation of 0..255, from those of 0..1."""
    return tuple(255 * value for value in values)


def _with_weights(name: str, fetch: Callable[[], nn.Module]) -> nn.Module:
    """Run what may download weights; its failures become one error that says what to do without a network."""
    try:
        return fetch()
    except Exception as error:  # of several libraries, that fetch and read the file
        reason = f'{type(error).__name__}: {error}'.strip().splitlines()[0]
        raise OSError(
            f'classifier.pretrained: expected the weights of {name} in the cache or from the network, got '
            f'none ({reason}). With a file: classifier.pretrained=False, classifier.checkpoint_path=FILE'
        ) from error


@MODELS.register_module()
class TimmClassifier(TrainedClassifier):
    """A classifier of timm.

    Args:
        model_name: As in ``timm.list_models()``, with or without a tag of weights (``resnet50.a1_in1k``).
        pretrained: Whether to use timm's weights, downloaded or from its cache.
        checkpoint_path: File with weights instead, of timm's names.
        **kwargs: Further arguments of ``timm.create_model``.

    Raises:
        ValueError: If timm has no such model, or weights are given twice.
        OSError: If the weights cannot be had.
    """

    def __init__(
        self,
        model_name: str,
        pretrained: bool = False,
        checkpoint_path: str | Path | None = None,
        **kwargs: Any,
    ) -> None:
        if not timm.is_model(model_name):
            raise ValueError(
                f'classifier.model_name: expected a model of timm {timm.__version__} (timm.list_models()), '
                f'got {model_name!r}'
            )
        _check_one_source(pretrained, checkpoint_path)
        settings = dict(kwargs)
        if pretrained:
            model = _with_weights(
                model_name, lambda: timm.create_model(model_name, pretrained=True, **settings)
            )
        elif checkpoint_path is not None:
            model = _timm_from_file(model_name, Path(checkpoint_path).expanduser(), settings)
        else:
            model = timm.create_model(model_name, **settings)
        trained = model.pretrained_cfg.get('num_classes')
        if pretrained and model.num_classes != trained:
            raise ValueError(
                f'classifier.num_classes: expected {trained}, that of the weights of {model_name}, got '
                f'{model.num_classes}: the classifier would be random'
            )
        config = timm.data.resolve_model_data_config(model)
        data_config = dict(
            mean=_statistics(config['mean']),
            std=_statistics(config['std']),
            input_size=_checked_size(kwargs.get('img_size') or config['input_size']),
            to_rgb=True,
        )
        super().__init__(model, data_config, getattr(model, 'num_prefix_tokens', None))

    def logits(self, images: Tensor) -> Tensor:
        """Return the logits (B, C) of normalised images (B, 3, H, W)."""
        return self.model(images)


def _timm_from_file(name: str, path: Path, settings: dict[str, Any]) -> nn.Module:
    """Create a model of timm with the weights of a file, which timm reads, older names included."""
    if not path.is_file():
        raise FileNotFoundError(f'classifier.checkpoint_path: expected a file, got nothing at {path}')
    # NumPy's files are Google's own, which timm converts by the code of the model.
    source: dict[str, Any] = dict(file=str(path), custom_load=path.suffix == '.npz')
    if 'num_classes' in settings:
        source['num_classes'] = settings['num_classes']
    try:
        return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=source, **settings)
    except (RuntimeError, KeyError) as error:
        reason = ' '.join(str(error).split())
        raise ValueError(f'{path}: expected the weights of {name}, got others: {reason[:300]}') from error


@MODELS.register_module()
class TorchvisionClassifier(TrainedClassifier):
    """A classifier of torchvision.

    Args:
        model_name: As in ``torchvision.models.list_models(module=torchvision.models)``.
        pretrained: Whether to use torchvision's weights, downloaded or from its cache.
        checkpoint_path: File with weights instead, of torchvision's names.
        weights: Name of the weights, such as ``'IMAGENET1K_V1'``: which are used, and whose mean, standard
            deviation and size hold for a file, too.
        **kwargs: Further arguments of the model, such as ``num_classes``.

    Raises:
        ValueError: If torchvision has no such model or weights, or weights are given twice.
        OSError: If the weights cannot be had.
    """

    def __init__(
        self,
        model_name: str,
        pretrained: bool = False,
        checkpoint_path: str | Path | None = None,
        weights: str = 'DEFAULT',
        **kwargs: Any,
    ) -> None:
        models = torchvision.models
        names = models.list_models(module=models)
        if model_name not in names:
            raise ValueError(f'classifier.model_name: expected one of {names}, got {model_name!r}')
        _check_one_source(pretrained, checkpoint_path)
        known = models.get_model_weights(model_name)
        if weights != 'DEFAULT' and weights not in known.__members__:
            raise ValueError(
                f"classifier.weights: expected 'DEFAULT' or one of {list(known.__members__)}, got {weights!r}"
            )
        chosen = known[weights] if weights in known.__members__ else known.DEFAULT
        if pretrained:
            model = _with_weights(model_name, lambda: models.get_model(model_name, weights=chosen, **kwargs))
        else:
            if checkpoint_path is not None and model_name in _OWN_STATISTICS:
                kwargs = {'transform_input': True, **kwargs}
            model = models.get_model(model_name, weights=None, **kwargs)
        if checkpoint_path is not None:
            _load_all(model, fetch_state_dict(checkpoint_path), checkpoint_path)
        preset = chosen.transforms()
        data_config = dict(
            mean=_statistics(preset.mean),
            std=_statistics(preset.std),
            input_size=_checked_size(preset.crop_size),
            to_rgb=True,
        )
        prefix = 1 if getattr(model, 'class_token', None) is not None else None
        super().__init__(model, data_config, prefix)

    def logits(self, images: Tensor) -> Tensor:
        """Return the logits (B, C) of normalised images (B, 3, H, W)."""
        outputs = self.model(images)
        # Inception and GoogLeNet return a record where they have auxiliary classifiers.
        return outputs if isinstance(outputs, Tensor) else outputs.logits


@MODELS.register_module()
class MMPretrainClassifier(TrainedClassifier):
    """An ``ImageClassifier`` of mmpretrain, or of wsol_mm (a localizer, of which the logits are used).

    Args:
        config: Config file, or name of a model of mmpretrain (``mmpretrain.list_models()``).
        model: Config of the model instead, for which ``input_size`` is 224 by default.
        checkpoint: File or address of its weights; they must fit. None leaves them random.
        input_size: Side of the images, or height and width; that of the test pipeline's crop by default.

    Raises:
        ValueError: If not exactly one of ``config`` and ``model`` is given, the model has no mean and
            standard deviation, or the checkpoint does not fit.
    """

    def __init__(
        self,
        config: str | Path | None = None,
        model: dict | None = None,
        checkpoint: str | Path | None = None,
        input_size: int | Sequence[int] | None = None,
    ) -> None:
        if (config is None) == (model is None):
            raise ValueError(
                f'classifier: expected either config or model, got config={config!r} and model={model!r}'
            )
        if config is not None:
            built, cfg = self._from_config(str(config))
            input_size = _pipeline_size(cfg) if input_size is None else input_size
        else:
            built = MODELS.build(dict(model or {}))
        if checkpoint is not None:
            built.load_state_dict(read_fitting_checkpoint(checkpoint, built)['state_dict'], strict=False)
        preprocessor = built.data_preprocessor
        if getattr(preprocessor, 'mean', None) is None or not getattr(
            preprocessor, '_enable_normalize', False
        ):
            raise ValueError(
                'classifier.model.data_preprocessor: expected mean and std of the images that it was trained '
                f'with, got none of {type(built).__name__}'
            )
        data_config = dict(
            mean=tuple(preprocessor.mean.flatten().tolist()),
            std=tuple(preprocessor.std.flatten().tolist()),
            input_size=_checked_size(224 if input_size is None else input_size),
            to_rgb=preprocessor.to_rgb,
        )
        super().__init__(built.eval(), data_config, getattr(built.backbone, 'num_extra_tokens', None))

    @staticmethod
    def _from_config(config: str) -> tuple[nn.Module, Config]:
        if not Path(config).is_file():
            model = get_model(config, pretrained=False)
            return model, model._config
        cfg = Config.fromfile(config)
        settings = {'data_preprocessor': cfg.get('data_preprocessor'), **cfg.model}
        settings.pop('pretrained', None)
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpretrain')):
            return MODELS.build(settings), cfg

    @property
    def kind(self) -> str:
        """What it is, for messages."""
        return f'{type(self.model).__name__} of {type(self.model.backbone).__name__}'

    def logits(self, images: Tensor) -> Tensor:
        """Return the logits (B, C) of normalised images (B, 3, H, W)."""
        return self.model(images, mode='tensor')


def _pipeline_size(cfg: Config) -> int | Sequence[int]:
    """Return the size of the images that a test pipeline makes; 224 if it does not say."""
    loader = cfg.get('test_dataloader') or ConfigDict()
    pipeline = (loader.get('dataset') or {}).get('pipeline') or []
    for step in reversed(pipeline):
        if 'crop_size' in step:
            return step['crop_size']
        if 'scale' in step and isinstance(step['scale'], Sequence):
            width, height = step['scale']
            return height, width
    return 224


def _check_one_source(pretrained: bool, checkpoint_path: str | Path | None) -> None:
    if pretrained and checkpoint_path is not None:
        raise ValueError(
            'classifier: expected either pretrained=True or checkpoint_path, got both: '
            f'checkpoint_path={str(checkpoint_path)!r}'
        )


def _load_all(model: nn.Module, weights: Mapping[str, Tensor], path: str | Path) -> None:
    """Load weights that must fit in every entry."""
    own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    theirs = {name: tuple(value.shape) for name, value in weights.items()}
    # Older files lack the counters of batch normalisation.
    missing = [name for name in own if name not in theirs and not name.endswith('num_batches_tracked')]
    wrong = [f'{name} {theirs[name]}' for name in theirs if own.get(name) != theirs[name]]
    if missing or wrong:
        raise ValueError(
            f'{path}: expected the weights of {type(model).__name__}, got {len(missing)} entries too few '
            f'({", ".join(missing[:3]) or "none"}) and {len(wrong)} that it has not in this shape '
            f'({", ".join(wrong[:3]) or "none"})'
        )
    model.load_state_dict(dict(weights), strict=False)
