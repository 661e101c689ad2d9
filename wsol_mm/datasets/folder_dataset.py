"""A user's own images: one folder per class, boxes optional."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from wsol_mm.registry import DATASETS
from wsol_mm.utils.file_names import fitting_name, printable

from mmengine.logging import print_log

from .checks.entries import draw_fraction
from .checks.image_files import inspect_image
from .dataset_problems import DatasetError, DatasetProblems
from .localization_dataset import LocalizationDataset
from .readers.box_annotations import ImageBoxes, read_box_csv, read_box_list, read_coco_json, read_voc_xml
from .readers.image_files import (
    DECODE_ERRORS,
    IMAGE_EXTENSIONS,
    distinct_stems,
    error_text,
    list_folders,
    list_images,
)
from .readers.list_files import read_lines
from .readers.parquet_boxes import read_box_parquet
from .readers.tool_annotations import (
    YOLO_CLASS_FILES,
    is_label_studio,
    read_label_studio,
    read_labelme_json,
    read_yolo_classes,
    read_yolo_labels,
)

_BOX_SOURCES = (
    'a .json file (COCO, Label Studio), a .csv or .parquet file, a .txt list, or a folder of .xml (Pascal '
    'VOC), .json (labelme) or .txt files (YOLO)'
)


@DATASETS.register_module()
class FolderDataset(LocalizationDataset):
    """Images in one folder per class, with boxes from a file if there are any.

    The class folders lie in ``data_root/<data_prefix>``; images may lie in subfolders. Hidden files
    and folders are left out; files that are no images are counted in the log. Classes are numbered in the
    sorted order of their folders, unless ``classes`` names them.

    Boxes (``box_source``) come from

    - a ``.json`` file in COCO's instances format (groups are left out), or with tasks of Label Studio;
    - a ``.csv`` file with a box per line, ``path,x0,y0,x1,y1[,label[,score]]``, with or without a heading;
    - a ``.parquet`` file with a box per row, in the columns ``path``, ``x0``, ``y0``, ``x1``, ``y1`` and, if
      there is one, ``label``;
    - a ``.txt`` list as CATR and CDTR ship it, ``<path> <ignored> <4 numbers>``, a line per box;
    - a folder with a Pascal VOC ``.xml`` or a labelme ``.json`` file per image, in the same folders as the
      images or all in one;
    - a folder of YOLO's ``.txt`` files, or one with such a folder ``labels`` in it. ``data.yaml`` or
      ``classes.txt``, there or in the folder above, names the classes.

    Coordinates are pixels of the image as it is shown, with its EXIF orientation applied
    (``apply_exif=False`` for those of the stored pixels; the loader in the pipeline must do the same). Images
    are found by their path relative to the image folder or ``data_root``, or by file name alone where only
    one image has it; files per image by that path, with or without the image's extension. Where the classes
    of boxes are class folders, only those of the image's own class are taken; where none is (say, 'object'),
    all are. In test mode every image needs a box if there is a ``box_source``, unless ``require_boxes`` is
    False.

    Args:
        data_root: Root folder.
        data_prefix: Image folder relative to ``data_root``.
        box_source: See above; relative to ``data_root`` unless absolute. None for no boxes.
        class_folder: Folder whose subfolders are the classes, relative to ``data_root``. Give the training
            folder to a test split, so that a class missing there does not shift the labels. None for the
            image folder itself.
        voc_one_based: XML coordinates count pixels from 1 and name the last pixel inside, as Pascal VOC does:
            x0 = xmin - 1, x1 = xmax. False takes them as they are.
        box_format: The numbers in a ``.txt`` list: ``'xyxy'`` (x0, y0, x1, y1) or ``'xywh'`` (x, y, width,
            height).
        extensions: Suffixes of image files, upper or lower case.
        val_fraction: The images are not divided into folders: this share of every class is for validation,
            the others for training. An image's place depends on its path and class alone, not on the machine.
            None to take all.
        split: ``'train'`` or ``'val'``, with ``val_fraction``.
        **kwargs: See :class:`LocalizationDataset`. Here ``classes`` also says which folders to use.

    Raises:
        DatasetError: If there is no class folder or no image, or as :class:`LocalizationDataset` does.
        FileNotFoundError: If a folder or file is missing.
        ValueError: If ``box_format`` or ``split`` is none of the two, or ``val_fraction`` outside (0, 1).
    """

    METAINFO = {'dataset_type': 'folder'}
    APPLY_EXIF = True

    def __init__(
        self,
        data_root: str,
        data_prefix: str | dict = '',
        box_source: str | None = None,
        class_folder: str | None = None,
        voc_one_based: bool = True,
        box_format: str = 'xyxy',
        extensions: Sequence[str] = IMAGE_EXTENSIONS,
        val_fraction: float | None = None,
        split: str = 'train',
        **kwargs: Any,
    ) -> None:
        if val_fraction is not None and not 0 < val_fraction < 1:
            raise ValueError(f'val_fraction: expected a number in (0, 1), or None, got {val_fraction!r}')
        if split not in ('train', 'val'):
            raise ValueError(f"split: expected 'train' or 'val', got {split!r}")
        self.val_fraction = val_fraction
        self.split = split
        if box_format not in ('xyxy', 'xywh'):
            raise ValueError(f"box_format: expected 'xyxy' or 'xywh', got {box_format!r}")
        self.box_format = box_format
        self.box_source = box_source
        self.class_folder = class_folder
        self.voc_one_based = voc_one_based
        self.extensions = tuple(extension.lower() for extension in extensions)
        super().__init__(data_root=data_root, data_prefix=data_prefix, **kwargs)

    def load_entries(self, problems: DatasetProblems) -> tuple[list[dict], list[str]]:
        """List the images and read the boxes; see :meth:`LocalizationDataset.load_entries`."""
        root = Path(self.img_prefix)
        class_names = self.find_classes()
        entries: list[dict] = []
        others = 0
        for label, name in enumerate(class_names):
            if (root / name).is_dir():
                paths, skipped = list_images(root / name, self.extensions)
                entries.extend({'img_id': f'{name}/{path}', 'gt_label': label} for path in paths)
                others += skipped
        if others:
            print_log(
                f'{self.source}: {others} file(s) are no images ({" ".join(self.extensions)})', 'current'
            )
        for folder in list_folders(root) if self.class_selection is None else []:
            if folder not in class_names:
                problems.add(
                    'unknown class', f'{root}: expected folders of {class_names[:10]}, got {folder!r}'
                )
        for name in list_images(root, self.extensions, recursive=False)[0]:
            problems.add('image outside the class folders', f'{root}: expected <class>/<image>, got {name!r}')
        self._files_are_listed = True
        if self.val_fraction is not None:
            chosen = draw_fraction(entries, class_names, self.val_fraction)
            entries = [entry for entry in entries if (entry['img_id'] in chosen) == (self.split == 'val')]
        if self.box_source is not None:
            self._add_boxes(self.box_source, entries, class_names, problems)
        return entries, class_names

    def find_classes(self) -> list[str]:
        """List the classes by index, without looking at the images.

        Returns:
            Their names.

        Raises:
            DatasetError: If there are no folders of classes.
            FileNotFoundError: If there is no such folder.
        """
        root = Path(self.img_prefix)
        folder = root if self.class_folder is None else Path(self.data_root, self.class_folder)
        for needed in (root, folder):
            if not needed.is_dir():
                raise FileNotFoundError(
                    f'{self.source}: expected a folder with a folder per class, got nothing at {needed}'
                )
        names = list_folders(folder)
        if not names:
            raise DatasetError(f'{self.source}: expected a folder of images per class in {folder}, got none')
        if self.class_selection is None:
            return names
        if isinstance(self.class_selection, str):
            return [line for _, line in read_lines(Path(self.class_selection).expanduser())]
        return list(self.class_selection)

    def _add_boxes(
        self, box_source: str, entries: list[dict], class_names: list[str], problems: DatasetProblems
    ) -> None:
        source = Path(self.data_root, Path(box_source).expanduser())
        if source.is_dir():
            matched = self._read_folder(source, entries, problems)
        elif not source.is_file():
            raise FileNotFoundError(
                f'{self.source}: box_source: expected {_BOX_SOURCES}, got nothing at {source}'
            )
        elif source.suffix.lower() == '.json' and is_label_studio(source):
            matched = self._match(read_label_studio(source, problems), entries, source, problems)
        elif source.suffix.lower() == '.json':
            matched = self._match(read_coco_json(source, problems), entries, source, problems)
        elif source.suffix.lower() == '.csv':
            matched = self._match(read_box_csv(source, problems), entries, source, problems)
        elif source.suffix.lower() == '.parquet':
            matched = self._match(read_box_parquet(source, problems), entries, source, problems)
        elif source.suffix.lower() == '.txt':
            found = read_box_list(source, self.box_format, problems)
            matched = self._match(found, entries, source, problems)
        else:
            raise ValueError(f'{self.source}: box_source: expected {_BOX_SOURCES}, got {source}')
        problems.stop_if_strict()  # say what is wrong with the lines first
        if entries and not matched:
            raise DatasetError(
                f'{self.source}: {source}: expected boxes of the {len(entries)} images, such as '
                f'{entries[0]["img_id"]!r}, got none of them. Images are named by paths relative to '
                f'{self.img_prefix} or {self.data_root}, or by file names that only one image has'
            )
        labels = {_comparable(label) for boxes in matched.values() for label in boxes.labels}
        by_class = not labels.isdisjoint(map(_comparable, class_names))
        foreign: Counter[str] = Counter()
        for position, boxes in matched.items():
            entry = entries[position]
            own = _comparable(class_names[entry['gt_label']])
            keep = [not by_class or label is None or _comparable(label) == own for label in boxes.labels]
            foreign.update(str(label) for label, kept in zip(boxes.labels, keep, strict=True) if not kept)
            entry['gt_bboxes'] = boxes.array(keep)
            if boxes.size is not None:
                entry['width'], entry['height'] = boxes.size
        if foreign:
            named = ', '.join(f'{label} ({count})' for label, count in foreign.most_common(5))
            print_log(
                f"{self.source}: {foreign.total()} boxes left out that are not of the image's own class: "
                f'{named}',
                'current',
            )

    def _read_folder(
        self, source: Path, entries: list[dict], problems: DatasetProblems
    ) -> dict[int, ImageBoxes]:
        """Read a folder with a file per image, of whichever format there is."""
        labels = source / 'labels' if (source / 'labels').is_dir() else source
        if list_images(source, ['.xml'])[0]:
            return self._read_per_image(
                source, '.xml', entries, problems, lambda file, _: read_voc_xml(file, self.voc_one_based)
            )
        if list_images(labels, ['.txt'])[0]:
            names = read_yolo_classes(labels)

            def read_yolo(file: Path, entry: dict) -> ImageBoxes:
                image = Path(self.img_prefix, entry['img_id'])
                try:
                    size = inspect_image(image, self.apply_exif)
                except DECODE_ERRORS as error:
                    raise DatasetError(
                        f'{image}: expected a usable image, got {error_text(error)}'
                    ) from error
                return read_yolo_labels(file, names, size, problems)

            return self._read_per_image(labels, '.txt', entries, problems, read_yolo)
        return self._read_per_image(
            source, '.json', entries, problems, lambda file, _: read_labelme_json(file)
        )

    def _read_per_image(
        self,
        source: Path,
        suffix: str,
        entries: list[dict],
        problems: DatasetProblems,
        read: Callable[[Path, dict], ImageBoxes],
    ) -> dict[int, ImageBoxes]:
        files = {path[: -len(suffix)]: source / path for path in list_images(source, [suffix])[0]}
        positions, ambiguous = self._positions_by_key(entries, _names_of_files(entries, suffix))
        matched = {}
        for key, file in files.items():
            if file.name in YOLO_CLASS_FILES:
                continue
            if key in ambiguous:
                accepted = 'images that differ in more than the extension' if '/' in key else f'<class>/{key}'
                problems.add(
                    'ambiguous image name',
                    f'{file}: expected {accepted}, got several images {key}',
                )
            elif key in positions:
                try:
                    matched[positions[key]] = read(file, entries[positions[key]])
                except DatasetError as error:
                    problems.add('file that does not parse', str(error))
        return {position: boxes for position, boxes in matched.items() if boxes.boxes}

    def _match(
        self, found: dict[str, ImageBoxes], entries: list[dict], source: Path, problems: DatasetProblems
    ) -> dict[int, ImageBoxes]:
        positions, ambiguous = self._positions_by_key(entries, [[entry['img_id'] for entry in entries]])
        matched: dict[int, ImageBoxes] = {}
        unmatched = 0
        for path, boxes in found.items():
            # As it is, first: a name may have a backslash, or begin with a blank.
            others = path.replace('\\', '/').removeprefix('./'), path.strip().replace('\\', '/')
            key = next((key for key in (path, *others) if key in positions), others[-1].removeprefix('./'))
            if key in ambiguous:
                problems.add(
                    'ambiguous image name',
                    f'{source}: expected <class>/{key}, got several images named {key}',
                )
            elif key not in positions:
                unmatched += 1
            elif positions[key] in matched:
                problems.add(
                    'repeated entry',
                    f'{source}: expected one path per image, got {path} beside another of the same image',
                )
            else:
                matched[positions[key]] = boxes
        if unmatched and matched:  # say, those of another split
            print_log(
                f'{self.source}: {unmatched} image(s) in {source} are not in {self.img_prefix}', 'current'
            )
        return matched

    def _positions_by_key(
        self, entries: list[dict], kinds: Sequence[Sequence[str]]
    ) -> tuple[dict[str, int], set[str]]:
        """Every name by which an annotation may mean an image, and the names that mean several.

        Args:
            entries: The images.
            kinds: Kinds of paths for all of them, the most certain first.
        """
        inside = os.path.relpath(self.img_prefix, self.data_root).replace(os.sep, '/')
        positions: dict[str, int] = {}
        ambiguous: set[str] = set()
        for paths in kinds:
            by_path, same_path = _unique(paths)
            by_name, same_name = _unique([path.rpartition('/')[2] for path in paths])
            prefixed = {f'{inside}/{path}': position for path, position in by_path.items()}
            others = same_name | {f'{inside}/{path}' for path in same_path}
            found = by_name | prefixed | by_path
            certain = set(positions)
            ambiguous |= (same_path | (others - set(found))) - certain
            positions = found | positions
        return positions, ambiguous


def _names_of_files(entries: Sequence[dict], suffix: str) -> list[list[str]]:
    """Return what files of images may be called, without their ending: as we write them, and otherwise.

    Of ``a.jpg`` it is ``a.xml``, but beside an ``a.png`` both have ``a.jpg.xml`` and ``a.png.xml``.
    """
    folders: dict[str, list[int]] = {}
    for position, entry in enumerate(entries):
        folders.setdefault(entry['img_id'].rpartition('/')[0], []).append(position)
    ours = [''] * len(entries)
    for folder, positions in folders.items():
        names = [entries[position]['img_id'].rpartition('/')[2] for position in positions]
        for position, stem in zip(positions, distinct_stems(names), strict=True):
            ours[position] = fitting_name(f'{folder}/{stem}' if folder else stem, suffix)[: -len(suffix)]
    whole = [entry['img_id'] for entry in entries]
    return [ours, [path.rpartition('.')[0] for path in whole], whole]


def _comparable(label: str | None) -> str | None:
    """Return a class name as all formats can hold it."""
    return None if label is None else printable(label).strip()


def _unique(names: Sequence[str]) -> tuple[dict[str, int], set[str]]:
    """Positions of the names that occur once, and the other names."""
    counts = Counter(names)
    once = {name: position for position, name in enumerate(names) if counts[name] == 1}
    return once, set(counts) - set(once)
