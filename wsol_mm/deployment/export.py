"""Export of a :class:`DeployedLocalizer` through torch.export, to its own files and to ONNX."""

import json
from collections.abc import Mapping
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

from wsol_mm.utils.whole_files import remove_leftovers_of, whole_file, write_whole

import torch
from torch.export import Dim, ExportedProgram

from .deployed_localizer import DeployedLocalizer

#: ONNX operator set of the files: the first with all operators that the models need (Col2Im).
OPSET = 18
#: Key of the facts that travel with a model, as JSON: in ONNX's metadata, in the extra files of a program.
FACTS_KEY = 'wsol_mm'

#: What the export to ONNX needs, and a check of it.
ONNX_PACKAGES = ('onnx', 'onnxscript', 'onnxruntime')

# The example batch must not be 1, a size that torch.export takes for a constant.
_EXAMPLE_BATCH = 2
_EXAMPLE_LABELS = 3


def require_packages(*names: str) -> None:
    """Check that packages which wsol_mm itself does not need are installed.

    Args:
        *names: The packages.

    Raises:
        ImportError: If some are missing, with the command that installs all of ONNX's.
    """
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise ImportError(
            f'export to ONNX: expected {" and ".join(missing)} to be installed, got none. '
            f'pip install {" ".join(ONNX_PACKAGES)}'
        )


def export_program(model: DeployedLocalizer, shape: tuple[int, int]) -> ExportedProgram:
    """Record the computation of a model for images of one size and batches of any.

    Args:
        model: On the CPU.
        shape: Height and width of the images.

    Returns:
        The program.
    """
    inputs = list(model.example_inputs(shape, _EXAMPLE_BATCH))
    batch = Dim('batch', min=1)
    dynamic: list[dict[int, Any]] = [{0: batch}]
    if model.maps == 'labels':
        inputs[1] = torch.zeros(_EXAMPLE_BATCH, _EXAMPLE_LABELS, dtype=torch.int64)
        dynamic.append({0: batch, 1: Dim('wanted', min=1)})
    with torch.no_grad():
        # One real pass first: what layers keep for a size of the grid must be made of real tensors.
        model(*inputs)
        return torch.export.export(model, tuple(inputs), dynamic_shapes=tuple(dynamic), strict=False)


def write_program(program: ExportedProgram, path: Path, facts: Mapping[str, Any]) -> None:
    """Write a program for ``torch.export.load``.

    Args:
        program: Of :func:`export_program`.
        path: File ending in ``.pt2``; its folder is made.
        facts: What is written beside it, as JSON, as the extra file ``wsol_mm``.
    """
    remove_leftovers_of([path])
    with BytesIO() as buffer:
        torch.export.save(program, buffer, extra_files={FACTS_KEY: json.dumps(facts)})
        write_whole(path, buffer.getbuffer())


def write_onnx(
    program: ExportedProgram, model: DeployedLocalizer, path: Path, facts: Mapping[str, Any]
) -> None:
    """Write a program as one ONNX file.

    Args:
        program: Of :func:`export_program`.
        model: Names the inputs and outputs.
        path: File ending in ``.onnx``; its folder is made.
        facts: What is written into the metadata, as JSON, under ``wsol_mm``.

    Raises:
        ImportError: If ``onnx`` or ``onnxscript`` is missing.
    """
    require_packages('onnx', 'onnxscript')
    onnx_program = torch.onnx.export(
        program,
        dynamo=True,
        opset_version=OPSET,
        input_names=model.input_names,
        output_names=model.output_names,
        external_data=False,
        verbose=False,
    )
    onnx_program.model.metadata_props[FACTS_KEY] = json.dumps(facts)
    remove_leftovers_of([path])
    with whole_file(path) as part:
        onnx_program.save(part, external_data=False)
