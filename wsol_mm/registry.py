"""The registries of wsol_mm: children of mmpretrain's, scope ``wsol_mm``.

``locations`` names the modules that register things, so a config that sets
``default_scope = 'wsol_mm'`` finds everything without ``custom_imports``.
"""

from mmengine.registry import Registry
from mmpretrain.registry import DATA_SAMPLERS as _DATA_SAMPLERS
from mmpretrain.registry import DATASETS as _DATASETS
from mmpretrain.registry import HOOKS as _HOOKS
from mmpretrain.registry import METRICS as _METRICS
from mmpretrain.registry import MODELS as _MODELS
from mmpretrain.registry import OPTIM_WRAPPERS as _OPTIM_WRAPPERS
from mmpretrain.registry import PARAM_SCHEDULERS as _PARAM_SCHEDULERS
from mmpretrain.registry import TRANSFORMS as _TRANSFORMS
from mmpretrain.registry import VISUALIZERS as _VISUALIZERS

__all__ = [
    'DATASETS',
    'DATA_SAMPLERS',
    'HOOKS',
    'METRICS',
    'MODELS',
    'OPTIM_WRAPPERS',
    'PARAM_SCHEDULERS',
    'TRANSFORMS',
    'VISUALIZERS',
]


def _child(parent: Registry, location: str) -> Registry:
    return Registry(parent.name, parent=parent, scope='wsol_mm', locations=[location])


DATASETS = _child(_DATASETS, 'wsol_mm.datasets')
DATA_SAMPLERS = _child(_DATA_SAMPLERS, 'wsol_mm.datasets')
TRANSFORMS = _child(_TRANSFORMS, 'wsol_mm.datasets.transforms')
MODELS = _child(_MODELS, 'wsol_mm.models')
HOOKS = _child(_HOOKS, 'wsol_mm.engine')
OPTIM_WRAPPERS = _child(_OPTIM_WRAPPERS, 'wsol_mm.engine')
PARAM_SCHEDULERS = _child(_PARAM_SCHEDULERS, 'wsol_mm.engine')
METRICS = _child(_METRICS, 'wsol_mm.evaluation')
VISUALIZERS = _child(_VISUALIZERS, 'wsol_mm.visualization')
