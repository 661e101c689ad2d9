"""FGVC Aircraft (Maji et al., arXiv 1306.5151, 2013), release 2013b, classified by variant."""

from pathlib import Path
from typing import Any

from wsol_mm.registry import DATASETS

import numpy as np

from .dataset_problems import DatasetProblems
from .list_files import finite_floats, keyed_lines, split_fields
from .localization_dataset import LocalizationDataset
from .sat_lists import read_class_names, table_entries

_LAYOUTS = (
    'images/, images_box.txt and classes.txt; or the data set as published: data/ with images/, '
    'variants.txt, images_variant_train.txt (val, trainval, test) and images_box.txt'
)
#: Third field of SAT's ``images_box.txt``.
_SPLIT_CODES = {'train': {'0'}, 'val': {'2'}, 'trainval': {'0', '2'}, 'test': {'1'}}


@DATASETS.register_module()
class FGVCAircraft(LocalizationDataset):
    """FGVC Aircraft: 100 variants; 6,667 images for training, 3,333 for testing, one box each.

    Two layouts of ``data_root`` are read:

    - the data set as it is published: ``data/`` with ``images/<id>.jpg``, ``variants.txt``,
      ``images_variant_<split>.txt`` (``<id> <variant>``) and ``images_box.txt`` (``<id> <x0> <y0> <x1>
      <y1>``); ``data_root`` may be ``data/`` itself;
    - ``images/<id>.jpg`` with the text lists of SAT: ``images_box.txt`` (``<id>;<class name>;<0 for train, 1
      for test, 2 for val>;<x0> <y0> <x1> <y1> <height> <width>``) and ``classes.txt``.

    Class indices are line numbers of ``variants.txt`` or ``classes.txt``. Boxes are taken as written, which
    in the published files counts pixels from 1, and cut at the image border.

    Args:
        data_root (str): Root folder.
        split (str): ``'trainval'``, on which SAT and others train, ``'train'`` or ``'val'``, its halves, or
            ``'test'``.
        with_boxes (bool, optional): Read the boxes. None for the test split and test mode.
        list_dir (str, optional): Folder of SAT's lists, relative to ``data_root`` unless absolute. None for
            the root if ``classes.txt`` is there, or else the published layout.
        data_prefix (str | dict, optional): Image folder relative to ``data_root``. None for that of the
            layout.
        **kwargs: See :class:`LocalizationDataset`.

    Raises:
        FileNotFoundError: If neither layout is found.
        ValueError: If ``split`` is something else, or as :class:`LocalizationDataset` does.
    """

    METAINFO = {'dataset_type': 'fgvc_aircraft'}
    CLIP_BOXES = True

    def __init__(
        self,
        data_root: str,
        split: str = 'trainval',
        with_boxes: bool | None = None,
        list_dir: str | None = None,
        data_prefix: str | dict | None = None,
        **kwargs: Any,
    ) -> None:
        if split not in _SPLIT_CODES:
            raise ValueError(f'split is {split!r}; accepted are {", ".join(map(repr, _SPLIT_CODES))}')
        self.split = split
        self.with_boxes = (
            (split == 'test' or kwargs.get('test_mode', False)) if with_boxes is None else with_boxes
        )
        root = Path(data_root).expanduser()
        self.list_dir = None
        if list_dir is not None or (root / 'classes.txt').is_file():
            self.list_dir = root / Path(list_dir or '').expanduser()
        self.data_dir = root if (root / 'variants.txt').is_file() else root / 'data'
        if data_prefix is None:
            inside = self.list_dir is not None or self.data_dir == root
            data_prefix = 'images' if inside else 'data/images'
        super().__init__(data_root=data_root, data_prefix=data_prefix, **kwargs)

    def load_entries(self, problems: DatasetProblems) -> tuple[list[dict], list[str]]:
        """Read the lists; see :meth:`LocalizationDataset.load_entries`."""
        if self.list_dir is not None:
            return table_entries(self.list_dir, _SPLIT_CODES[self.split], self.with_boxes, problems)
        if not (self.data_dir / 'variants.txt').is_file():
            raise FileNotFoundError(
                f'{self.source}: no {self.data_dir / "variants.txt"} and no lists; accepted is {_LAYOUTS}'
            )
        names = read_class_names(self.data_dir / 'variants.txt')
        index = {name: label for label, name in enumerate(names)}

        def parse(line: str) -> tuple[str, int]:
            key, _, name = line.partition(' ')
            if name.strip() not in index:
                raise ValueError(f'no variant {name.strip()!r} in variants.txt')
            return key, index[name.strip()]

        labels = keyed_lines(
            self.data_dir / f'images_variant_{self.split}.txt', parse, '<id> <variant>', problems
        )
        boxes = {}
        if self.with_boxes:
            boxes = keyed_lines(
                self.data_dir / 'images_box.txt', _id_and_box, '<id> <x0> <y0> <x1> <y1>', problems
            )
        entries = []
        for key, label in labels.items():
            entry = {'img_id': f'{key}.jpg', 'gt_label': label}
            if self.with_boxes:
                if key not in boxes:
                    problems.add('image without box', f'{key} is not in {self.data_dir / "images_box.txt"}')
                    continue
                entry['gt_bboxes'] = boxes[key]
            entries.append(entry)
        return entries, names


def _id_and_box(line: str) -> tuple[str, np.ndarray]:
    key, *fields = split_fields(line, 5)
    return key, np.array([finite_floats(fields)], dtype=np.float64)
