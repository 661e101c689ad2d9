"""OpenImages for localization by masks: the subset of wsolevaluation (Choe et al., CVPR 2020)."""

from pathlib import Path
from typing import Any

from wsol_mm.registry import DATASETS

from .dataset_problems import DatasetProblems
from .readers.list_files import keyed_lines
from .readers.sat_lists import parse_indexed_path, read_class_names
from .wsol_metadata import WSOLMetadataDataset


@DATASETS.register_module()
class OpenImages(WSOLMetadataDataset):
    """OpenImages30k: 100 classes; 29,819 images for training, 2,500 for validation, 5,000 for testing.

    Images lie in ``data_root``, at the paths that the lists say. The lists are

    - the text files of wsolevaluation in ``metadata/{train,val,test}/`` (see :class:`WSOLMetadataDataset`),
      which name the masks of validation and test images, too; or
    - with ``list_dir``, those that SAT's loader reads: ``<split>_images.txt`` (``<path>,<class index>``) and
      optionally ``classes.txt`` (a name per line). They know no masks; if ``metadata/<split>/`` has a
      ``localization.txt`` with the same image paths, its masks are used.

    Without masks the data set serves classification alone: ``PixelAveragePrecision`` and
    ``LoadLocalizationMask`` need them.

    Args:
        data_root: Root folder.
        split: ``'train'``, ``'val'`` or ``'test'``.
        list_dir: Folder of SAT's lists, relative to ``data_root`` unless absolute.
        metadata_dir: Folder of wsolevaluation's text files, with one folder per split; relative to
            ``data_root`` unless absolute.
        num_classes: Number of classes; None for the number of names, or the largest label + 1.
        **kwargs: See :class:`WSOLMetadataDataset`.

    Raises:
        FileNotFoundError: If a list is missing.
        ValueError: If ``split`` is something else, or as :class:`LocalizationDataset` does.
    """

    METAINFO = {'dataset_type': 'openimages'}

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        list_dir: str | None = None,
        metadata_dir: str = 'metadata',
        num_classes: int | None = 100,
        **kwargs: Any,
    ) -> None:
        if split not in ('train', 'val', 'test'):
            raise ValueError(f"split: expected 'train', 'val' or 'test', got {split!r}")
        self.split = split
        self.list_dir = list_dir
        super().__init__(
            data_root=data_root, metadata_dir=f'{metadata_dir}/{split}', num_classes=num_classes, **kwargs
        )

    def load_entries(self, problems: DatasetProblems) -> tuple[list[dict], list[str]]:
        """Read the lists; see :meth:`LocalizationDataset.load_entries`."""
        if self.list_dir is None:
            return super().load_entries(problems)
        folder = Path(self.data_root, Path(self.list_dir).expanduser())
        labels = keyed_lines(
            folder / f'{self.split}_images.txt',
            lambda line: parse_indexed_path(line, ','),
            '<path>,<class, an integer from 0>',
            problems,
        )
        localization = self._localization(problems)
        entries = [
            {'img_id': path, 'gt_label': label, **localization.get(path, {})}
            for path, label in labels.items()
        ]
        if self.class_file is None and (folder / 'classes.txt').is_file():
            names = read_class_names(folder / 'classes.txt')
            if self.num_listed_classes not in (None, len(names)):
                raise ValueError(
                    f'{folder / "classes.txt"}: expected {self.num_listed_classes} names (num_classes), got '
                    f'{len(names)}'
                )
            return entries, names
        return entries, self._class_names(entries)
