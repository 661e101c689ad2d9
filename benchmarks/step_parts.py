"""What each part of CATR's and CDTR's training step costs.

The parts are added one after the other, backbone with class head first: the model of every stage is another
contender, they take turns in one process, and the cost of a part is the median of the differences within the
rounds. So the costs add up to the whole step, up to the noise of the medians.
"""

import argparse
import inspect
import statistics
from copy import deepcopy

from wsol_mm.registry import MODELS

import torch
from mmengine.config import Config

from . import comparison
from .comparison import Contender
from .variants import build_localizer

#: Parts by their option of the head, in the order in which they are added, with their name in the table.
PARTS = {'csm': 'CSM', 'ocm': 'OCM', 'ski': 'SKI', 'sba': 'SBA (CLIP)'}
FIRST = 'backbone, class head'
TABLE = ('| {:28} | {:20} | {:>9} | {:>6} | {:>7} |', ('config', 'part', 'ms', 'share', 'MB'))


def stages(config: Config) -> dict[str, Config]:
    """Return the configs of the stages, by the name of what each adds.

    Parts that the config switches off have no stage.

    Raises:
        ValueError: If the head has no parts.
    """
    head = config.model.head
    options = {
        name for cls in MODELS.get(head.type).__mro__ for name in inspect.signature(cls.__init__).parameters
    }
    if options.isdisjoint(PARTS):
        raise ValueError(f'--split-parts: expected a head with some of {", ".join(PARTS)}, got {head.type}')
    parts = [part for part in PARTS if part in options and head.get(part, {}) is not None]
    found = {}
    for count in range(len(parts) + 1):
        stage = deepcopy(config)
        for part in parts[count:]:
            stage.model.head[part] = None
        found[PARTS[parts[count - 1]] if count else FIRST] = stage
    return found


def measure(contenders: dict[str, Contender], args: argparse.Namespace) -> list[dict]:
    """Time the stages, and take their memory.

    Returns:
        For every stage ``part``, what it adds, ``seconds`` and ``bytes``, and its ``share`` of the time of
        the last stage; and at the end the same of the whole step.
    """
    names = list(contenders)
    rounds, peaks = comparison.take_turns(contenders, args)
    whole = statistics.median(rounds[names[-1]])
    results = []
    for i, name in enumerate(names):
        before = rounds[names[i - 1]] if i else [0.0] * args.repeats
        seconds = statistics.median(b - a for a, b in zip(before, rounds[name], strict=True))
        added = peaks[name] - (peaks[names[i - 1]] if i else 0)
        results.append({'part': name, 'seconds': seconds, 'share': seconds / whole, 'bytes': added})
    return [*results, {'part': 'whole step', 'seconds': whole, 'share': 1.0, 'bytes': peaks[names[-1]]}]


def run(args: argparse.Namespace, make_step: comparison.MakeStep) -> int:
    """Measure the parts of every config.

    Args:
        args: Of :func:`comparison.parse_arguments`.
        make_step: From a model, a batch, its config and the arguments to its step.

    Returns:
        0.
    """

    def make_contenders(config: Config) -> dict[str, Contender]:
        contenders = {}
        for name, stage in stages(config).items():
            torch.manual_seed(args.seed)
            localizer = build_localizer(stage, args.img_size)
            contenders[name] = make_step(localizer, comparison.synthetic_batch(localizer, args), stage, args)
        return contenders

    def evaluate(contenders: dict[str, Contender]) -> tuple[dict, list[tuple[str, ...]]]:
        parts = measure(contenders, args)
        rows = [
            (
                part['part'],
                f'{part["seconds"] * 1e3:.1f}',
                f'{100 * part["share"]:.1f}%',
                f'{part["bytes"] / 2**20:.0f}',
            )
            for part in parts
        ]
        return {'parts': parts}, rows

    comparison.measure_configs(args, TABLE, make_contenders, evaluate)
    return 0
