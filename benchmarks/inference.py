"""Compare inference with localization maps with a plain classifier and with explicit attention.

    python tools/analysis_tools/benchmark_test.py configs/ts_cam/ts-cam_vit-t_cub40.py --batch-size 16
    python tools/analysis_tools/benchmark_test.py CONFIG ... --device cuda --amp bf16 --batch-size 128

A step is what a test does between data loading and evaluation, on noise images that lie on the device:
scores, and maps of the ground-truth class and of the five best classes, copied to the CPU. The three take
turns in one process. ``plain`` is the same backbone with mmpretrain's linear classifier on the class token,
without maps; ``explicit`` multiplies out and keeps every attention map and the maps of all classes
(explicit_attention/).
"""

import argparse
import sys
from pathlib import Path

import wsol_mm  # noqa: F401  (first: cures a CUDA torchvision beside a CPU-only torch)

import torch
from mmengine.config import Config
from mmengine.model import BaseModel

sys.path.insert(0, str(Path(__file__).resolve().parent))
import speed_comparison as speed  # noqa: E402
from speed_variants import build_variants  # noqa: E402

#: Highest time over that of the plain classifier, by the type of the head.
TARGETS = {'TSCAMHead': 1.1, 'SCMHead': 1.1, 'SATHead': 1.25, 'LCTRHead': 1.25}


def make_contenders(config: Config, args: argparse.Namespace) -> dict[str, speed.Contender]:
    """Build the variants of a config."""
    variants = build_variants(config, args.img_size)
    localizer = variants['ours']
    img_size = speed.image_size(localizer, args.img_size)
    batch = speed.synthetic_batch(args.batch_size, img_size, localizer.head.num_classes, args.device)

    def step(model: BaseModel) -> None:
        # Fields of an earlier prediction would stay in memory.
        samples = [sample.new() for sample in batch['data_samples']]
        dtype = speed.AMP_DTYPES.get(args.amp)
        with torch.no_grad(), torch.autocast(args.device, dtype=dtype, enabled=dtype is not None):
            model.test_step({'inputs': batch['inputs'], 'data_samples': samples})

    contenders = {}
    for name in speed.chosen(variants, args):
        model = variants[name].to(args.device).eval()
        contenders[name] = speed.Contender(
            model, lambda model=model: step(model), lambda model=model: speed.model_bytes(model)
        )
    return contenders


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark."""
    args = speed.parse_arguments(__doc__, arguments, warmup=2)
    return speed.run(args, make_contenders, TARGETS)


if __name__ == '__main__':
    sys.exit(main())
