"""The text files of wsolevaluation (Choe et al., CVPR 2020) and data sets described by them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wsol_mm.registry import DATASETS

import numpy as np

from .dataset_problems import DatasetError, DatasetProblems
from .list_files import finite_floats, keyed_lines, parse_lines, read_lines
from .localization_dataset import LocalizationDataset


def read_image_ids(path: str | Path, problems: DatasetProblems) -> list[str]:
    """Read ``image_ids.txt``: one path per line, in the order of evaluation.

    Args:
        path (str | Path): The file.
        problems (DatasetProblems): Where repeated ids are reported.

    Returns:
        list[str]: The ids.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    return list(keyed_lines(path, lambda line: (line, None), '<path>', problems))


def read_class_labels(path: str | Path, problems: DatasetProblems) -> dict[str, int]:
    """Read ``class_labels.txt``: ``path,label`` with labels from 0.

    Args:
        path (str | Path): The file.
        problems (DatasetProblems): Where bad lines are reported.

    Returns:
        dict[str, int]: Labels by id.

    Raises:
        FileNotFoundError: If there is no such file.
    """

    def parse(line: str) -> tuple[str, int]:
        image_id, label = _rsplit(line, 1)
        return image_id, int(label)

    return keyed_lines(path, parse, '<path>,<label, an integer from 0>', problems)


def read_image_sizes(path: str | Path, problems: DatasetProblems) -> dict[str, tuple[int, int]]:
    """Read ``image_sizes.txt``: ``path,width,height``.

    Args:
        path (str | Path): The file.
        problems (DatasetProblems): Where bad lines are reported.

    Returns:
        dict[str, tuple[int, int]]: Width and height by id.

    Raises:
        FileNotFoundError: If there is no such file.
    """

    def parse(line: str) -> tuple[str, tuple[int, int]]:
        image_id, width, height = _rsplit(line, 2)
        if int(width) <= 0 or int(height) <= 0:
            raise ValueError('a side is not positive')
        return image_id, (int(width), int(height))

    return keyed_lines(path, parse, '<path>,<width>,<height>, integers from 1', problems)


def read_localization(path: str | Path, problems: DatasetProblems) -> tuple[dict[str, dict], bool]:
    """Read ``localization.txt``: boxes or masks, several lines per image.

    Boxes are ``path,x0,y0,x1,y1``. Masks are ``path,mask file,ignore file``, where the third field is empty
    for the second and further instances of an image.

    Args:
        path (str | Path): The file.
        problems (DatasetProblems): Where bad lines are reported.

    Returns:
        tuple[dict[str, dict], bool]: By id either ``gt_bboxes`` (N, 4) float64, or ``mask_paths`` and
        ``ignore_path``; and whether the file holds masks.

    Raises:
        DatasetError: If the file has boxes and masks.
        FileNotFoundError: If there is no such file.
    """
    boxes: dict[str, list[list[float]]] = {}
    masks: dict[str, dict] = {}
    accepted = '<path>,<x0>,<y0>,<x1>,<y1> or <path>,<mask file>,<ignore file or nothing>'
    for number, (image_id, box, mask, ignore) in parse_lines(path, _parse_localization, accepted, problems):
        if box is not None:
            boxes.setdefault(image_id, []).append(box)
            continue
        entry = masks.setdefault(image_id, {'mask_paths': [], 'ignore_path': None})
        entry['mask_paths'].append(mask)
        if ignore and entry['ignore_path'] not in (None, ignore):
            problems.add(
                'line that does not parse',
                f'{path}, line {number}: a second ignore file {ignore!r}; accepted: one per image',
            )
        entry['ignore_path'] = entry['ignore_path'] or ignore or None
    if boxes and masks:
        raise DatasetError(
            f'{path} holds boxes (such as for {next(iter(boxes))!r}) and masks (such as for '
            f'{next(iter(masks))!r}); accepted: one kind'
        )
    if masks:
        return masks, True
    return {key: {'gt_bboxes': np.array(value, dtype=np.float64)} for key, value in boxes.items()}, False


def _rsplit(line: str, count: int) -> list[str]:
    fields = [field.strip() for field in line.rsplit(',', count)]  # from the right: a path may hold commas
    if len(fields) != count + 1 or not fields[0]:
        raise ValueError(f'{len(fields)} fields instead of {count + 1}')
    return fields


def _parse_localization(line: str) -> tuple[str, list[float] | None, str | None, str | None]:
    fields = line.rsplit(',', 4)
    if len(fields) == 5:
        try:
            return fields[0], finite_floats(fields[1:]), None, None
        except ValueError:
            pass  # five fields may also be a mask line with commas in a path; it is refused below if not
    image_id, mask, ignore = _rsplit(line, 2)
    if not mask.lower().endswith(('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff')):
        raise ValueError(f'{mask!r} is no mask file')
    return image_id, None, mask, ignore


