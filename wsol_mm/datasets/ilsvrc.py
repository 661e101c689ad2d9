"""ILSVRC 2012 (Russakovsky et al., IJCV 2015): training and validation images in class folders."""

from pathlib import Path
from typing import Any, NamedTuple

from wsol_mm.registry import DATASETS

import numpy as np

from .dataset_problems import DatasetError, DatasetProblems
from .localization_dataset import LocalizationDataset
from .readers.box_annotations import read_voc_xml
from .readers.image_files import list_folders, list_images
from .readers.list_files import finite_floats, keyed_lines, read_lines, split_fields
from .readers.sat_lists import parse_boxes_and_size, slashes
from .readers.wsol_metadata import read_class_labels, read_localization

#: Number of classes of the whole data set, for which the label column of list files is checked.
_ALL_CLASSES = 1000


class _Annotation(NamedTuple):
    boxes: np.ndarray
    wnid: str | None = None
    label: int | None = None
    size: tuple[int, int] | None = None


@DATASETS.register_module()
class ILSVRC(LocalizationDataset):
    r"""ILSVRC 2012, or a part of its classes.

    ``data_root`` holds ``train/<wnid>/*.JPEG`` and ``val/<wnid>/*.JPEG``, or all validation images flat in
    ``val/``. The class index is the rank of the wnid in sorted order. Validation boxes come from
    ``box_source``:

    - a text file like TS-CAM's ``val_folder_new.txt``: ``<wnid>/<image>.JPEG <label> <x0> <y0> <x1> <y1>
      [...]``;
    - SAT's ``val_gt.txt``, the same with sizes: ``<wnid>\<image>.JPEG <width> <height> <count> ; <x0> <y0>
      <x1> <y1> [...]``;
    - a folder with wsolevaluation's ``localization.txt`` (and ``class_labels.txt``, for flat images);
    - the folder of the XML files of the development kit (``Annotations/CLS-LOC/val``).

    All hold the same numbers: pixels counted from 0, and x1, y1 name the last pixel inside (at most
    width - 1). They are taken as they are; in particular nothing is subtracted from the XML files, although
    their format is that of Pascal VOC. Images are matched by file name without extension, so each source
    serves both layouts. Lines for images of classes that are not there are left out; an image that is listed
    and missing is an error.

    The classes are those of ``class_file``, or the folders in ``train/``, or else those in ``val/``. The
    1.28 million training images are listed, not opened: 7 s, and 97 MB that the workers share.

    Args:
        data_root: Root folder.
        split: ``'train'`` or ``'val'``.
        box_source: See above; relative to ``data_root`` unless absolute. None for no boxes.
        class_file: Text file with a wnid at the start of every line, and maybe its description
            (``synset_words.txt``), in any order; relative to ``data_root`` unless absolute.
        **kwargs: See :class:`LocalizationDataset`.

    Raises:
        ValueError: If ``split`` is something else, or as :class:`LocalizationDataset` does.
    """

    METAINFO = {'dataset_type': 'ilsvrc'}

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        box_source: str | None = None,
        class_file: str | None = None,
        **kwargs: Any,
    ) -> None:
        if split not in ('train', 'val'):
            raise ValueError(f"split: expected 'train' or 'val', got {split!r}")
        self.split = split
        self.box_source = box_source
        self.class_file = class_file
        super().__init__(data_root=data_root, **kwargs)

    def load_entries(self, problems: DatasetProblems) -> tuple[list[dict], list[str]]:
        """List the images and read the boxes; see :meth:`LocalizationDataset.load_entries`."""
        folder = Path(self.data_root, self.split)
        if not folder.is_dir():
            raise FileNotFoundError(
                f'{self.source}: expected train/<wnid>/ and val/<wnid>/, got nothing at {folder}'
            )
        folders = list_folders(folder)
        wnids = self._wnids(folders)
        rank = {wnid: label for label, wnid in enumerate(wnids)}
        self._files_are_listed = True
        images: dict[str, tuple[str, int | None]]
        if folders:
            images = self._images_in_folders(folder, folders, rank, problems)
        else:
            images = {Path(name).stem: (f'{self.split}/{name}', None) for name in list_images(folder)[0]}
        if self.box_source is None:
            if not folders:
                raise DatasetError(
                    f'{self.source}: box_source: expected a list file, a folder with metadata or one with '
                    f'XML files, got none, and {folder} has no class folders that would tell the classes'
                )
            return [{'img_id': path, 'gt_label': label} for path, label in images.values()], wnids

        annotations = self._annotations(self.box_source, images, problems)
        if not folders:
            self._check_label_column(annotations, len(wnids))
        entries = []
        for stem, (path, folder_label) in images.items():
            annotation = annotations.pop(stem, None)
            if annotation is None:
                problems.add('image without box', f'{self.box_source}: expected boxes of {path}, got none')
                continue
            label = self._label(path, folder_label, annotation, rank, problems)
            if label is not None:
                entry = {'img_id': path, 'gt_label': label, 'gt_bboxes': annotation.boxes}
                if annotation.size is not None:
                    entry['width'], entry['height'] = annotation.size
                entries.append(entry)
        for stem, annotation in annotations.items():  # listed, but not on disk
            if annotation.wnid in rank or (annotation.wnid is None and len(wnids) == _ALL_CLASSES):
                problems.add(
                    'missing image', f'{folder}: expected {stem}, as {self.box_source} lists, got none'
                )
        return entries, wnids

    def _check_label_column(self, annotations: dict[str, _Annotation], num_classes: int) -> None:
        """Labels without wnid mean nothing among other classes than those of the list."""
        largest = max(
            (a.label for a in annotations.values() if a.wnid is None and a.label is not None), default=-1
        )
        if largest >= num_classes:
            raise DatasetError(
                f'{self.source}: {self.box_source}: expected wnids, or labels of the {num_classes} classes '
                f'in use, got labels up to {largest} without wnid. Use all classes of the list, or put the '
                'images into class folders'
            )

    def _label(
        self,
        path: str,
        folder_label: int | None,
        annotation: _Annotation,
        rank: dict[str, int],
        problems: DatasetProblems,
    ) -> int | None:
        """The label that folder, wnid and label column agree on; None if the image is to be left out."""
        place = f'{self.box_source}, {path}'
        if annotation.wnid is not None and annotation.wnid not in rank:
            if self.class_file is None:  # with a class file, it says which classes to use
                problems.add(
                    'unknown class',
                    f'{place}: expected one of the {len(rank)} class folders, got {annotation.wnid}',
                )
            return None
        label = folder_label if annotation.wnid is None else rank[annotation.wnid]
        if folder_label not in (None, label):
            problems.add(
                'image in a wrong folder', f'{place}: expected the class of the folder, got {annotation.wnid}'
            )
            return None
        if label is None and annotation.label is None:
            problems.add('image without entry', f'{place}: expected a class, got none')
        elif label is not None and annotation.label not in (None, label) and len(rank) == _ALL_CLASSES:
            problems.add(
                'wrong label', f'{place}: expected {label}, the rank of the wnid, got {annotation.label}'
            )
            return None
        return annotation.label if label is None else label

    def _wnids(self, folders: list[str]) -> list[str]:
        if self.class_file is not None:
            path = Path(self.data_root, Path(self.class_file).expanduser())
            described = dict(line.partition(' ')[::2] for _, line in read_lines(path))
            wnids = sorted(described)
            if any(described.values()):
                self._metainfo.setdefault('class_descriptions', tuple(described[wnid] for wnid in wnids))
            return wnids
        train = Path(self.data_root, 'train')
        wnids = (list_folders(train) if train.is_dir() else []) or folders
        if not wnids:
            raise DatasetError(
                f'{self.source}: expected folders named by wnid in train/ or {self.split}/, got none. '
                'Without them, class_file gives the classes'
            )
        return wnids

    def _images_in_folders(
        self, folder: Path, folders: list[str], rank: dict[str, int], problems: DatasetProblems
    ) -> dict[str, tuple[str, int | None]]:
        images: dict[str, tuple[str, int | None]] = {}
        for wnid in folders:
            if wnid not in rank:
                if self.class_file is None:  # with a class file, it says which classes to use
                    problems.add(
                        'unknown class', f'{folder}: expected the class folders of train/, got {wnid!r}'
                    )
                continue
            for name in list_images(folder / wnid)[0]:
                # only validation images are looked up by name; others may share names across classes
                stem = name.rpartition('.')[0]
                key = stem if self.split == 'val' else f'{wnid}/{stem}'
                images[key] = (f'{self.split}/{wnid}/{name}', rank[wnid])
        return images

    def _annotations(
        self, box_source: str, images: dict, problems: DatasetProblems
    ) -> dict[str, _Annotation]:
        source = Path(self.data_root, Path(box_source).expanduser())
        if source.is_file():
            accepted = (
                '<wnid>/<image> <label> <x0> <y0> <x1> <y1> [4 more numbers for every further box], or '
                '<wnid>/<image> <width> <height> <count> ; <x0> <y0> <x1> <y1> [...]'
            )
            return keyed_lines(source, _parse_list_line, accepted, problems)
        if (source / 'localization.txt').is_file():
            found, holds_masks = read_localization(source / 'localization.txt', problems)
            if holds_masks:
                raise DatasetError(f'{source / "localization.txt"}: expected boxes, got masks')
            labels = {}
            if (source / 'class_labels.txt').is_file():
                labels = read_class_labels(source / 'class_labels.txt', problems)
            return {
                Path(image_id).stem: _Annotation(entry['gt_bboxes'], _parent(image_id), labels.get(image_id))
                for image_id, entry in found.items()
            }
        if not source.is_dir():
            raise FileNotFoundError(
                f'{self.source}: box_source: expected a list file, a folder with localization.txt or a '
                f'folder of XML files, got nothing at {source}'
            )
        return self._xml_annotations(source, images, problems)

    def _xml_annotations(
        self, source: Path, images: dict[str, tuple[str, int | None]], problems: DatasetProblems
    ) -> dict[str, _Annotation]:
        annotations = {}
        for stem, (path, _) in images.items():
            file = source / f'{stem}.xml'
            if not file.is_file():
                file = source / Path(path).parent.name / f'{stem}.xml'
            if not file.is_file():
                continue  # reported as an image without box
            try:
                found = read_voc_xml(file, one_based=False)
            except DatasetError as error:
                problems.add('file that does not parse', str(error))
                continue
            names = set(found.labels)
            if len(names) != 1:
                problems.add(
                    'file that does not parse', f'{file}: expected one class, got {sorted(map(str, names))}'
                )
                continue
            annotations[stem] = _Annotation(found.array(), names.pop(), None, found.size)
        return annotations


def _parent(image_id: str) -> str | None:
    """The class folder of an id: that of 'val/n01440764/x.JPEG', none of 'val/x.JPEG'."""
    parent = Path(image_id).parent.name
    return parent if parent[:1] == 'n' and parent[1:].isdigit() else None


def _parse_list_line(line: str) -> tuple[str, _Annotation]:
    if ';' in line:
        return _parse_sized_line(line)
    path, label, *numbers = line.split()
    if not numbers or len(numbers) % 4:
        raise ValueError(f'expected 4 coordinates per box, got {len(numbers)}')
    boxes = np.array(finite_floats(numbers), dtype=np.float64).reshape(-1, 4)
    return Path(path).stem, _Annotation(boxes, _parent(path), int(label))


def _parse_sized_line(line: str) -> tuple[str, _Annotation]:
    head, located = split_fields(line, 2, ';')
    path, width, height, _ = split_fields(head, 4)
    boxes, size = parse_boxes_and_size(f'{located} {height} {width}')
    path = slashes(path)
    return Path(path).stem, _Annotation(boxes, _parent(path), None, size)
