"""Make a CUDA build of torchvision importable beside a CPU-only torch.

Such a torchvision cannot load its compiled operators, and its Python code then fails at import
(``operator torchvision::nms does not exist``) because it attaches shape functions to them.
Declaring the operator schemas is enough for the import; the operators themselves stay missing.

Torch is imported only when it is declared to, which is just before torchvision is: see :mod:`wsol_mm`.
"""

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# The schemas of the two operators whose absence stops ``import torchvision``.
_SCHEMAS = {
    'nms': '(Tensor dets, Tensor scores, float iou_threshold) -> Tensor',
    'qnms': '(Tensor dets, Tensor scores, float iou_threshold) -> Tensor',
}
# A library keeps its declarations only as long as it is referenced.
_libraries: list['torch.library.Library'] = []


def compiled_operators_load() -> bool:
    """Return whether torchvision's compiled operators can be loaded beside this torch.

    Returns:
        True if torchvision is absent (nothing to cure) or its library loads.
    """
    spec = importlib.util.find_spec('torchvision')
    if spec is None or spec.origin is None:
        return True
    folder = Path(spec.origin).parent
    libraries = sorted([*folder.glob('_C*.so'), *folder.glob('_C*.pyd')])
    if not libraries:
        return False
    import torch

    try:
        torch.ops.load_library(str(libraries[0]))
    except OSError:
        return False
    return True


def declare_torchvision_operators() -> bool:
    """Declare torchvision's operator schemas if, and only if, its own library cannot load.

    Must run before torchvision is imported for the first time.

    Returns:
        True if the schemas were declared here.
    """
    if 'torchvision' in sys.modules or _libraries or compiled_operators_load():
        return False
    import torch

    library = torch.library.Library('torchvision', 'FRAGMENT')
    for name, schema in _SCHEMAS.items():
        library.define(f'{name}{schema}')
    _libraries.append(library)
    return True
