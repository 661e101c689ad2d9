"""FGVC Aircraft (Maji et al., arXiv 1306.5151, 2013), release 2013b, classified by variant."""

from pathlib import Path
from typing import Any

from wsol_mm.registry import DATASETS

import numpy as np

from .dataset_problems import DatasetProblems
from .fine_grained import FineGrainedDataset
from .readers.list_files import finite_floats, keyed_lines, split_fields
from .readers.sat_lists import read_class_names, table_entries

_LAYOUTS = (
    'images/ with images_box.txt and classes.txt, in the root or in `list_dir`; or the data set as '
    'published: data/ with images/, variants.txt, images_variant_train.txt (val, trainval, test) and '
    'images_box.txt'
)
#: Third field of SAT's ``images_box.txt``.
_SPLIT_CODES = {'train': {'0'}, 'val': {'2'}, 'trainval': {'0', '2'}, 'test': {'1'}}


@DATASETS.register_module()
class FGVCAircraft(FineGrainedDataset):
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
        data_root: Root folder.
        split: ``'trainval'``, on which SAT and others train, ``'train'`` or ``'val'``, its halves, or
            ``'test'``.
        **kwargs: ``with_boxes``, ``list_dir``, ``data_prefix`` and others; see :class:`FineGrainedDataset`.

    Raises:
        FileNotFoundError: If no layout is found.
        ValueError: As :class:`FineGrainedDataset` does.
    """

    METAINFO = {'dataset_type': 'fgvc_aircraft'}
    SPLITS = _SPLIT_CODES
    # images_box.txt is among the published files, too
    LIST_MARKERS = ('classes.txt',)

    def __init__(self, data_root: str, split: str = 'trainval', **kwargs: Any) -> None:
        super().__init__(data_root, split, **kwargs)

    def image_folder(self, root: Path) -> str:
        """See :meth:`FineGrainedDataset.image_folder`."""
        inside = self.list_dir is not None or _data_dir(root) == root
        return 'images' if inside else 'data/images'

    def load_entries(self, problems: DatasetProblems) -> tuple[list[dict], list[str]]:
        """Read the lists; see :meth:`LocalizationDataset.load_entries`."""
        if self.list_dir is not None:
            return table_entries(self.list_dir, _SPLIT_CODES[self.split], self.with_boxes, problems)
        data_dir = _data_dir(Path(self.data_root))
        if not (data_dir / 'variants.txt').is_file():
            raise FileNotFoundError(
                f'{self.source}: expected {_LAYOUTS}; got no file {data_dir / "variants.txt"} and no lists'
            )
        names = read_class_names(data_dir / 'variants.txt')
        index = {name: label for label, name in enumerate(names)}

        def parse(line: str) -> tuple[str, int]:
            key, _, name = line.partition(' ')
            if name.strip() not in index:
                raise ValueError(f'expected a variant of variants.txt, got {name.strip()!r}')
            return key, index[name.strip()]

        labels = keyed_lines(data_dir / f'images_variant_{self.split}.txt', parse, '<id> <variant>', problems)
        boxes = {}
        if self.with_boxes:
            boxes = keyed_lines(
                data_dir / 'images_box.txt', _id_and_box, '<id> <x0> <y0> <x1> <y1>', problems
            )
        entries = []
        for key, label in labels.items():
            entry = {'img_id': f'{key}.jpg', 'gt_label': label}
            if self.with_boxes:
                if key not in boxes:
                    problems.add(
                        'image without box',
                        f'{data_dir / "images_box.txt"}: expected a box of {key}, got none',
                    )
                    continue
                entry['gt_bboxes'] = boxes[key]
            entries.append(entry)
        return entries, names


def _data_dir(root: Path) -> Path:
    return root if (root / 'variants.txt').is_file() else root / 'data'


def _id_and_box(line: str) -> tuple[str, np.ndarray]:
    key, *fields = split_fields(line, 5)
    return key, np.array([finite_floats(fields)], dtype=np.float64)
