"""CUB-200-2011 (Wah et al., Caltech-UCSD Birds-200-2011) in its original layout."""

from pathlib import Path

from wsol_mm.registry import DATASETS

import numpy as np

from .dataset_problems import DatasetError, DatasetProblems
from .fine_grained import FineGrainedDataset
from .readers.list_files import check_same_keys, finite_floats, keyed_lines, split_fields
from .readers.sat_lists import class_folder_entries

_LAYOUTS = (
    'the layout of CUB-200-2011: images/, images.txt, image_class_labels.txt, train_test_split.txt, '
    'bounding_boxes.txt and optionally classes.txt; or test_list.txt and test_gt.txt, in the root or in '
    '`list_dir`, with images in train/ and test/'
)


@DATASETS.register_module()
class CUB(FineGrainedDataset):
    """CUB-200-2011, or any data in its layout.

    ``data_root`` holds ``images/``, ``images.txt`` (``<id> <path>``), ``image_class_labels.txt`` (``<id>
    <class from 1>``), ``train_test_split.txt`` (``<id> <1 for train, 0 for test>``), ``bounding_boxes.txt``
    (``<id> <x> <y> <width> <height>``) and optionally ``classes.txt`` (``<class from 1> <name>``). The files
    are matched by id, not by line. Without ``classes.txt`` there are as many classes as the largest label,
    named by image folder.

    Labels are one less than in the file. Boxes become x, y, x + width, y + height and are cut at the image
    border (16 test boxes of the data set overrun); x and y are used as written. The published evaluators do
    so, too, and clamp boxes themselves: cutting boxes of whole numbers, as the data set has, changes no
    result.

    The lists of SAT are read as well: ``test_list.txt`` (``<class>/<file>;<index>``), ``test_gt.txt`` or
    ``test_bounding_box.txt`` (line by line ``x0 y0 x1 y1 h w``) and optionally ``train_list.txt``, without
    which the training images are those in the class folders. Images lie in ``train/`` and ``test/`` then.

    Args:
        data_root: Root folder.
        split: ``'train'`` or ``'test'``.
        **kwargs: ``with_boxes``, ``list_dir``, ``data_prefix`` and others; see :class:`FineGrainedDataset`.

    Raises:
        FileNotFoundError: If no layout is found.
        ValueError: As :class:`FineGrainedDataset` does.
    """

    METAINFO = {'dataset_type': 'cub'}
    LIST_MARKERS = ('test_list.txt', 'train_list.txt')

    def image_folder(self, root: Path) -> str:
        """See :meth:`FineGrainedDataset.image_folder`."""
        return 'images' if self.list_dir is None else self.split

    def load_entries(self, problems: DatasetProblems) -> tuple[list[dict], list[str]]:
        """Read the lists; see :meth:`LocalizationDataset.load_entries`."""
        root = Path(self.data_root)
        if self.list_dir is not None:
            return class_folder_entries(
                self.list_dir, Path(self.img_prefix), self.split, self.with_boxes, problems
            )
        if not (root / 'images.txt').is_file():
            raise FileNotFoundError(
                f'{self.source}: expected {_LAYOUTS}; got no file {root / "images.txt"} and no lists'
            )
        paths = keyed_lines(root / 'images.txt', _id_and_text, '<id> <path>', problems)
        labels = keyed_lines(
            root / 'image_class_labels.txt', _id_and_label, '<id> <class, an integer from 1>', problems
        )
        in_train = keyed_lines(root / 'train_test_split.txt', _id_and_flag, '<id> <1 or 0>', problems)
        boxes: dict[str, np.ndarray] | None = None
        if self.with_boxes:
            boxes = keyed_lines(
                root / 'bounding_boxes.txt', _id_and_box, '<id> <x> <y> <width> <height>', problems
            )
        class_names = self._class_names(root, paths, labels, problems)
        tables: dict[str, dict | None] = {
            'image_class_labels.txt': labels,
            'train_test_split.txt': in_train,
            'bounding_boxes.txt': boxes,
        }
        for name, table in tables.items():
            check_same_keys(root / 'images.txt', paths, root / name, table, problems)

        entries = []
        for key, path in paths.items():
            absent = [name for name, table in tables.items() if table is not None and key not in table]
            if absent:
                counts = ', '.join(f'{len(tables[name] or ())} of {len(paths)}' for name in absent)
                problems.add(
                    'image without entry',
                    f'{", ".join(absent)}: expected id {key} ({path}), got none: entries of {counts} images',
                )
            elif in_train[key] == (self.split == 'train'):
                entry = {'img_id': path, 'gt_label': labels[key]}
                if boxes is not None:
                    entry['gt_bboxes'] = boxes[key]
                entries.append(entry)
        return entries, class_names

    def _class_names(
        self, root: Path, paths: dict[str, str], labels: dict[str, int], problems: DatasetProblems
    ) -> list[str]:
        if (root / 'classes.txt').is_file():
            names = keyed_lines(
                root / 'classes.txt', _id_and_text, '<class, an integer from 1> <name>', problems
            )
            expected = [str(number) for number in range(1, len(names) + 1)]
            if sorted(names) != sorted(expected):
                raise DatasetError(
                    f'{root / "classes.txt"}: expected class numbers from 1 to {len(names)}, the number of '
                    f'lines, got {sorted(set(names) - set(expected))[:5]}'
                )
            return [names[number] for number in expected]
        count = max(labels.values(), default=-1) + 1
        class_names = [str(number) for number in range(1, count + 1)]
        for key, path in paths.items():
            if key in labels and '/' in path and labels[key] >= 0:
                class_names[labels[key]] = path.split('/')[0]
        return class_names


def _id_and_text(line: str) -> tuple[str, str]:
    fields = line.split(maxsplit=1)  # a name may hold blanks
    if len(fields) != 2:
        raise ValueError(f'expected 2 fields, got {len(fields)}')
    return fields[0], fields[1]


def _id_and_label(line: str) -> tuple[str, int]:
    key, label = split_fields(line, 2)
    return key, int(label) - 1


def _id_and_flag(line: str) -> tuple[str, bool]:
    key, flag = split_fields(line, 2)
    if flag not in ('0', '1'):
        raise ValueError(f'expected 0 or 1, got {flag!r}')
    return key, flag == '1'


def _id_and_box(line: str) -> tuple[str, np.ndarray]:
    key, *fields = split_fields(line, 5)
    x, y, width, height = finite_floats(fields)
    return key, np.array([[x, y, x + width, y + height]], dtype=np.float64)
