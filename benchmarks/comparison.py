"""Time and memory of a model, a plain classifier and an explicit form, taken in turns in one process.

Shared by ``train.py`` and ``inference.py``.
"""

import argparse
import json
import logging
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from wsol_mm.cli.argument_types import integer_within, output_file
from wsol_mm.cli.config_options import add_cfg_options
from wsol_mm.cli.runner_options import RunnerArgumentParser, config_path
from wsol_mm.utils.config_settings import load_config
from wsol_mm.version import __version__

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from .explicit_attention import FORMS
from .options import add_timing_options, check_timing_options
from .variants import VARIANTS, build_variants

# The profiler announces its starts and stops otherwise.
os.environ.setdefault('KINETO_LOG_LEVEL', '99')

AMP_DTYPES = {'bf16': torch.bfloat16, 'fp16': torch.float16}
TABLE = (
    '| {:28} | {:8} | {:>9} | {:>9} | {:>8} | {:>10} | {:>7} | {:>10} |',
    ('config', 'variant', 'images/s', 'ms/step', 'x plain', 'x explicit', 'MB', 'x explicit'),
)


class Contender(NamedTuple):
    """One variant, ready to run.

    Attributes:
        model: On its device.
        step: Runs one step.
        resident_bytes: Returns the bytes that stay between steps.
    """

    model: nn.Module
    step: Callable[[], None]
    resident_bytes: Callable[[], int]


MakeStep = Callable[[BaseModel, dict, Config, argparse.Namespace], Contender]


def make_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options of both benchmarks, of the docstring of one."""
    parser = RunnerArgumentParser(
        description=description.partition('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('configs', nargs='+', type=config_path, metavar='CONFIG', help='config files')
    add_timing_options(parser, batch_size=16, repeats=5)
    parser.add_argument(
        '--img-size', type=integer_within(1), help='side of the images, instead of that of the config'
    )
    parser.add_argument('--amp', choices=AMP_DTYPES, help='mixed precision; bf16 alone on a CPU')
    parser.add_argument('--iters', type=integer_within(1), default=2, help='steps of a variant per round')
    parser.add_argument(
        '--warmup', type=integer_within(0), default=2, help='steps of a variant before the first'
    )
    parser.add_argument(
        '--variants', nargs='+', choices=VARIANTS, default=list(VARIANTS), help='what to measure'
    )
    parser.add_argument('--seed', type=int, default=0, help='of weights and images')
    parser.add_argument('--out', type=output_file, help='JSON file for the results')
    parser.add_argument('--check', action='store_true', help='exit with 1 when a target is missed')
    add_cfg_options(parser)
    return parser


def parse_arguments(parser: argparse.ArgumentParser, arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line (that of the process if None), and check which options go together."""
    args = parser.parse_args(arguments)
    if 'ours' not in args.variants:
        parser.error(f'argument --variants: expected ours among them, got {", ".join(args.variants)}')
    check_timing_options(parser, args)
    if args.device == 'cpu' and args.amp == 'fp16':
        parser.error('argument --amp: expected bf16 with --device cpu, got fp16')
    if args.out is not None and not args.out.parent.is_dir():
        parser.error(f"argument --out: expected a file in a folder that exists, got '{args.out}'")
    return args


def synthetic_batch(localizer: nn.Module, args: argparse.Namespace) -> dict:
    """Make noise images on the device, as a data loader collates them, with labels.

    Their size is ``--img-size``, else the backbone's own, else 224.
    """
    size = [args.img_size] * 2 if args.img_size else getattr(localizer.backbone, 'img_size', (224, 224))
    inputs = torch.randint(256, (args.batch_size, 3, *size), dtype=torch.uint8).to(args.device)
    labels = torch.randint(localizer.head.num_classes, (args.batch_size,)).tolist()
    return {'inputs': inputs, 'data_samples': [DataSample().set_gt_label(label) for label in labels]}