@DATASETS.register_module()
class WSOLMetadataDataset(LocalizationDataset):
    """A split described by wsolevaluation's text files.

    They make validation splits for choosing thresholds usable: CUBV2 (``metadata/CUB/val``), ImageNetV2
    (``metadata/ILSVRC/val``) and OpenImages30k (``metadata/OpenImages/{train,val,test}``). The folder holds
    ``image_ids.txt``, ``class_labels.txt`` and, except for training splits, ``localization.txt`` (boxes or
    masks) and ``image_sizes.txt``. Images are evaluated in the order of ``image_ids.txt``. Boxes are taken as
    written.

    Args:
        data_root (str): Folder to which the ids are relative.
        metadata_dir (str): The folder with the text files, relative to ``data_root`` unless absolute.
        num_classes (int, optional): Number of classes, for splits that do not hold all. None for the number
            of names in ``class_file``, or else the largest label + 1.
        class_file (str, optional): Text file with a class name per line, by index; relative to ``data_root``
            unless absolute. Without it a class is named by its image folder, if it has one of its own, or
            else by its index.
        with_localization (bool, optional): Read ``localization.txt``. None for where it exists and holds
            something.
        data_prefix (str | dict): Image folder relative to ``data_root``; a dict may also name ``mask_path``,
            the folder of the masks (None: the image folder).
        **kwargs: See :class:`LocalizationDataset`.
    """

    METAINFO = {'dataset_type': 'wsol_metadata'}

    def __init__(
        self,
        data_root: str,
        metadata_dir: str,
        num_classes: int | None = None,
        class_file: str | None = None,
        with_localization: bool | None = None,
        data_prefix: str | dict = '',
        **kwargs: Any,
    ) -> None:
        self.metadata_dir = metadata_dir
        self.num_listed_classes = num_classes
        self.class_file = class_file
        self.with_localization = with_localization
        super().__init__(data_root=data_root, data_prefix=data_prefix, **kwargs)

    def load_entries(self, problems: DatasetProblems) -> tuple[list[dict], list[str]]:
        """Read the text files; see :meth:`LocalizationDataset.load_entries`."""
        folder = Path(self.data_root, Path(self.metadata_dir).expanduser())
        if not (folder / 'image_ids.txt').is_file():
            raise FileNotFoundError(
                f'{self.source}: no file {folder / "image_ids.txt"}; accepted is a folder with '
                'image_ids.txt, class_labels.txt and optionally image_sizes.txt and localization.txt'
            )
        ids = read_image_ids(folder / 'image_ids.txt', problems)
        labels = read_class_labels(folder / 'class_labels.txt', problems)
        sizes = {}
        if (folder / 'image_sizes.txt').is_file():  # empty for OpenImages
            sizes = read_image_sizes(folder / 'image_sizes.txt', problems)
        localization = self._localization(problems)
        entries = []
        for image_id in ids:
            if image_id not in labels:
                problems.add('image without entry', f'{image_id} is not in {folder / "class_labels.txt"}')
                continue
            entry = {'img_id': image_id, 'gt_label': labels[image_id]}
            if image_id in sizes:
                entry['width'], entry['height'] = sizes[image_id]
            entry.update(localization.get(image_id, {}))
            entries.append(entry)
        return entries, self._class_names(entries)

    def _localization(self, problems: DatasetProblems) -> dict[str, dict]:
        """Boxes or masks by image id; nothing if there are none or they are not wanted."""
        file = Path(self.data_root, Path(self.metadata_dir).expanduser(), 'localization.txt')
        if self.with_localization or (self.with_localization is None and file.is_file()):
            return read_localization(file, problems)[0]
        return {}

    def _class_names(self, entries: Sequence[dict]) -> list[str]:
        if self.class_file is not None:
            names = [line for _, line in read_lines(Path(self.data_root, Path(self.class_file).expanduser()))]
            if self.num_listed_classes not in (None, len(names)):
                raise ValueError(
                    f'num_classes is {self.num_listed_classes}, but {self.class_file} has {len(names)} names'
                )
            return names
        count = self.num_listed_classes
        if count is None:
            count = max((entry['gt_label'] for entry in entries), default=-1) + 1
        folders: dict[int, set[str]] = {}
        for entry in entries:
            folders.setdefault(entry['gt_label'], set()).add(
                entry['img_id'].rpartition('/')[0].rpartition('/')[2]
            )
        single = [next(iter(names)) for names in folders.values() if len(names) == 1]
        if len(single) != len(folders) or len(set(single)) != len(single) or '' in single:
            return [str(label) for label in range(count)]
        return [next(iter(folders.get(label, {str(label)}))) for label in range(count)]
