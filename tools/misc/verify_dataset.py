"""Check every image, box and label of the data sets of a config before training.

Every check that the data sets make when they start (list files, labels, missing files, boxes against image
sizes, classes without images) is made, but nothing stops at the first problem and all of them are named.
Every image and mask is decoded to its end, and images that are in training and test data, byte by byte the
same, are found. The exit status is 1 if anything is wrong.
"""

import argparse
import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from wsol_mm.cli.argument_types import output_file
from wsol_mm.cli.runner_options import (
    RunnerArgumentParser,
    add_config_options,
    one_line_errors,
    read_config,
)
from wsol_mm.utils.class_number import leaves_classes_open
from wsol_mm.utils.whole_files import write_json

from mmengine.config import Config

SPLITS = ('train', 'val', 'test')
# Kinds of findings that the data sets do not have.
_UNREADABLE = 'image that does not decode'
_SHARED = 'image that the training data have, too'
_TWO_CLASSES = 'image under two classes'
_CLASSES = 'classes that do not fit'

#: Texts by kind of problem.
Findings = dict[str, list[str]]


class SplitReport(NamedTuple):
    """What was found in one split.

    Attributes:
        images: Images that were decoded.
        findings: What is wrong.
        notes: What is worth knowing and not wrong.
        digests: A path for the content of every image.
        classes: Class names; None if the data set could not be read.
    """

    images: int
    findings: Findings
    notes: list[str]
    digests: dict[bytes, str]
    classes: tuple[str, ...] | None


def read_file(path: str) -> tuple[str | None, bytes | None]:
    """Decode an image, and hash its file.

    Args:
        path: The file.

    Returns:
        Why it does not decode, or None; and the SHA-256 of the file, None if it does not.
    """
    from wsol_mm.datasets.checks.image_files import decode_failure

    failure = decode_failure(path)
    return failure, None if failure else sha256(Path(path).read_bytes()).digest()


def read_files(paths: Sequence[str], workers: int) -> list[tuple[str | None, bytes | None]]:
    """Apply :func:`read_file` to many files, in a number of processes; in this one if 0."""
    if workers == 0:
        return list(map(read_file, paths))
    # A forked worker starts at once; where there is no fork, each imports this file first.
    method = 'fork' if sys.platform == 'linux' else None
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context(method)) as pool:
        return list(pool.map(read_file, paths, chunksize=16))


