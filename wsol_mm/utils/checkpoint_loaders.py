"""Make MMEngine read all checkpoints through :mod:`wsol_mm.utils.checkpoint_io`."""

from collections.abc import Mapping
from typing import Any


def register_checkpoint_loaders() -> None:
    """Replace MMEngine's loaders of checkpoints, of local files and by http(s).

    It applies to ``load_from``, ``resume`` and ``init_cfg=dict(type='Pretrained', ...)`` alike.
    """
    from mmengine.runner.checkpoint import CheckpointLoader

    # MMEngine reports the loader by its name from the eleventh letter on, and passes two arguments.
    def load_from_local_weights_only(filename: str, map_location: Any = None) -> Mapping[str, Any]:
        from .checkpoint_io import read_checkpoint

        return _for_mmengine(read_checkpoint(filename, map_location), filename)

    def load_from_http_weights_only(
        filename: str, map_location: Any = None, model_dir: str | None = None, progress: bool = False
    ) -> Mapping[str, Any]:
        from .checkpoint_io import read_remote_checkpoint

        return _for_mmengine(read_remote_checkpoint(filename, map_location, model_dir), filename)

    CheckpointLoader.register_scheme('', loader=load_from_local_weights_only, force=True)
    CheckpointLoader.register_scheme(('http://', 'https://'), loader=load_from_http_weights_only, force=True)


def _for_mmengine(checkpoint: dict, filename: str) -> Mapping[str, Any]:
    """Take off the prefixes of the weights' names, of which MMEngine itself knows ``module.`` alone.

    MMEngine would run the config of a former version in ``meta`` as Python when it resumes: it is left out.
    """
    from .checkpoint_io import CheckpointError, without_prefixes

    if 'state_dict' in checkpoint:
        if not isinstance(checkpoint['state_dict'], Mapping):
            found = type(checkpoint['state_dict']).__name__
            raise CheckpointError(f'{filename}: expected a dict of weights as state_dict, got a {found}')
        checkpoint = {**checkpoint, 'state_dict': without_prefixes(checkpoint['state_dict'])}
        if isinstance(checkpoint.get('meta'), dict):
            meta = {key: value for key, value in checkpoint['meta'].items() if key != 'config'}
            checkpoint['meta'] = meta
        return checkpoint
    return without_prefixes(checkpoint)
