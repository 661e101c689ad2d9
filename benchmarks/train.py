"""Compare a training step of a method with that of a plain classifier and of its explicit-attention form.

    python -m benchmarks.train configs/ts_cam/ts-cam_vit-t_cub40.py --batch-size 16
    python -m benchmarks.train CONFIG ... --device cuda --amp bf16 --batch-size 128
    python -m benchmarks.train configs/cdtr/cdtr_vit-t_cub40.py --split-parts

A step is forward, loss, backward and optimizer step with the optimizer of the config, on noise images that
lie on the device. The three take turns in one process. ``plain`` is the same backbone with mmpretrain's
linear classifier on the class token; ``explicit`` multiplies out and keeps every attention map
(explicit_attention/).

With ``--split-parts`` the models of CATR and CDTR that have one part more each take turns instead
(step_parts.py). CLIP needs its weights; ``--cfg-options model.head.sba.clip.pretrained=None`` measures it
with random ones.
"""

import argparse
import sys

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, build_optim_wrapper

from . import comparison, step_parts

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
        raise ValueError(f'--amp: expected the optimizer wrapper OptimWrapper in the config, got {found}')
    settings['type'] = AMP_WRAPPERS[args.device]
    if args.device == 'cuda':
        settings['dtype'] = {'bf16': 'bfloat16', 'fp16': 'float16'}[args.amp]
    return settings


def optimizer_bytes(optimizer: OptimWrapper) -> int:
    """Return the bytes of the optimizer's state."""
    states = optimizer.optimizer.state.values()
    values = (value for state in states for value in state.values())
    return comparison.tensor_bytes(value for value in values if isinstance(value, torch.Tensor))


def training_step(
    model: BaseModel, batch: dict, config: Config, args: argparse.Namespace
) -> comparison.Contender:
    """Return the training step of a model, with the config's optimizer."""
    model = model.to(args.device).train()
    optimizer = build_optim_wrapper(model, optimizer_settings(config, args))
    return comparison.Contender(
        model,
        lambda: model.train_step(batch, optimizer),
        lambda: comparison.model_bytes(model) + optimizer_bytes(optimizer),
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark."""
    parser = comparison.make_parser(__doc__)
    parser.add_argument(
        '--split-parts',
        action='store_true',
        help='instead: what each part of CATR or CDTR costs, added one after the other',
    )
    args = comparison.parse_arguments(parser, arguments)
    if args.split_parts:
        return step_parts.run(args, training_step)
    return comparison.run(args, 'train', training_step)


if __name__ == '__main__':
    sys.exit(main())
