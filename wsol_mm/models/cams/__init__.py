"""Maps of trained classifiers, without training: class activation maps of all kinds."""

from .attention_cams import ClassAttention, CoupledAttention
from .cam_method import CAMMethod
from .gradient_cams import CAM, GradCAM, LayerCAM
from .library_cams import (
    FEM,
    KPCACAM,
    AblationCAM,
    EigenCAM,
    EigenGradCAM,
    GradCAMElementWise,
    GradCAMPlusPlus,
    HiResCAM,
    ScoreCAM,
    SegEigenCAM,
    XGradCAM,
)

__all__ = [
    'CAM',
    'FEM',
    'KPCACAM',
    'AblationCAM',
    'CAMMethod',
    'ClassAttention',
    'CoupledAttention',
    'EigenCAM',
    'EigenGradCAM',
    'GradCAM',
    'GradCAMElementWise',
    'GradCAMPlusPlus',
    'HiResCAM',
    'LayerCAM',
    'ScoreCAM',
    'SegEigenCAM',
    'XGradCAM',
]
