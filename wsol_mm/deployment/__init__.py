"""A localizer as one function of tensors, and its export to ONNX and torch.export."""

from .checking import output_deviation, worst_deviations
from .deployed_localizer import MAP_CHOICES, DeployedLocalizer
from .export import export_program, require_packages, write_onnx, write_program

__all__ = [
    'MAP_CHOICES',
    'DeployedLocalizer',
    'export_program',
    'output_deviation',
    'require_packages',
    'worst_deviations',
    'write_onnx',
    'write_program',
]
