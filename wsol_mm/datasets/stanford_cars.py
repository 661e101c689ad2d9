"""Stanford Cars (Krause et al., 3D Representation and Recognition workshop at ICCV 2013)."""

from pathlib import Path

from wsol_mm.registry import DATASETS

import numpy as np
from mmpretrain.datasets.categories import STANFORDCARS_CATEGORIES

from .dataset_problems import DatasetError, DatasetProblems
from .fine_grained import FineGrainedDataset
from .readers.matlab_files import columns, flatten, read_mat
from .readers.sat_lists import table_entries

_LAYOUTS = (
    'images/ with images_box.txt and classes.txt, in the root or in `list_dir`; or cars_annos.mat; or '
    'cars_train/, cars_test/ and devkit/ with cars_train_annos.mat and cars_test_annos_withlabels.mat'
)
_BOX_FIELDS = ['bbox_x1', 'bbox_y1', 'bbox_x2', 'bbox_y2']
#: Third field of ``images_box.txt``.
_SPLIT_CODES = {'train': {'0'}, 'test': {'1'}}


@DATASETS.register_module()
class StanfordCars(FineGrainedDataset):
    """Stanford Cars: 196 classes, 8,144 images for training and 8,041 for testing, one box each.

    Three layouts of ``data_root`` are read:

    - all images together, ``car_ims/*.jpg``, with ``cars_annos.mat``;
    - ``cars_train/``, ``cars_test/`` and ``devkit/`` with ``cars_train_annos.mat``,
      ``cars_test_annos_withlabels.mat`` (which may lie in the root) and ``cars_meta.mat``;
    - ``images/<id>.jpg`` with the text lists of SAT: ``images_box.txt`` (``<id>;<class name>;<0 for train, 1
      for test>;<x0> <y0> <x1> <y1> <height> <width>``) and ``classes.txt``, whose line numbers are the class
      indices.

    Boxes are taken as written, which in the published files counts pixels from 1, and cut at the image
    border. Class names of the published layouts are those of the files, or else mmpretrain's.

    Args:
        data_root: Root folder.
        split: ``'train'`` or ``'test'``.
        **kwargs: ``with_boxes``, ``list_dir``, ``data_prefix`` and others; see :class:`FineGrainedDataset`.

    Raises:
        FileNotFoundError: If no layout is found.
        ValueError: As :class:`FineGrainedDataset` does.
    """

    METAINFO = {'dataset_type': 'stanford_cars'}
    SPLITS = _SPLIT_CODES
    LIST_MARKERS = ('images_box.txt',)

    def image_folder(self, root: Path) -> str:
        """See :meth:`FineGrainedDataset.image_folder`."""
        if self.list_dir is not None:
            return 'images'
        return '' if (root / 'cars_annos.mat').is_file() else f'cars_{self.split}'

    def load_entries(self, problems: DatasetProblems) -> tuple[list[dict], list[str]]:
        """Read the lists; see :meth:`LocalizationDataset.load_entries`."""
        if self.list_dir is not None:
            return table_entries(self.list_dir, _SPLIT_CODES[self.split], self.with_boxes, problems)
        annotation_file = self._annotation_file()
        variables = read_mat(annotation_file)
        annotations = variables.get('annotations')
        if not isinstance(annotations, dict):
            raise DatasetError(
                f'{annotation_file}: expected an array of structures named annotations, got none'
            )
        boxes = zip(*columns(annotation_file, annotations, _BOX_FIELDS), strict=True)
        joint = 'relative_im_path' in annotations
        paths, labels = columns(
            annotation_file, annotations, ['relative_im_path' if joint else 'fname', 'class']
        )
        in_test = flatten(annotations['test']) if joint else [self.split == 'test'] * len(paths)
        entries = []
        for path, label, box, test in zip(paths, labels, boxes, in_test, strict=True):
            if bool(test) == (self.split == 'test'):
                entry = {'img_id': path, 'gt_label': int(label) - 1}
                if self.with_boxes:
                    entry['gt_bboxes'] = np.array([box], dtype=np.float64)
                entries.append(entry)
        return entries, self._class_names(annotation_file, variables)

    def _annotation_file(self) -> Path:
        root = Path(self.data_root)
        names = ['cars_annos.mat', f'devkit/cars_{self.split}_annos.mat']
        if self.split == 'test':  # the file of the devkit itself has no labels
            names[1:] = [f'{folder}cars_test_annos_withlabels.mat' for folder in ('devkit/', '')]
        for name in names:
            if (root / name).is_file():
                return root / name
        raise FileNotFoundError(
            f'{self.source}: expected {_LAYOUTS}; got none of {", ".join(names)} and no lists'
        )

    def _class_names(self, annotation_file: Path, variables: dict) -> list[str]:
        if 'class_names' in variables:
            return [str(name) for name in flatten(variables['class_names'])]
        for meta_file in (
            annotation_file.parent / 'cars_meta.mat',
            Path(self.data_root, 'devkit/cars_meta.mat'),
        ):
            if meta_file.is_file():
                return [str(name) for name in columns(meta_file, read_mat(meta_file), ['class_names'])[0]]
        return list(STANFORDCARS_CATEGORIES)
