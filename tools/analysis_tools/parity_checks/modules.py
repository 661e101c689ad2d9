"""The modules that register checks; a new system adds one here."""

from importlib import import_module

MODULES = (
    'box_evaluation',
    'mask_evaluation',
    'published_evaluators',
    'ground_truth_boxes',
    'sat_models',
    'sat_data',
    'lctr_models',
    'lctr_layers',
    'lctr_training',
    'ts_cam_models',
    'ts_cam_optimization',
    'scm_models',
    'scm_optimization',
    'scm_data',
    'cdtr_models',
    'cdtr_modules',
    'cdtr_clip',
    'cdtr_data',
)


def import_checks() -> None:
    """Import every module of checks, which registers them."""
    for name in MODULES:
        import_module(f'{__package__}.{name}')
