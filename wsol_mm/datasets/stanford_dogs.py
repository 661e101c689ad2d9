"""Stanford Dogs (Khosla et al., FGVC workshop at CVPR 2011)."""

from pathlib import Path

from wsol_mm.registry import DATASETS

from .dataset_problems import DatasetError, DatasetProblems
from .fine_grained import FineGrainedDataset
from .readers.box_annotations import read_voc_xml
from .readers.matlab_files import columns, read_mat
from .readers.sat_lists import class_folder_entries

_LAYOUTS = (
    'test_list.txt and test_gt.txt, in the root or in `list_dir`, with images in train/ and test/; or the '
    'data set as published: Images/, Annotation/ and train_list.mat, test_list.mat'
)


@DATASETS.register_module()
class StanfordDogs(FineGrainedDataset):
    """Stanford Dogs: 120 classes, 12,000 images for training and 8,580 for testing, 1 to 5 boxes each.

    Two layouts of ``data_root`` are read:

    - the data set as it is published: ``Images/<class>/*.jpg``, ``Annotation/<class>/<image>`` (XML) and the
      lists ``train_list.mat`` and ``test_list.mat``, in the root or in ``lists/``;
    - images in ``train/<class>/`` and ``test/<class>/`` with the text lists of SAT: ``test_list.txt``
      (``<class>/<file>;<index>``), ``test_gt.txt`` (line by line ``x0 y0 x1 y1 [...] h w``) and optionally
      ``train_list.txt``, without which the training images are those in the folders.

    Boxes are taken as written and cut at the image border.

    Args:
        data_root: Root folder.
        split: ``'train'`` or ``'test'``.
        **kwargs: ``with_boxes``, ``list_dir``, ``data_prefix`` and others; see :class:`FineGrainedDataset`.

    Raises:
        FileNotFoundError: If no layout is found.
        ValueError: As :class:`FineGrainedDataset` does.
    """

    METAINFO = {'dataset_type': 'stanford_dogs'}
    LIST_MARKERS = ('test_list.txt', 'train_list.txt')

    def image_folder(self, root: Path) -> str:
        """See :meth:`FineGrainedDataset.image_folder`."""
        return 'Images' if self.list_dir is None else self.split

    def load_entries(self, problems: DatasetProblems) -> tuple[list[dict], list[str]]:
        """Read the lists; see :meth:`LocalizationDataset.load_entries`."""
        if self.list_dir is not None:
            return class_folder_entries(
                self.list_dir, Path(self.img_prefix), self.split, self.with_boxes, problems
            )
        root = Path(self.data_root)
        name = f'{self.split}_list.mat'
        list_file = next((path for path in (root / name, root / 'lists' / name) if path.is_file()), None)
        if list_file is None:
            raise FileNotFoundError(f'{self.source}: expected {_LAYOUTS}; got no {name} and no lists')
        paths, labels = columns(list_file, read_mat(list_file), ['file_list', 'labels'])
        entries, folders = [], {}
        for path, label in zip(paths, labels, strict=True):
            entry = {'img_id': path, 'gt_label': int(label) - 1}
            folders[entry['gt_label']] = path.partition('/')[0]
            if self.with_boxes:
                file = root / 'Annotation' / Path(path).with_suffix('')
                try:
                    found = read_voc_xml(file, one_based=False)
                except FileNotFoundError:
                    problems.add(
                        'image without box', f'{path}: expected an annotation, got nothing at {file}'
                    )
                    continue
                except DatasetError as error:
                    problems.add('file that does not parse', str(error))
                    continue
                entry['gt_bboxes'] = found.array()
                if found.size is not None:
                    entry['width'], entry['height'] = found.size
            entries.append(entry)
        return entries, [folders.get(label, str(label)) for label in range(max(folders, default=-1) + 1)]
