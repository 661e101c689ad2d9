"""The registries of wsol_mm: children of mmpretrain's, scope ``wsol_mm``.

``locations`` names the modules that register things, so a config that sets
``default_scope = 'wsol_mm'`` finds everything without ``custom_imports``. There is a child for each of
mmpretrain's registries, also where wsol_mm registers nothing itself: MMEngine warns of a scope that a
registry does not know.
"""

from mmengine.registry import Registry
from mmpretrain import registry as parents

__all__ = [
    'BATCH_AUGMENTS',
    'DATASETS',
    'DATA_SAMPLERS',
    'EVALUATORS',
    'HOOKS',
    'LOG_PROCESSORS',
    'LOOPS',
    'METRICS',
    'MODELS',
    'MODEL_WRAPPERS',
    'OPTIMIZERS',
    'OPTIM_WRAPPERS',
    'OPTIM_WRAPPER_CONSTRUCTORS',
    'PARAM_SCHEDULERS',
    'RUNNERS',
    'RUNNER_CONSTRUCTORS',
    'TASK_UTILS',
    'TRANSFORMS',
    'VISBACKENDS',
    'VISUALIZERS',
    'WEIGHT_INITIALIZERS',
]


def _child(parent: Registry, location: str) -> Registry:
    return Registry(parent.name, parent=parent, scope='wsol_mm', locations=[location])


DATASETS = _child(parents.DATASETS, 'wsol_mm.datasets')
DATA_SAMPLERS = _child(parents.DATA_SAMPLERS, 'wsol_mm.datasets.samplers')
TRANSFORMS = _child(parents.TRANSFORMS, 'wsol_mm.datasets.transforms')

MODELS = _child(parents.MODELS, 'wsol_mm.models')
MODEL_WRAPPERS = _child(parents.MODEL_WRAPPERS, 'wsol_mm.models')
WEIGHT_INITIALIZERS = _child(parents.WEIGHT_INITIALIZERS, 'wsol_mm.models')
BATCH_AUGMENTS = _child(parents.BATCH_AUGMENTS, 'wsol_mm.models')
TASK_UTILS = _child(parents.TASK_UTILS, 'wsol_mm.models')

RUNNERS = _child(parents.RUNNERS, 'wsol_mm.engine')
RUNNER_CONSTRUCTORS = _child(parents.RUNNER_CONSTRUCTORS, 'wsol_mm.engine')
LOOPS = _child(parents.LOOPS, 'wsol_mm.engine')
HOOKS = _child(parents.HOOKS, 'wsol_mm.engine')
LOG_PROCESSORS = _child(parents.LOG_PROCESSORS, 'wsol_mm.engine')
OPTIMIZERS = _child(parents.OPTIMIZERS, 'wsol_mm.engine')
OPTIM_WRAPPERS = _child(parents.OPTIM_WRAPPERS, 'wsol_mm.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(parents.OPTIM_WRAPPER_CONSTRUCTORS, 'wsol_mm.engine')
PARAM_SCHEDULERS = _child(parents.PARAM_SCHEDULERS, 'wsol_mm.engine')

METRICS = _child(parents.METRICS, 'wsol_mm.evaluation.metrics')
EVALUATORS = _child(parents.EVALUATORS, 'wsol_mm.evaluation.metrics')

VISUALIZERS = _child(parents.VISUALIZERS, 'wsol_mm.visualization')
VISBACKENDS = _child(parents.VISBACKENDS, 'wsol_mm.visualization')
