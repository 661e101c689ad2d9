"""Data sets described by the text files of wsolevaluation (Choe et al., CVPR 2020)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wsol_mm.registry import DATASETS

from .dataset_problems import DatasetProblems
from .localization_dataset import LocalizationDataset
from .readers.list_files import check_same_keys, read_lines
from .readers.wsol_metadata import read_class_labels, read_image_ids, read_image_sizes, read_localization


@DATASETS.register_module()
class WSOLMetadataDataset(LocalizationDataset):
    """A split described by wsolevaluation's text files.

    They make validation splits for choosing thresholds usable: CUBV2 (``metadata/CUB/val``), ImageNetV2
    (``metadata/ILSVRC/val``) and OpenImages30k (``metadata/OpenImages/{train,val,test}``). The folder holds
    ``image_ids.txt``, ``class_labels.txt`` and, except for training splits, ``localization.txt`` (boxes or
    masks) and ``image_sizes.txt``. Images are evaluated in the order of ``image_ids.txt``. Boxes are taken as
    written.

    Args:
        data_root: Folder to which the ids are relative.
        metadata_dir: The folder with the text files, relative to ``data_root`` unless absolute.
        num_classes: Number of classes, for splits that do not hold all. None for the number of names in
            ``class_file``, or else the largest label + 1.
        class_file: Text file with a class name per line, by index; relative to ``data_root`` unless absolute.
            Without it a class is named by its image folder, if it has one of its own, or else by its index.
        with_localization: Read ``localization.txt``. None for where it exists and holds something.
        data_prefix: Image folder relative to ``data_root``; a dict may also name ``mask_path``, the folder of
            the masks (None: the image folder).
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
                f'{self.source}: expected a folder with image_ids.txt, class_labels.txt and optionally '
                f'image_sizes.txt and localization.txt, got nothing at {folder / "image_ids.txt"}'
            )
        ids = read_image_ids(folder / 'image_ids.txt', problems)
        labels = read_class_labels(folder / 'class_labels.txt', problems)
        check_same_keys(folder / 'image_ids.txt', set(ids), folder / 'class_labels.txt', labels, problems)
        sizes = {}
        if (folder / 'image_sizes.txt').is_file():  # empty for OpenImages
            sizes = read_image_sizes(folder / 'image_sizes.txt', problems)
        localization = self._localization(problems)
        entries = []
        for image_id in ids:
            if image_id not in labels:
                problems.add(
                    'image without entry', f'{folder / "class_labels.txt"}: expected {image_id}, got none'
                )
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
                    f'{self.class_file}: expected {self.num_listed_classes} names (num_classes), got '
                    f'{len(names)}'
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
