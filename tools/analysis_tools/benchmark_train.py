"""Compare a training step of a method with that of a plain classifier and of its explicit-attention form.

    python tools/analysis_tools/benchmark_train.py configs/ts_cam/ts-cam_vit-t_cub40.py --batch-size 16
    python tools/analysis_tools/benchmark_train.py CONFIG ... --device cuda --amp bf16 --batch-size 128

A step is forward, loss, backward and optimizer step with the optimizer of the config, on noise images that
lie on the device. The three take turns in one process. ``plain`` is the same backbone with mmpretrain's
linear classifier on the class token; ``explicit`` multiplies out and keeps every attention map
(explicit_attention/).
"""

import argparse
import sys
from pathlib import Path

import wsol_mm  # noqa: F401  (first: cures a CUDA torchvision beside a CPU-only torch)

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper

sys.path.insert(0, str(Path(__file__).resolve().parent))
import speed_comparison as speed  # noqa: E402
from speed_variants import build_variants  # noqa: E402

#: Highest time of a step over that of the plain classifier, by the type of the head.
TARGETS = {'TSCAMHead': 1.15, 'SATHead': 1.15, 'LCTRHead': 1.15, 'SCMHead': 1.5}
AMP_WRAPPERS = {'cpu': 'CPUAmpOptimWrapper', 'cuda': 'AmpOptimWrapper'}


def optimizer_settings(config: Config, args: argparse.Namespace) -> dict:
    """Return the config's optimizer wrapper, made one for mixed precision by ``--amp``.

    Raises:
        ValueError: If the config has another wrapper than the plain one then.
    """
    settings = config.optim_wrapper.to_dict()
    if args.amp is None:
        return settings
    found = settings.get('type', 'OptimWrapper')
    if found not in ('OptimWrapper', AMP_WRAPPERS[args.device]):
        raise ValueError(f'--amp replaces the optimizer wrapper OptimWrapper, the config has {found}')
    settings['type'] = AMP_WRAPPERS[args.device]
    if args.device == 'cuda':
        settings['dtype'] = {'bf16': 'bfloat16', 'fp16': 'float16'}[args.amp]
    return settings


def optimizer_bytes(optimizer: OptimWrapper) -> int:
    """Return the bytes of the optimizer's state."""
    states = optimizer.optimizer.state.values()
    values = (value for state in states for value in state.values())
    return speed.tensor_bytes(value for value in values if isinstance(value, torch.Tensor))


def make_contenders(config: Config, args: argparse.Namespace) -> dict[str, speed.Contender]:
    """Build the variants of a config with an optimizer each."""
    variants = build_variants(config, args.img_size)
    localizer = variants['ours']
    img_size = speed.image_size(localizer, args.img_size)
    batch = speed.synthetic_batch(args.batch_size, img_size, localizer.head.num_classes, args.device)
    contenders = {}
    for name in speed.chosen(variants, args):
        model = variants[name].to(args.device).train()
        optimizer = build_optim_wrapper(model, optimizer_settings(config, args))
        contenders[name] = speed.Contender(
            model,
            lambda model=model, optimizer=optimizer: model.train_step(batch, optimizer),
            lambda model=model, optimizer=optimizer: speed.model_bytes(model) + optimizer_bytes(optimizer),
        )
    return contenders


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark."""
    args = speed.parse_arguments(__doc__, arguments, warmup=2)
    return speed.run(args, make_contenders, TARGETS)


if __name__ == '__main__':
    sys.exit(main())