def tensor_bytes(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of all different storages."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def model_bytes(model: nn.Module) -> int:
    """Return the bytes of parameters and buffers."""
    return tensor_bytes([*model.parameters(), *model.buffers()])


def step_peak_bytes(step: Callable[[], None], device: str) -> int:
    """Return how many bytes one step holds at most, beyond what was there before it.

    On a GPU from the allocator's own statistics. On a CPU from the profiler's record of every allocation
    and release of PyTorch's allocator, temporaries inside operators included; work space that oneDNN and
    MKL take from the system by themselves is not seen.
    """
    if device == 'cuda':
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'trace.json'
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text())['traceEvents']
    records = [event['args'] for event in events if event['name'] == '[memory]']
    if not records:
        return 0
    # The total of the allocator is in the order of its changes, whatever the time stamps say.
    first = min(records, key=lambda record: record['Ev Idx'])
    return max(record['Total Allocated'] for record in records) - first['Total Allocated'] + first['Bytes']


def timed(step: Callable[[], None], iters: int, device: str, clock: str) -> float:
    """Return the seconds of a step, the mean over ``iters``."""
    now = time.process_time if clock == 'process' else time.perf_counter
    if device == 'cuda':
        torch.cuda.synchronize()
    start = now()
    for _ in range(iters):
        step()
    if device == 'cuda':
        torch.cuda.synchronize()
    return (now() - start) / iters


def rounds_in_turns(
    steps: Mapping[str, Callable[[], None]], repeats: int, iters: int, device: str, clock: str
) -> dict[str, list[float]]:
    """Time steps in turns.

    Every round runs each of them, beginning with another one each time, so that slow drifts of the machine
    meet all alike.

    Returns:
        Of each, the seconds per step in every round.
    """
    names = list(steps)
    rounds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(repeats):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            rounds[name].append(timed(steps[name], iters, device, clock))
    return rounds


