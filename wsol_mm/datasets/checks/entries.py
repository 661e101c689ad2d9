"""The checks every data set goes through at start-up, and few-shot subsets.

An entry is the dict of one image (see ``LocalizationDataset.load_entries``). Each check reports what is wrong
and returns the entries that are left.
"""

from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path

from wsol_mm.datasets.dataset_problems import DatasetProblems
from wsol_mm.datasets.readers.image_files import error_text

from .boxes import check_boxes
from .image_files import decode_failure, inspect_image, leads_outside, map_threads, missing_files


def check_labels(entries: list[dict], num_classes: int, problems: DatasetProblems) -> list[dict]:
    """Leave out entries whose label is no class index.

    Args:
        entries: The entries.
        num_classes: Number of classes.
        problems: Where they are reported.

    Returns:
        The others.
    """
    good = []
    for entry in entries:
        if 0 <= entry['gt_label'] < num_classes:
            good.append(entry)
        else:
            problems.add(
                'label out of range',
                f'{entry["img_id"]}: expected a label from 0 to {num_classes - 1}, got {entry["gt_label"]}',
            )
    return good


def check_inside(entries: list[dict], problems: DatasetProblems) -> list[dict]:
    """Leave out entries of which a path leads out of its folder.

    Args:
        entries: The entries.
        problems: Where they are reported.

    Returns:
        The others.
    """
    good = []
    for entry in entries:
        paths = [entry['img_id'], *entry.get('mask_paths', ()), entry.get('ignore_path') or '']
        outside = [path for path in paths if leads_outside(path)]
        if outside:
            problems.add(
                'path outside the folder',
                f'{outside[0]!r}: expected a path inside the folder of the images, got one outside. '
                'allow_outside=True takes it',
            )
        else:
            good.append(entry)
    return good


def check_image_files(entries: list[dict], img_prefix: str, problems: DatasetProblems) -> list[dict]:
    """Leave out entries whose image does not exist; one listing per folder, no call per file.

    Args:
        entries: The entries.
        img_prefix: Image folder.
        problems: Where they are reported.

    Returns:
        The others.
    """
    missing = missing_files(img_prefix, [entry['img_id'] for entry in entries])
    for img_id in missing:
        problems.add('missing image', str(Path(img_prefix, img_id)))
    absent = set(missing)
    return [entry for entry in entries if entry['img_id'] not in absent] if absent else entries


def check_mask_files(entries: list[dict], mask_prefix: str, problems: DatasetProblems) -> list[dict]:
    """Leave out entries of which a mask or ignore file does not exist.

    Args:
        entries: The entries; those without ``mask_paths`` are not looked at.
        mask_prefix: Mask folder.
        problems: Where the missing files are reported.

    Returns:
        The others.
    """
    files = {}
    for entry in entries:
        if 'mask_paths' in entry:
            ignore = [entry['ignore_path']] if entry.get('ignore_path') else []
            files[entry['img_id']] = entry['mask_paths'] + ignore
    missing = set(missing_files(mask_prefix, [path for paths in files.values() for path in paths]))
    for path in sorted(missing):
        problems.add('missing mask', str(Path(mask_prefix, path)))
    if not missing:
        return entries
    return [entry for entry in entries if missing.isdisjoint(files.get(entry['img_id'], ()))]


def check_headers(
    entries: list[dict], img_prefix: str, problems: DatasetProblems, limit: int, apply_exif: bool = False
) -> list[dict]:
    """Read the image sizes from the file headers, and find truncated files (about 0.1 ms each).

    Sets ``width`` and ``height``. An entry is left out if its header cannot be read, its file is not
    complete, or a list gives another size.

    Args:
        entries: The entries.
        img_prefix: Image folder.
        problems: Where they are reported.
        limit: With more entries, only those with boxes are looked at.
        apply_exif: Sizes are those after the EXIF orientation is applied.

    Returns:
        The others.
    """
    positions = [i for i, entry in enumerate(entries) if 'gt_bboxes' in entry or len(entries) <= limit]
    paths = [str(Path(img_prefix, entries[position]['img_id'])) for position in positions]
    bad = set()
    for position, size in zip(
        positions, map_threads(partial(_inspect, apply_exif=apply_exif), paths), strict=True
    ):
        entry = entries[position]
        listed = (entry['width'], entry['height']) if 'width' in entry else size
        if isinstance(size, str):
            problems.add('image that does not decode', size)
            bad.add(position)
        elif size != listed:
            problems.add(
                'size that differs from the list',
                f'{entry["img_id"]}: expected {listed[0]}x{listed[1]} (width x height), as listed, got '
                f'{size[0]}x{size[1]}: the boxes would not fit',
            )
            bad.add(position)
        else:
            entry['width'], entry['height'] = size
    return [entry for position, entry in enumerate(entries) if position not in bad]


def check_entry_boxes(
    entries: list[dict], problems: DatasetProblems, clip: bool = False
) -> tuple[list[dict], int]:
    """Check the boxes of all entries against the image sizes known.

    Sets ``gt_bboxes`` to the good boxes. An entry is left out if none of its boxes is good.

    Args:
        entries: The entries; those without ``gt_bboxes`` are not looked at.
        problems: Where bad boxes are reported.
        clip: Cut boxes that overrun, instead of reporting those that do by more than a pixel.

    Returns:
        The entries left, and the number of boxes cut.
    """
    good = []
    num_cut = 0
    for entry in entries:
        if 'gt_bboxes' in entry:
            size = (entry['width'], entry['height']) if 'width' in entry else None
            boxes, cut = check_boxes(entry['gt_bboxes'], size, entry['img_id'], problems, clip)
            num_cut += cut
            if len(boxes) == 0 and len(entry['gt_bboxes']) > 0:
                continue  # its boxes have been reported one by one
            entry['gt_bboxes'] = boxes
        good.append(entry)
    return good, num_cut


