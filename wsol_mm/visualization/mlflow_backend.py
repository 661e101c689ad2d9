"""MMEngine's backend for MLflow, with names that MLflow takes."""

import re
from collections.abc import Mapping
from typing import Any

from wsol_mm.registry import VISBACKENDS

from mmengine.visualization import vis_backend

_REFUSED = re.compile(r'[^\w ./:-]', re.ASCII)


@VISBACKENDS.register_module()
class MLflowVisBackend(vis_backend.MLflowVisBackend):
    """Stands in the place of MMEngine's: what MLflow refuses in names of metrics becomes ``_``.

    MLflow knows no ``@``, and of one refused name MMEngine loses all values that are logged together:
    ``maxboxacc_v2/BoxAcc@0.5`` is ``maxboxacc_v2/BoxAcc_0.5`` here. Takes the arguments of MMEngine's.
    """

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Record a value; see MMEngine."""
        super().add_scalar(_REFUSED.sub('_', name), value, step, **kwargs)

    def add_scalars(
        self, scalar_dict: Mapping[str, Any], step: int = 0, file_path: str | None = None, **kwargs: Any
    ) -> None:
        """Record values; see MMEngine."""
        accepted = {_REFUSED.sub('_', name): value for name, value in scalar_dict.items()}
        super().add_scalars(accepted, step, file_path, **kwargs)
