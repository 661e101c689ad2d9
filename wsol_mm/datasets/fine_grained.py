"""What CUB, Stanford Dogs, Stanford Cars and FGVC Aircraft share: splits, boxes on demand, lists of SAT."""

from abc import abstractmethod
from collections.abc import Collection
from pathlib import Path
from typing import Any

from .localization_dataset import LocalizationDataset
from .readers.sat_lists import find_list_dir


class FineGrainedDataset(LocalizationDataset):
    """A data set in its published layout, or with the list files of SAT.

    Args:
        data_root: Root folder.
        split: One of :attr:`SPLITS`.
        with_boxes: Read the boxes. None for only where they are evaluated: in the test split or in test mode.
        list_dir: Folder of SAT's lists, relative to ``data_root`` unless absolute. None for the root if one
            of :attr:`LIST_MARKERS` is there, or else the published layout.
        data_prefix: Image folder relative to ``data_root``. None for that of the layout.
        **kwargs: See :class:`LocalizationDataset`.

    Raises:
        FileNotFoundError: If no layout is found.
        ValueError: If ``split`` is something else, or as :class:`LocalizationDataset` does.
    """

    #: Boxes of the published files overrun here and there.
    CLIP_BOXES = True
    #: What ``split`` may be.
    SPLITS: Collection[str] = ('train', 'test')
    #: Files that SAT's lists have and the published layouts have not in their root; one of them is enough.
    LIST_MARKERS: tuple[str, ...] = ()

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        with_boxes: bool | None = None,
        list_dir: str | None = None,
        data_prefix: str | dict | None = None,
        **kwargs: Any,
    ) -> None:
        if split not in self.SPLITS:
            *others, last = map(repr, self.SPLITS)
            raise ValueError(f'split: expected {", ".join(others)} or {last}, got {split!r}')
        self.split = split
        evaluated = split == 'test' or kwargs.get('test_mode', False)
        self.with_boxes = evaluated if with_boxes is None else with_boxes
        root = Path(data_root).expanduser()
        self.list_dir = find_list_dir(root, list_dir, self.LIST_MARKERS)
        if data_prefix is None:
            data_prefix = self.image_folder(root)
        super().__init__(data_root=data_root, data_prefix=data_prefix, **kwargs)

    @abstractmethod
    def image_folder(self, root: Path) -> str:
        """Name the image folder of the layout; :attr:`list_dir` and :attr:`split` are known.

        Args:
            root: Root folder.

        Returns:
            The folder, relative to ``root``.
        """