def check_ground_truth(
    entries: list[dict], problems: DatasetProblems, require_boxes: bool = True
) -> list[dict]:
    """Leave out entries without boxes (or masks) of a test set that has them.

    Most often something is wrong then: a line is missing, or paths differ.

    Args:
        entries: The entries.
        problems: Where they are reported.
        require_boxes: False keeps entries without boxes, without ``gt_bboxes``. Masks are needed all the
            same.

    Returns:
        The others; all, if no entry has boxes or masks.
    """
    if not require_boxes:
        for entry in entries:
            if not len(entry.get('gt_bboxes', ())):
                entry.pop('gt_bboxes', None)
    for key, kind in (('gt_bboxes', 'image without box'), ('mask_paths', 'image without mask')):
        if key == 'gt_bboxes' and not require_boxes:
            continue
        if any(key in entry for entry in entries):
            good = []
            for entry in entries:
                if len(entry.get(key, ())):
                    good.append(entry)
                else:
                    hint = '. require_boxes=False keeps it' if key == 'gt_bboxes' else ''
                    what = kind.rpartition(' ')[2]
                    problems.add(kind, f'{entry["img_id"]}: expected at least one {what}, got none{hint}')
            return good
    return entries


def check_decoding(
    entries: list[dict], img_prefix: str, mask_prefix: str, problems: DatasetProblems
) -> list[dict]:
    """Decode every image and mask, in threads; leave out entries with one that fails.

    Args:
        entries: The entries.
        img_prefix: Image folder.
        mask_prefix: Mask folder.
        problems: Where they are reported.

    Returns:
        The others.
    """
    files = [(position, str(Path(img_prefix, entry['img_id']))) for position, entry in enumerate(entries)]
    for position, entry in enumerate(entries):
        masks = [*entry.get('mask_paths', ()), entry.get('ignore_path')]
        files.extend((position, str(Path(mask_prefix, mask))) for mask in masks if mask)
    failures = map_threads(decode_failure, [path for _, path in files])
    bad = set()
    for (position, path), failure in zip(files, failures, strict=True):
        if failure:
            problems.add('image that does not decode', f'{path}: {failure}')
            bad.add(position)
    return [entry for position, entry in enumerate(entries) if position not in bad]


def empty_classes(entries: list[dict], class_names: Sequence[str]) -> list[str]:
    """Find the classes without entries.

    Args:
        entries: The entries.
        class_names: Class names by index.

    Returns:
        Names of the classes that no entry has.
    """
    present = {entry['gt_label'] for entry in entries}
    return [name for label, name in enumerate(class_names) if label not in present]


def draw_shots(
    entries: list[dict], class_names: Sequence[str], shots: int, seed: int, problems: DatasetProblems
) -> list[dict]:
    """Draw a number of entries of each class, without replacement.

    Entries are ranked by a hash (SHA-256) of seed, class name and image id, and the first of each class are
    taken. So the draw of a class depends on these alone: not on the order of the entries, the other classes
    or the versions of libraries; and what is drawn with fewer shots is part of what is drawn with more.

    Args:
        entries: The entries.
        class_names: Class names by index.
        shots: Entries per class.
        seed: Seed of the draw, >= 0.
        problems: Where classes with fewer entries are reported; all of those are taken.

    Returns:
        The entries drawn, in their order before.
    """
    chosen: list[int] = []
    for label, members in _ranked_by_class(entries, class_names, seed).items():
        if len(members) < shots:
            problems.add(
                'class with too few images',
                f'{class_names[label]}: expected at least {shots} images, got {len(members)}',
            )
        chosen.extend(members[:shots])
    return [entries[position] for position in sorted(chosen)]


def draw_fraction(entries: list[dict], class_names: Sequence[str], fraction: float) -> set[str]:
    """Draw a share of the entries of each class, ranked as by :func:`draw_shots`.

    Args:
        entries: The entries.
        class_names: Class names by index.
        fraction: Share, in (0, 1).

    Returns:
        ``img_id`` of the entries drawn: the rounded share of each class, at least one, and never all of it.
    """
    return {
        entries[position]['img_id']
        for members in _ranked_by_class(entries, class_names, 'fraction').values()
        for position in members[: min(max(1, round(fraction * len(members))), len(members) - 1)]
    }


def _ranked_by_class(
    entries: list[dict], class_names: Sequence[str], seed: int | str
) -> dict[int, list[int]]:
    """Return the positions of the entries by label, ranked by a hash of seed, class name and image id."""
    positions: dict[int, list[int]] = {}
    for position, entry in enumerate(entries):
        positions.setdefault(entry['gt_label'], []).append(position)
    for label, members in positions.items():
        prefix = f'{seed}/{class_names[label]}/'
        members.sort(key=lambda position: sha256((prefix + entries[position]['img_id']).encode()).digest())  # noqa: B023
    return positions


def _inspect(path: str, apply_exif: bool) -> tuple[int, int] | str:
    try:
        return inspect_image(path, apply_exif)
    except Exception as error:  # one odd file is one problem, whatever Pillow makes of it
        return f'{path}: {error_text(error)}'
