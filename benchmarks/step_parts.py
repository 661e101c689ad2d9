"""What each part of CATR's and CDTR's training step costs.

The parts are added one after the other, backbone with class head first: the model of every stage is another
contender, they take turns in one process, and the cost of a part is the median of the differences within the
rounds. So the costs add up to the whole step, up to the noise of the medians.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

from wsol_mm.utils.config_options import load_config

import speed_comparison as speed
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from speed_comparison import Contender

#: Parts by their option of the head, in the order in which they are added, with their name in the table.
PARTS = {'csm': 'CSM', 'ocm': 'OCM', 'ski': 'SKI', 'sba': 'SBA (CLIP)'}
#: Options that each head has.
PARTS_OF = {'CATRHead': ('csm', 'ocm'), 'CDTRHead': ('csm', 'ocm', 'ski', 'sba')}
FIRST = 'backbone, class head'


def stages(config: Config) -> dict[str, Config]:
    """Return the configs of the stages, by the name of what each adds.

    Parts that the config switches off have no stage.

    Raises:
        ValueError: If the head has no parts.
    """
    head = config.model.head
    if head.type not in PARTS_OF:
        raise ValueError(f'the head is {head.type}; --split-parts knows the parts of {", ".join(PARTS_OF)}')
    parts = [part for part in PARTS_OF[head.type] if head.get(part, {}) is not None]
    found = {}
    for count in range(len(parts) + 1):
        stage = deepcopy(config)
        for part in parts[count:]:
            stage.model.head[part] = None
        found[PARTS[parts[count - 1]] if count else FIRST] = stage
    return found


def measure(contenders: dict[str, Contender], args: argparse.Namespace) -> list[dict]:
    """Time the stages in turns, and take their memory.

    Returns:
        list[dict]: For every stage ``part``, what it adds, ``seconds`` and ``bytes``, and its
        ``share`` of the time of the last stage; and at the end the same of the whole step.
    """
    names = list(contenders)
    for contender in contenders.values():
        for _ in range(args.warmup):
            contender.step()
    peaks = [
        speed.step_peak_bytes(contender.step, args.device) + contender.resident_bytes()
        for contender in contenders.values()
    ]
    rounds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(args.repeats):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            rounds[name].append(speed.timed(contenders[name].step, args.iters, args.device, args.clock))
    whole = statistics.median(rounds[names[-1]])
    results = []
    for i, name in enumerate(names):
        before = rounds[names[i - 1]] if i else [0.0] * args.repeats
        seconds = statistics.median(b - a for a, b in zip(before, rounds[name], strict=True))
        added = peaks[i] - (peaks[i - 1] if i else 0)
        results.append({'part': name, 'seconds': seconds, 'share': seconds / whole, 'bytes': added})
    return [*results, {'part': 'whole step', 'seconds': whole, 'share': 1.0, 'bytes': peaks[-1]}]


def run(args: argparse.Namespace, make_step: Callable[[Config, argparse.Namespace], Contender]) -> int:
    """Measure every config, print the table, write ``--out``.

    Args:
        args (argparse.Namespace): Of :func:`speed_comparison.parse_arguments`.
        make_step (Callable): Returns the training step of a config's model.

    Returns:
        int: 0.

    Raises:
        SystemExit: If a head has no parts, or a config cannot be measured.
    """
    torch.set_num_threads(args.threads)
    report = {**speed.environment(args), 'results': []}
    print(speed.describe(args))
    line = '| {:28} | {:20} | {:>9} | {:>6} | {:>7} |'
    print(line.format('config', 'part', 'ms', 'share', 'MB'))
    print(line.format(*('-' * 3 for _ in range(5))))
    for path in args.configs:
        config = load_config(path, args.cfg_options)
        try:
            with speed.quiet_logger(), DefaultScope.overwrite_default_scope('wsol_mm'):
                contenders = {}
                for name, stage in stages(config).items():
                    torch.manual_seed(args.seed)
                    contenders[name] = make_step(stage, args)
        except ValueError as error:
            raise SystemExit(f'{path}: {error}') from error
        parts = measure(contenders, args)
        report['results'].append({'config': str(path), 'parts': parts})
        for part in parts:
            numbers = (part['seconds'] * 1e3, 100 * part['share'], part['bytes'] / 2**20)
            cells = (f'{numbers[0]:.1f}', f'{numbers[1]:.1f}%', f'{numbers[2]:.0f}')
            print(line.format(Path(path).stem, part['part'], *cells), flush=True)
    if args.out is not None:
        args.out.write_text(json.dumps(report, indent=1) + '\n')
    return 0
