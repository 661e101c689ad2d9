"""The base of all data sets for weakly supervised object localization."""

import logging
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wsol_mm.registry import TRANSFORMS

import numpy as np
from mmengine.logging import print_log
from mmpretrain.datasets import BaseDataset

from .checks import entries as checks
from .dataset_problems import DatasetError, DatasetProblems, UnreadableImage
from .image_pipeline import has_loader, image_fields, pipeline_item, run_transforms
from .readers.list_files import read_lines

#: Data sets with more images have the headers read only of those with boxes.
_HEADERS_LIMIT = 50_000

#: Side of the black image that stands in for one of unknown size.
_STAND_IN_SIDE = 224


class LocalizationDataset(BaseDataset):
    """Images with one label each and, for evaluation, ground-truth boxes or masks.

    A subclass implements :meth:`load_entries`; everything else (checks, class selection, few-shot subsets,
    behaviour towards damaged images) is here. Items before the pipeline (:meth:`get_data_info`) hold

    - ``img_id`` (str): the path relative to the image folder, with ``/``; the same on every machine;
    - ``img_path`` (str), ``gt_label`` (int), ``sample_idx`` (int);
    - ``gt_bboxes``: (N, 4) float64, x0 y0 x1 y1 in pixels of the file on disk, if the data set has boxes;
    - ``mask_paths`` (list[str]) and ``ignore_path`` (str or None), if it has masks;
    - ``width``, ``height`` (int) of the file on disk, where known (always where there are boxes).

    For the pipeline ``gt_bboxes`` is renamed ``ori_gt_bboxes``, because mmcv's geometric transforms change
    boxes of the first name, and evaluation wants the boxes of the file; ``PackLocalizationInputs`` packs them
    as ``gt_bboxes``.

    Checked at start-up: list files (every line), labels, that each image exists (one listing per folder),
    boxes, classes without images. Of images with boxes, and of all images of data sets of at most 50,000, the
    size is read from the file header and the end of the file is looked at, which costs about 0.1 ms per image
    and finds truncated files; the 1.28 million training images of ILSVRC are not opened. With
    ``verify_images`` every image is decoded, which takes as long as an epoch of data loading.

    For an image that does not decode later, in the middle of a test, a black image of its size stands in: it
    keeps place, label and boxes and carries the reason in the meta field ``load_error``, so that it counts as
    one failure and never loses a run's results. The same holds for an image of which a mask does not decode,
    with all pixels ignored. In training it raises :class:`DatasetError` with its name, or, with
    ``on_error='skip'``, is replaced by the next good one.

    Args:
        data_root: Root folder of the data set.
        data_prefix: Image folder relative to ``data_root``, or a dict with ``img_path`` (and ``mask_path``).
        classes: Use only these classes, labelled 0, 1, ... in this order: their names, or the path of a text
            file with one name a line. None for all.
        shots_per_class: Use only this many images per class, drawn without replacement. The draw of a class
            depends on ``shots_seed``, the class name and the image ids alone, not on the order of files nor
            on the other classes; the images of fewer shots are among those of more.
        shots_seed: Seed of that draw.
        leave_out: Text file of images that are not used: an ``img_id`` a line.
        on_error: ``'raise'`` stops at start-up with all problems counted and the first few named; ``'skip'``
            leaves out what is affected, counts it in :attr:`skipped` and logs one line.
        check_files: Look whether the image files exist.
        clip_boxes: Cut boxes at the image border instead of reporting those that overrun by more than a
            pixel. None for the data set's own rule (:attr:`CLIP_BOXES`).
        read_headers: Read the headers of images, as said above.
        verify_images: Decode all images (and masks) at start-up.
        require_boxes: In test mode, an image without boxes is a problem where others have some. False keeps
            such images, without ``gt_bboxes``: they count for classification only.
        allow_outside: The lists may name images and masks outside their folder (``../``, absolute paths).
        apply_exif: Sizes and boxes are those of the image after its EXIF orientation is applied. Must agree
            with the loader in the pipeline: mmcv's ``color_type='color'`` applies it,
            ``'color_ignore_orientation'`` does not. None for the data set's own rule (:attr:`APPLY_EXIF`).
        **kwargs: Other arguments of mmpretrain's ``BaseDataset`` (``pipeline``, ``test_mode``, ``lazy_init``,
            ``indices``, ``metainfo``, ...).

    Raises:
        DatasetError: If something is wrong with the files and ``on_error`` is ``'raise'``, or nothing is
            left.
        FileNotFoundError: If a list file is missing.
        ValueError: If an argument is out of range.
    """

    #: Default of ``clip_boxes``.
    CLIP_BOXES: bool = False
    #: Default of ``apply_exif``.
    APPLY_EXIF: bool = False

    def __init__(
        self,
        data_root: str = '',
        data_prefix: str | dict = '',
        classes: str | Sequence[str] | None = None,
        shots_per_class: int | None = None,
        shots_seed: int = 0,
        leave_out: str | None = None,
        on_error: str = 'raise',
        check_files: bool = True,
        clip_boxes: bool | None = None,
        read_headers: bool = True,
        verify_images: bool = False,
        require_boxes: bool = True,
        allow_outside: bool = False,
        apply_exif: bool | None = None,
        **kwargs: Any,
    ) -> None:
        if shots_per_class is not None and (not isinstance(shots_per_class, int) or shots_per_class < 1):
            raise ValueError(f'shots_per_class: expected an integer from 1, or None, got {shots_per_class!r}')
        self.class_selection = classes
        self.shots_per_class = shots_per_class
        self.shots_seed = shots_seed
        self.leave_out = leave_out
        self.on_error = on_error
        self.check_files = check_files
        self.clip_boxes = self.CLIP_BOXES if clip_boxes is None else clip_boxes
        self.read_headers = read_headers
        self.verify_images = verify_images
        self.require_boxes = require_boxes
        self.allow_outside = allow_outside
        self.apply_exif = self.APPLY_EXIF if apply_exif is None else apply_exif
        # set by subclasses whose entries come from a listing of the disk
        self._files_are_listed = False
        #: Number of entries left out at start-up, by kind of problem.
        self.skipped: dict[str, int] = {}
        #: All that was found wrong at start-up, one text for each, by kind of problem.
        self.problems: dict[str, list[str]] = {}
        # '' stays '': the base class takes it for 'no root'
        data_root = str(Path(data_root).expanduser()) if data_root else ''
        kwargs.setdefault('ann_file', '')
        # built here, by this registry: without a default scope the base class would not find our transforms
        kwargs['pipeline'] = [
            TRANSFORMS.build(step) if isinstance(step, dict) else step for step in kwargs.get('pipeline', ())
        ]
        DatasetProblems('', on_error)  # refuses a wrong on_error before anything is read
        super().__init__(data_root=data_root, data_prefix=data_prefix, **kwargs)

    # ------------------------------------------------------------------ what a subclass gives

    @abstractmethod
    def load_entries(self, problems: DatasetProblems) -> tuple[list[dict], list[str]]:
        """Read the data set's lists.

        Args:
            problems: Where everything wrong with one line or image is reported. An entry with a problem is
                left out.

        Returns:
            One dict per image with ``img_id``, ``gt_label`` and optionally ``gt_bboxes``, ``mask_paths`` and
            ``ignore_path`` (relative to the mask folder), ``width`` and ``height``; and the class names by
            index.
        """

    # ------------------------------------------------------------------ start-up

    @property
    def source(self) -> str:
        """The data set and its place, for messages."""
        return f'{type(self).__name__} ({self.data_root or self.img_prefix or self.ann_file})'

    @property
    def mask_prefix(self) -> str:
        """Folder of the masks; the image folder unless ``data_prefix`` says otherwise."""
        return self.data_prefix.get('mask_path', self.img_prefix)

    def load_data_list(self) -> list[dict]:
        """Read, check and select; see the class description.

        Returns:
            One dict per image.

        Raises:
            DatasetError: If something is wrong (``on_error='raise'``), or no image is left.
            FileNotFoundError: If a list file is missing.
            ValueError: If ``classes`` names a class that the data set does not have.
        """
        problems = DatasetProblems(self.source, self.on_error)
        entries, class_names = self.load_entries(problems)
        if self.leave_out is not None:
            unused = {line for _, line in read_lines(Path(self.leave_out).expanduser())}
            entries = [entry for entry in entries if entry['img_id'] not in unused]
        entries = checks.check_labels(entries, len(class_names), problems)
        if not (self._files_are_listed or self.allow_outside):
            entries = checks.check_inside(entries, problems)
        problems.stop_if_strict()  # what follows from a bad line would only hide it
        if self.class_selection is not None:
            entries, class_names = self._select_classes(self.class_selection, entries, class_names)
        if self.check_files:
            if not self._files_are_listed:
                entries = checks.check_image_files(entries, self.img_prefix, problems)
            entries = checks.check_mask_files(entries, self.mask_prefix, problems)
            problems.stop_if_strict()
            if self.read_headers:
                entries = checks.check_headers(
                    entries, self.img_prefix, problems, limit=_HEADERS_LIMIT, apply_exif=self.apply_exif
                )
        entries, num_cut = checks.check_entry_boxes(entries, problems, clip=self.clip_boxes)
        if num_cut:
            print_log(f'{self.source}: cut {num_cut} box(es) at the image border', 'current')
        if self.test_mode:
            entries = checks.check_ground_truth(entries, problems, self.require_boxes)
        if self.verify_images:
            entries = checks.check_decoding(entries, self.img_prefix, self.mask_prefix, problems)
        # nothing can be learned of a class without images; a test set may well lack some classes
        empty = checks.empty_classes(entries, class_names)
        if empty and self.test_mode:
            named = ', '.join(empty[:5])
            print_log(
                f'{self.source}: {len(empty)} of {len(class_names)} classes have no image: {named}', 'current'
            )
        for name in () if self.test_mode else empty:
            problems.add(
                'class without images',
                f'{name}: expected at least one image, got none. `classes` may leave it out',
            )
        if self.shots_per_class is not None:
            entries = checks.draw_shots(entries, class_names, self.shots_per_class, self.shots_seed, problems)
        problems.stop_if_strict()
        problems.log_summary()
        self.skipped, self.problems = problems.counts, problems.messages
        if not entries:
            raise DatasetError(
                f'{self.source}: expected at least one usable image, got none; skipped: {self.skipped}'
            )
        given = self._metainfo.get('classes')
        if given is not None and len(given) != len(class_names):
            raise ValueError(
                f'metainfo["classes"]: expected {len(class_names)} names, as {self.source} has classes, got '
                f'{len(given)}. `classes` selects some'
            )
        self._metainfo.setdefault('classes', tuple(class_names))
        return entries

    def _select_classes(
        self, selection: str | Sequence[str], entries: list[dict], class_names: list[str]
    ) -> tuple[list[dict], list[str]]:
        if isinstance(selection, str):
            wanted = [line for _, line in read_lines(Path(selection).expanduser())]
        else:
            wanted = list(selection)
        index = {name: label for label, name in enumerate(class_names)}
        unknown = [name for name in wanted if name not in index]
        if unknown or len(set(wanted)) != len(wanted) or not wanted:
            found = f'the unknown {unknown[:5]!r}' if unknown else f'repeated or no names, {wanted[:5]!r} ...'
            raise ValueError(
                f'classes: expected different names out of the {len(class_names)} classes of {self.source}, '
                f'{class_names[:5]!r} ..., got {found}'
            )
        new_label = {index[name]: label for label, name in enumerate(wanted)}
        kept = [
            {**entry, 'gt_label': new_label[entry['gt_label']]}
            for entry in entries
            if entry['gt_label'] in new_label
        ]
        return kept, wanted

    # ------------------------------------------------------------------ items

    def get_data_info(self, idx: int) -> dict:
        """Get an item as it enters the pipeline; see the class description.

        Args:
            idx: Index of the item.

        Returns:
            The item.
        """
        info = super().get_data_info(idx)
        # joined here, not stored: with a million images the prefix would be most of the memory
        info['img_path'] = _join(self.img_prefix, info['img_id'])
        if 'mask_paths' in info:
            info['mask_paths'] = [_join(self.mask_prefix, path) for path in info['mask_paths']]
            info['ignore_path'] = (
                _join(self.mask_prefix, info['ignore_path']) if info['ignore_path'] else None
            )
        return info

    def prepare_data(self, idx: int) -> Any:
        """Get an item through the pipeline.

        Args:
            idx: Index of the item.

        Returns:
            What the pipeline returns. If the image does not decode, that of a black one (test mode) or, with
            ``on_error='skip'``, of the next good image.

        Raises:
            DatasetError: In training, if the image does not decode and ``on_error`` is ``'raise'``, or if all
                of the next ``max_refetch`` images do not either.
        """
        for offset in range(min(self.max_refetch, len(self) - 1) + 1):
            info = pipeline_item(self.get_data_info((idx + offset) % len(self)))
            try:
                return run_transforms(self.pipeline.transforms, info)
            except UnreadableImage as error:
                message = f'{self.source}: {error}'
                if self.test_mode:
                    print_log(
                        f'{message}; counted with a black image', logger='current', level=logging.WARNING
                    )
                    return self._stand_in(info, error)
                if self.on_error == 'raise':
                    raise DatasetError(
                        f"{message}. To continue without it: train_dataloader.dataset.on_error='skip'"
                    ) from error
                print_log(f'{message}; the next one is used', logger='current', level=logging.WARNING)
        raise DatasetError(
            f'{self.source}: expected a usable image among {offset + 1} from index {idx}, got none'
        )

    def _stand_in(self, info: dict, error: UnreadableImage) -> Any:
        if not has_loader(self.pipeline.transforms):
            raise DatasetError(
                f'{self.source}: {error}. The pipeline has no LoadImageFromFile that a black image could '
                'replace'
            ) from error
        shape = (info.get('height', _STAND_IN_SIDE), info.get('width', _STAND_IN_SIDE))
        black = image_fields(np.zeros((*shape, 3), np.uint8))
        return run_transforms(self.pipeline.transforms, {**info, **black, 'load_error': error.reason})

    def extra_repr(self) -> list[str]:
        """Lines for ``repr``: image folder, subset and skipped entries."""
        lines = [f'Prefix of images: \t{self.img_prefix}']
        if self.shots_per_class is not None:
            lines.append(f'Shots per class: \t{self.shots_per_class} (seed {self.shots_seed})')
        if self._fully_initialized and self.skipped:
            lines.append(f'Skipped: \t{self.skipped}')
        return lines

    def class_counts(self) -> Counter:
        """Count the images of each class.

        Returns:
            Number of images by label.
        """
        return Counter(self.get_gt_labels().tolist())


def _join(prefix: str, path: str) -> str:
    return f'{prefix.rstrip("/")}/{path}' if prefix else path