def take_turns(
    contenders: dict[str, Contender], args: argparse.Namespace
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Time contenders in turns, and take their memory.

    Returns:
        Of each, the seconds per step in every round, and the bytes at the peak of a step.
    """
    for contender in contenders.values():
        for _ in range(args.warmup):
            contender.step()
    peaks = {
        name: step_peak_bytes(contender.step, args.device) + contender.resident_bytes()
        for name, contender in contenders.items()
    }
    steps = {name: contender.step for name, contender in contenders.items()}
    return rounds_in_turns(steps, args.repeats, args.iters, args.device, args.clock), peaks


def measure(contenders: dict[str, Contender], args: argparse.Namespace) -> dict:
    """Compare the variants; a ratio of times is the median of the ratios within the rounds.

    Returns:
        ``variants``, by name ``seconds_per_step`` and ``images_per_second`` (medians), ``rounds`` (seconds
        per step of each) and ``peak_bytes``; ``time_to`` and ``memory_to``, ours over each other variant.
    """
    rounds, peaks = take_turns(contenders, args)
    seconds = {name: statistics.median(values) for name, values in rounds.items()}
    return {
        'variants': {
            name: {
                'seconds_per_step': seconds[name],
                'images_per_second': args.batch_size / seconds[name],
                'rounds': rounds[name],
                'peak_bytes': peaks[name],
            }
            for name in rounds
        },
        'time_to': {
            name: statistics.median(a / b for a, b in zip(rounds['ours'], rounds[name], strict=True))
            for name in rounds
            if name != 'ours'
        },
        'memory_to': {name: peaks['ours'] / peaks[name] for name in peaks if name != 'ours'},
    }


def environment(args: argparse.Namespace) -> dict:
    """Describe where and how the benchmark ran."""
    device = torch.cuda.get_device_name() if args.device == 'cuda' else platform.processor() or 'cpu'
    settings = {name: value for name, value in vars(args).items() if name not in ('configs', 'out', 'check')}
    return {'device_name': device, 'torch': torch.__version__, 'wsol_mm': __version__, **settings}


def describe(args: argparse.Namespace) -> str:
    """Say in a line how the benchmark runs."""
    where = torch.cuda.get_device_name() if args.device == 'cuda' else f'CPU, threads: {args.threads}'
    size = f'{args.img_size}x{args.img_size}' if args.img_size else 'as in the config'
    return (
        f'{where}; {args.amp or "float32"}; batch {args.batch_size}, images {size}; {args.clock} time, '
        f'medians of {args.repeats} rounds of {args.iters} steps\n'
    )


def misses(result: dict, target: float | None) -> list[str]:
    """Name what a result misses: the target of the time over a plain classifier, memory below explicit."""
    found = []
    ratio = result['time_to'].get('plain')
    if target is not None and ratio is not None and ratio > target:
        found.append(f'{ratio:.2f} x plain (target {target:.2f})')
    ratio = result['memory_to'].get('explicit')
    if ratio is not None and ratio > 1:
        found.append(f'{ratio:.2f} x the memory of explicit')
    return found


def rows(result: dict) -> list[tuple[str, ...]]:
    """Return the rows of the table of one config, without its name."""
    ratios = [
        *(result['time_to'].get(name) for name in ('plain', 'explicit')),
        result['memory_to'].get('explicit'),
    ]
    lines = []
    for name, values in result['variants'].items():
        to_plain, to_explicit, memory = (
            '-' if ratio is None or name != 'ours' else f'{ratio:.2f}' for ratio in ratios
        )
        speed = f'{values["images_per_second"]:.1f}', f'{values["seconds_per_step"] * 1e3:.1f}'
        lines.append((name, *speed, to_plain, to_explicit, f'{values["peak_bytes"] / 2**20:.0f}', memory))
    return lines


@contextmanager
def quiet_logger() -> Iterator[None]:
    """Hold back what MMEngine logs about the settings of every parameter."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def measure_configs(
    args: argparse.Namespace,
    table: tuple[str, Sequence[str]],
    make_contenders: Callable[[Config], dict[str, Contender]],
    evaluate: Callable[[dict[str, Contender]], tuple[dict, list[tuple[str, ...]]]],
) -> list[dict]:
    """Measure every config, print the table, write ``--out``.

    Args:
        args: Of :func:`parse_arguments`.
        table: Format of a line of the table, and its columns.
        make_contenders: Returns what is measured of a config, by name.
        evaluate: Measures that; returns the results of the config and its lines, without its name.

    Returns:
        The results of every config.

    Raises:
        SystemExit: If a config cannot be measured.
    """
    torch.set_num_threads(args.threads)
    line, columns = table
    results = []
    print(describe(args))
    print(line.format(*columns))
    print(line.format(*('---' for _ in columns)))
    for path in args.configs:
        torch.manual_seed(args.seed)
        config = load_config(path, args.cfg_options)
        try:
            with quiet_logger(), DefaultScope.overwrite_default_scope('wsol_mm'):
                contenders = make_contenders(config)
        except ValueError as error:
            raise SystemExit(f'{path}: {error}') from error
        result, lines = evaluate(contenders)
        results.append({'config': path, **result})
        for cells in lines:
            print(line.format(Path(path).stem, *cells), flush=True)
    if args.out is not None:
        args.out.write_text(json.dumps({**environment(args), 'results': results}, indent=1) + '\n')
    return results


def run(args: argparse.Namespace, mode: str, make_step: MakeStep) -> int:
    """Compare the model of every config with its variants.

    Args:
        args: Of :func:`parse_arguments`.
        mode: ``train`` or ``inference``, whose targets count.
        make_step: From a model, a batch, its config and the arguments to its step.

    Returns:
        1 if a target is missed and ``--check`` is given.
    """

    def make_contenders(config: Config) -> dict[str, Contender]:
        variants = build_variants(config, args.variants, args.img_size)
        batch = synthetic_batch(variants['ours'], args)
        return {name: make_step(model, batch, config, args) for name, model in variants.items()}

    def evaluate(contenders: dict[str, Contender]) -> tuple[dict, list[tuple[str, ...]]]:
        head = type(contenders['ours'].model.head).__name__
        target = FORMS[head].targets.get(mode) if head in FORMS else None
        result = {'head': head, 'target': target, **measure(contenders, args)}
        result['missed'] = misses(result, target)
        return result, rows(result)

    results = measure_configs(args, TABLE, make_contenders, evaluate)
    missed = [f'missed: {result["config"]}: {miss}' for result in results for miss in result['missed']]
    for line in missed:
        print(line)
    return int(bool(args.check and missed))
