"""Compare inference with localization maps with a plain classifier and with explicit attention.

    python -m benchmarks.inference configs/ts_cam/ts-cam_vit-t_cub40.py --batch-size 16
    python -m benchmarks.inference CONFIG ... --device cuda --amp bf16 --batch-size 128

A step is what a test does between data loading and evaluation, on noise images that lie on the device:
scores, and maps of the ground-truth class and of the five best classes, copied to the CPU. The three take
turns in one process. ``plain`` is the same backbone with mmpretrain's linear classifier on the class token,
without maps; ``explicit`` multiplies out and keeps every attention map and the maps of all classes
(explicit_attention/).
"""

import argparse
import sys

import torch
from mmengine.config import Config
from mmengine.model import BaseModel

from . import comparison


def inference_step(
    model: BaseModel, batch: dict, config: Config, args: argparse.Namespace
) -> comparison.Contender:
    """Return the test step of a model, without gradients."""
    model = model.to(args.device).eval()
    dtype = comparison.AMP_DTYPES.get(args.amp)

    def step() -> None:
        # Fields of an earlier prediction would stay in memory.
        samples = [sample.new() for sample in batch['data_samples']]
        with torch.no_grad(), torch.autocast(args.device, dtype=dtype, enabled=dtype is not None):
            model.test_step({'inputs': batch['inputs'], 'data_samples': samples})

    return comparison.Contender(model, step, lambda: comparison.model_bytes(model))


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark."""
    args = comparison.parse_arguments(comparison.make_parser(__doc__), arguments)
    return comparison.run(args, 'inference', inference_step)


if __name__ == '__main__':
    sys.exit(main())