def plain_settings(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Find the data sets in the settings of one, which may be a wrapper.

    Args:
        settings: ``dataset`` of a dataloader.

    Returns:
        Settings of data sets that are no wrappers, without their pipelines.

    Raises:
        ValueError: If one is no data set of this library.
    """
    from wsol_mm.datasets.localization_dataset import LocalizationDataset
    from wsol_mm.registry import DATASETS

    inner = settings.get('datasets') or [settings[key] for key in ('dataset',) if key in settings]
    if inner:
        return [plain for one in inner for plain in plain_settings(one)]
    known = DATASETS.get(settings['type'])
    if known is None or not issubclass(known, LocalizationDataset):
        raise ValueError(
            f'type: expected a data set of wsol_mm, whose checks are used, got {settings["type"]!r}'
        )
    return [{**settings, 'pipeline': []}]


def verify_data_set(settings: Mapping[str, Any], workers: int) -> SplitReport:
    """Make the start-up checks of a data set, and read all its images and masks.

    Args:
        settings: Settings of a :class:`LocalizationDataset`.
        workers: Processes that read.

    Returns:
        What was found.
    """
    from wsol_mm.datasets.checks.entries import empty_classes
    from wsol_mm.datasets.dataset_problems import DatasetError
    from wsol_mm.registry import DATASETS

    changes = dict(on_error='skip', check_files=True, read_headers=True, verify_images=False, lazy_init=False)
    # Of few-shot data all is looked at: another seed draws other images.
    changes |= dict(shots_per_class=None, indices=None)
    try:
        dataset = DATASETS.build({**settings, **changes})
    except (DatasetError, FileNotFoundError) as error:
        return SplitReport(0, {'data set that cannot be read': [str(error)]}, [], {}, None)
    findings = {kind: list(messages) for kind, messages in dataset.problems.items()}
    entries = [dataset.get_data_info(index) for index in range(len(dataset))]
    masks = [
        path
        for entry in entries
        for path in (*entry.get('mask_paths', ()), entry.get('ignore_path'))
        if path is not None
    ]
    results = read_files([entry['img_path'] for entry in entries] + masks, workers)
    digests: dict[bytes, str] = {}
    labels: dict[bytes, int] = {}
    for entry, (failure, digest) in zip(entries, results, strict=False):
        path = entry['img_path']
        if failure is not None:
            findings.setdefault(_UNREADABLE, []).append(f'{path}: {failure}')
        elif labels.setdefault(digest, entry['gt_label']) != entry['gt_label']:
            findings.setdefault(_TWO_CLASSES, []).append(f'{path} is the same as {digests[digest]}')
        if digest is not None:
            digests.setdefault(digest, path)
    for path, (failure, _) in zip(masks, results[len(entries) :], strict=True):
        if failure is not None:
            findings.setdefault('mask that does not decode', []).append(f'{path}: {failure}')
    classes = tuple(dataset.metainfo['classes'])
    notes = []
    empty = empty_classes(entries, classes)
    if empty and dataset.test_mode:
        notes.append(f'{len(empty)} of {len(classes)} classes have no image: {", ".join(empty)}')
    return SplitReport(len(entries), findings, notes, digests, classes)


def merge_reports(reports: Sequence[SplitReport]) -> SplitReport:
    """Put the reports on the parts of a wrapper into one."""
    findings: Findings = {}
    digests: dict[bytes, str] = {}
    for report in reports:
        digests = report.digests | digests
        for kind, messages in report.findings.items():
            findings.setdefault(kind, []).extend(messages)
    notes = [note for report in reports for note in report.notes]
    return SplitReport(sum(report.images for report in reports), findings, notes, digests, reports[0].classes)


def verify(cfg: Config, splits: Sequence[str], workers: int) -> dict[str, SplitReport]:
    """Verify the data sets of a config, each once, and compare them.

    Args:
        cfg: Runner config.
        splits: Of :data:`SPLITS`; those that the config has.
        workers: Processes that read images.

    Returns:
        Reports by split, or splits ('val, test') where several have the same data.

    Raises:
        ValueError: If the config has none of the splits, or a data set of another library.
    """
    names: dict[str, list[str]] = {}
    chosen: dict[str, list[dict[str, Any]]] = {}
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        if loader:
            settings = plain_settings(loader.dataset.to_dict())
            key = repr(settings)
            names.setdefault(key, []).append(split)
            chosen[key] = settings
    if not names:
        raise ValueError(f'config: expected a dataloader of {" or ".join(splits)}, got none')
    reports = {
        ', '.join(group): merge_reports([verify_data_set(settings, workers) for settings in chosen[key]])
        for key, group in names.items()
    }
    head = cfg.get('model', {}).get('head', {})
    compare_splits(reports, None if leaves_classes_open(cfg) else head.get('num_classes'))
    return reports


def compare_splits(reports: Mapping[str, SplitReport], num_classes: int | None) -> None:
    """Add to the findings what shows only between splits, or between data and model.

    Args:
        reports: Reports by split; changed in place.
        num_classes: Classes of the model's head, if known.
    """
    train = next((report for name, report in reports.items() if 'train' in name.split(', ')), None)
    for report in reports.values():
        if report.classes is None:
            continue
        wrong = report.findings.setdefault(_CLASSES, [])
        if num_classes not in (None, len(report.classes)):
            wrong.append(
                f'model.head.num_classes: expected {len(report.classes)}, as in the data, got {num_classes}'
            )
        if train is not None and train.classes is not None and report.classes != train.classes:
            pairs = zip(report.classes, train.classes, strict=False)
            first = next((f', such as {one!r} for {other!r}' for one, other in pairs if one != other), '')
            wrong.append(f'classes: expected the names of the training data, got others{first}')
        if not wrong:
            del report.findings[_CLASSES]
        if train is not None and report is not train:
            shared = [
                f'{path} is the same as {train.digests[digest]}'
                for digest, path in report.digests.items()
                if digest in train.digests
            ]
            if shared:
                report.findings[_SHARED] = shared


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        arguments: Arguments; those of the process if None.

    Returns:
        The options.
    """
    parser = RunnerArgumentParser(description=__doc__)
    add_config_options(parser)
    parser.add_argument(
        '--split', nargs='+', choices=SPLITS, default=list(SPLITS), help='which data (default: all)'
    )
    parser.add_argument(
        '--num-workers',
        type=int,
        default=os.cpu_count() or 1,
        metavar='N',
        help='processes that decode images, 0 to decode in this one (default: number of cores)',
    )
    parser.add_argument(
        '--out', type=output_file, metavar='FILE', help='also write the findings to this JSON file'
    )
    args = parser.parse_args(arguments)
    if args.num_workers < 0:
        parser.error(f'argument --num-workers: expected an integer from 0, got {args.num_workers}')
    return args


@one_line_errors()
def main() -> None:
    """Verify, and print what was found."""
    args = parse_arguments()
    from mmengine.registry import init_default_scope

    cfg = read_config(args)
    init_default_scope(cfg.get('default_scope', 'wsol_mm'))
    reports = verify(cfg, args.split, args.num_workers)
    for name, report in reports.items():
        count = sum(map(len, report.findings.values()))
        print(f'{name}: {report.images} images decoded, {count} problem(s)')
        for note in report.notes:
            print(f'  note: {note}')
        for kind, messages in report.findings.items():
            print(f'  {kind} ({len(messages)}):')
            print('\n'.join(f'    {message}' for message in messages))
    if args.out is not None:
        content = {
            name: dict(images=report.images, findings=report.findings, notes=report.notes)
            for name, report in reports.items()
        }
        write_json(args.out, content)
    if any(report.findings for report in reports.values()):
        raise SystemExit(1)


if __name__ == '__main__':
    main()
