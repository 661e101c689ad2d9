"""The size of the images in a config's pipelines, taken from its model where the config says so."""

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

#: In place of a size: that of the images that the weights were trained on; 8/7 of it, for crops of that size.
MODEL_SIZES = ('model', 'model * 8/7')
# Arguments of transforms, and whether they are (width, height).
_SIZES = {'scale': True, 'crop_size': False}
_WEIGHTS = ('pretrained', 'checkpoint_path', 'checkpoint', 'init_cfg')


def use_model_image_size(cfg: Config) -> None:
    """Put the model's own image size where the pipelines of a config say ``'model'``.

    Args:
        cfg: Runner config; changed in place. Nothing is built if no pipeline asks for the model's size.

    Raises:
        ValueError: If a pipeline has another word for a size, or the network does not know its size.
    """
    places = [
        (step, name)
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader')
        for step in _steps((cfg.get(loader) or {}).get('dataset'))
        for name in _SIZES
        if isinstance(step.get(name), str)
    ]
    if not places:
        return
    height, width = model_image_size(cfg)
    sizes = {
        MODEL_SIZES[0]: (height, width),
        MODEL_SIZES[1]: (round(height * 8 / 7), round(width * 8 / 7)),
    }
    for step, name in places:
        if step[name] not in sizes:
            raise ValueError(
                f'{step.get("type")}.{name}: expected a size or one of {MODEL_SIZES}, got {step[name]!r}'
            )
        size = sizes[step[name]]
        step[name] = size[::-1] if _SIZES[name] else size


def model_image_size(cfg: Config) -> tuple[int, int]:
    """Return height and width of the images that the network of a config was made for.

    Args:
        cfg: Runner config. Its network is built without its weights.

    Raises:
        ValueError: If the network does not say so.
    """
    from wsol_mm.registry import MODELS  # imports PyTorch, which not every config needs

    from mmengine.registry import DefaultScope

    part = 'classifier' if 'classifier' in cfg.model else 'backbone'
    settings = {name: value for name, value in cfg.model[part].items() if name not in _WEIGHTS}
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'wsol_mm')):
        network = MODELS.build(settings)
    size = getattr(network, 'data_config', {}).get('input_size') or getattr(network, 'img_size', None)
    if size is None:
        raise ValueError(
            f"model.{part}: expected a network that knows the size of its images, as 'model' in a pipeline "
            f'asks for it, got {type(network).__name__}: give the size itself'
        )
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _steps(settings: Any) -> Iterator[dict]:
    """Yield every transform of a data set's config, those of data sets inside it too."""
    if isinstance(settings, dict):
        for name, value in settings.items():
            if name == 'pipeline':
                yield from value
            yield from _steps(value)
    elif isinstance(settings, (list, tuple)):
        for value in settings:
            yield from _steps(value)
