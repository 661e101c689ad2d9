"""From images to classes, boxes, maps and pictures in one call."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from math import ceil
from pathlib import Path

from wsol_mm.datasets.readers.image_files import distinct_stems
from wsol_mm.datasets.readers.list_files import read_lines
from wsol_mm.evaluation.box_protocol import box_protocol
from wsol_mm.models.heads.localization_head import PRED_TOPK
from wsol_mm.utils.config_settings import merge_options
from wsol_mm.utils.file_names import fitting_name
from wsol_mm.utils.refinement_choice import use_refinement
from wsol_mm.visualization import LocalizationVisualizer

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.logging import print_log
from mmpretrain.apis.base import BaseInferencer
from mmpretrain.structures import DataSample
from mmpretrain.utils import track

from .image_listing import images_at
from .inference_pipeline import InferencePipeline, configured_transforms, whole_image_transforms
from .localization_result import NOT_FINITE, Boxes, LocalizationResult, Maps, Prediction, localization_result
from .model_loading import find_config, list_model_names, load_localizer

ImageInput = str | Path | np.ndarray
Label = int | str


class LocalizationInferencer(BaseInferencer):
    """Localizes objects in image files, arrays and folders.

    Args:
        model: Config file, config, or a name of the model index.
        checkpoint: File or address of the weights; None for the published ones that the model index names, or
            those of a model that needs no training.
        device: None for the first GPU, or the CPU where there is none.
        classes: Names of the classes, or a text file with one name a line. None for those that training wrote
            into the checkpoint. A :class:`CLIPLocalizer` finds what they name; None for those of its config.
        protocol: How maps become boxes: a preset, or a dict of :func:`wsol_mm.evaluation.get_protocol`
            arguments. None for the one that the config draws with.
        threshold: Threshold in [0, 1) instead of the protocol's; needed for a protocol that searches it.
        whole_image: Show the network the whole image, squashed to the size of its input, as a viewer shows it
            (with EXIF orientation), so that a box may lie anywhere. False for the test pipeline of the config
            as it is: many crop the centre, and boxes then end at the border of the crop.
        cfg_options: Settings of the config to change, as in ``{'model.head.num_classes': 5}``.
        refine: Words that say how maps are sharpened before boxes are found, such as ``['224', '336',
            'flip', 'guided']`` (see :func:`~wsol_mm.utils.refinement_choice.use_refinement`). None: as the
            config says.

    Raises:
        FileNotFoundError: If config or checkpoint is missing.
        ValueError: If an argument is not as said, the checkpoint does not fit, or none is known.
    """

    preprocess_kwargs = {'labels'}
    forward_kwargs = {'topk'}
    visualize_kwargs = {'out_dir', 'show', 'wait_time'}
    postprocess_kwargs = {'topk', 'maps', 'boxes'}

    visualizer: LocalizationVisualizer | None

    def __init__(
        self,
        model: str | Path | Config,
        checkpoint: str | Path | None = None,
        device: str | torch.device | None = None,
        classes: str | Path | Sequence[str] | None = None,
        protocol: str | dict | None = None,
        threshold: float | None = None,
        whole_image: bool = True,
        cfg_options: dict | None = None,
        refine: Sequence[str] | None = None,
    ) -> None:
        cfg, published = find_config(model)
        merge_options(cfg, cfg_options)
        if refine is not None:
            use_refinement(cfg, refine)
        checkpoint = checkpoint or published
        if isinstance(classes, str | Path):
            file = classes
            classes = [line for _, line in read_lines(Path(file).expanduser())]
            if not classes:
                raise ValueError(f'{file}: expected a class name per line, got none')
        #: How maps become boxes, with one threshold.
        self.protocol = box_protocol(cfg, protocol, threshold)
        self.whole_image = whole_image
        localizer, self.classes = load_localizer(cfg, checkpoint, classes, device)
        localizer._config = cfg  # where the base class looks for it
        super().__init__(localizer, pretrained=False)
        print_log(f'Boxes: {self.description()}', 'current')

    def description(self, boxes: Boxes = 'one') -> str:
        """Say in a few words how boxes are made.

        Args:
            boxes: One of a class, or many.
        """
        seen = 'whole images' if self.whole_image else "the config's test pipeline"
        part = ''
        if boxes == 'many':
            part = ', boxes of all regions'
        elif self.protocol.contours == 'all':
            # It measures with every contour.
            part = ', of its contours the largest alone'
        refinement = getattr(self.model, 'refinement', None)
        sharper = '' if refinement is None else f', {refinement}'
        return (
            f'{seen}{sharper}, protocol {self.protocol.name}{part}, threshold {self.protocol.thresholds[0]:g}'
        )

    def __call__(
        self,
        inputs: ImageInput | Sequence[ImageInput],
        labels: Sequence[Label] | Label | None = None,
        topk: int = 1,
        maps: Maps | None = None,
        boxes: Boxes = 'one',
        batch_size: int = 16,
        return_datasamples: bool = False,
        out_dir: str | Path | None = None,
        show: bool = False,
        wait_time: float = 0,
        progress: bool = True,
    ) -> list[LocalizationResult] | list[DataSample]:
        """Localize.

        Args:
            inputs: A path, a BGR array (H, W, 3) of uint8, a folder (searched for images, also in the folders
                inside; in sorted order), or a list of these.
            labels: The class of every image, as index or name: its box is wanted. None for the predicted
                class.
            topk: Without labels, how many of the best classes to localize, 1 to 5, which are all that a
                prediction keeps.
            maps: Also return the localization maps: ``'grid'`` as they are on the patch grid, or ``'image'``
                enlarged to the image.
            boxes: ``'one'``: of each class the box that the protocol measures. ``'many'``: boxes of all
                regions of the map, the most certain first, see
                :func:`~wsol_mm.evaluation.map_boxes.confident_boxes`.
            batch_size: Images at a time.
            return_datasamples: Return the predictions of the model instead.
            out_dir: Draw heat map and boxes of the first class of every image into this folder: ``x.png`` for
                ``x.jpg``, but ``x.jpg.png`` where there is another ``x``.
            show: Show these pictures in a window.
            wait_time: How long each is shown, in seconds; 0 until a key is pressed.
            progress: Show a progress bar.

        Returns:
            A :class:`LocalizationResult` for every image, in order.

        Raises:
            FileNotFoundError: If a path does not exist.
            UnreadableImage: If an image does not decode.
            ValueError: If an argument is not as said.
        """
        self.check_topk(topk)
        if maps not in (None, 'grid', 'image'):
            raise ValueError(f"maps: expected None, 'grid' or 'image', got {maps!r}")
        if boxes not in ('one', 'many'):
            raise ValueError(f"boxes: expected 'one' or 'many', got {boxes!r}")
        if batch_size < 1:
            raise ValueError(f'batch_size: expected an integer from 1, got {batch_size}')
        images, names = self._expand(inputs)
        indices = self._label_indices(labels, len(images))
        batches = self.preprocess(images, batch_size, labels=indices)
        if progress:
            batches = track(batches, 'Localizing', total=ceil(len(images) / batch_size))
        results: list[LocalizationResult] = []
        for number, batch in enumerate(batches):
            samples = self.forward(batch, topk=topk)
            part = slice(number * batch_size, number * batch_size + len(samples))
            found = self.postprocess(samples, None, return_datasamples, topk=topk, maps=maps, boxes=boxes)
            drawn = None if return_datasamples else [result.boxes_of_first_class() for result in found]
            self.visualize(images[part], samples, names[part], out_dir, show, wait_time, drawn)
            results += found
        infinite = sum(not getattr(result, 'finite', True) for result in results)
        if infinite:
            print_log(
                f'{infinite} of {len(results)} images: {NOT_FINITE}', logger='current', level=logging.WARNING
            )
        return results

    def check_topk(self, topk: int) -> None:
        """Raise a ValueError unless the model can localize this many of the best classes."""
        check_topk(topk, len(self.classes))

    def preprocess(
        self, inputs: Sequence[ImageInput], batch_size: int = 1, labels: Sequence[int | None] | None = None
    ) -> Iterator[dict]:
        """Load and collate.

        Args:
            inputs: Paths and arrays.
            batch_size: Images at a time.
            labels: Class index of every image, None where it is not known.

        Yields:
            Batches for :meth:`forward`.
        """
        labels = [None] * len(inputs) if labels is None else labels
        items = (self.pipeline(image, label) for image, label in zip(inputs, labels, strict=True))
        yield from map(default_collate, self._get_chunk_data(items, batch_size))

    @torch.no_grad()
    def forward(self, inputs: dict, topk: int = 1) -> list[DataSample]:
        """Predict a batch, with maps of the labels, or of the ``topk`` best classes where there are none."""
        head = self.model.head
        is_labelled = all('gt_label' in sample for sample in inputs['data_samples'])
        configured, head.map_topk = head.map_topk, 0 if is_labelled else topk
        try:
            return self.model.test_step(inputs)
        finally:
            head.map_topk = configured

    def visualize(
        self,
        inputs: Sequence[ImageInput],
        preds: Sequence[DataSample],
        names: Sequence[str],
        out_dir: str | Path | None = None,
        show: bool = False,
        wait_time: float = 0,
        boxes: Sequence[np.ndarray] | None = None,
    ) -> list[np.ndarray]:
        """Draw the boxes and the map of the first class of every image.

        Args:
            inputs: Paths and arrays, as they were predicted.
            preds: Predictions.
            names: Names of the pictures; they are written to ``<out_dir>/<name>.png``.
            out_dir: Folder, or None.
            show: Show them in a window.
            wait_time: How long, in seconds; 0 until a key is pressed.
            boxes: Boxes (N, 4) of every image; the one that the protocol finds in its map if None.

        Returns:
            The pictures, RGB (H, W, 3); none unless there is ``out_dir`` or ``show``.
        """
        if out_dir is None and not show:
            return []
        visualizer: LocalizationVisualizer = self.visualizer or LocalizationVisualizer()
        visualizer.dataset_meta = {'classes': self.classes}
        self.visualizer = visualizer
        pictures = []
        chosen = [None] * len(preds) if boxes is None else boxes
        for image, sample, name, drawn in zip(inputs, preds, names, chosen, strict=True):
            picture = visualizer.add_datasample(
                name,
                sample,
                self.protocol,
                image=np.ascontiguousarray(image[..., ::-1]) if isinstance(image, np.ndarray) else None,
                out_file=None if out_dir is None else str(Path(out_dir) / fitting_name(name, '.png')),
                boxes=drawn,
            )
            if show:
                visualizer.show(picture, win_name=name, wait_time=wait_time)
            pictures.append(picture)
        return pictures

    def postprocess(
        self,
        preds: Sequence[DataSample],
        visualization: object = None,
        return_datasamples: bool = False,
        topk: int = 1,
        maps: Maps | None = None,
        boxes: Boxes = 'one',
    ) -> list[LocalizationResult] | list[DataSample]:
        """Make the results of predictions; see :meth:`__call__`."""
        if return_datasamples:
            return list(preds)
        return [
            localization_result(Prediction.of(sample, topk), self.classes, self.protocol, maps, boxes)
            for sample in preds
        ]

    @staticmethod
    def list_models(pattern: str | None = None) -> list[str]:
        """Return the names of the model index that contain ``pattern``."""
        return [name for name in list_model_names() if pattern is None or pattern in name]

    def _init_pipeline(self, cfg: Config) -> InferencePipeline:
        transforms = configured_transforms(cfg)
        return InferencePipeline(whole_image_transforms(transforms) if self.whole_image else transforms)

    def _expand(self, inputs: ImageInput | Sequence[ImageInput]) -> tuple[list[str | np.ndarray], list[str]]:
        """List the images, and a name of its own for each: what its picture is called."""
        if isinstance(inputs, str | Path | np.ndarray) or not isinstance(inputs, Iterable):
            inputs = [inputs]
        images: list[str | np.ndarray] = []
        names: list[str] = []
        for entry in inputs:
            if isinstance(entry, np.ndarray):
                images.append(entry)
                names.append('array')
            elif not isinstance(entry, str | Path):
                raise ValueError(
                    'inputs: expected paths, or BGR arrays (H, W, 3) of uint8, got a '
                    f'{type(entry).__module__}.{type(entry).__name__}'
                )
            else:
                for file, name in images_at(entry):
                    images.append(file)
                    names.append(name)
        return images, _distinct(distinct_stems(names))

    def _label_indices(self, labels: Sequence[Label] | Label | None, count: int) -> list[int | None]:
        if labels is None:
            return [None] * count
        labels = [labels] if isinstance(labels, int | str | np.integer) else list(labels)
        if len(labels) != count:
            raise ValueError(f'labels: expected one for every image ({count}), got {len(labels)}')
        indices = {name: index for index, name in enumerate(self.classes)}
        found = [indices.get(label, -1) if isinstance(label, str) else int(label) for label in labels]
        wrong = [label for label, i in zip(labels, found, strict=True) if not 0 <= i < len(self.classes)]
        if wrong:
            raise ValueError(
                f'labels: expected classes of the model, 0 to {len(self.classes) - 1} or the names '
                f'{", ".join(map(repr, self.classes[:5]))}, ..., got {wrong[:3]}'
            )
        return [*found]


def check_topk(topk: int, num_classes: int, name: str = 'topk') -> None:
    """Check how many of the best classes are to be localized.

    Args:
        topk: The number.
        num_classes: Classes of the model.
        name: What the argument is called.

    Raises:
        ValueError: If there are fewer: a prediction keeps the ``PRED_TOPK`` best.
    """
    most = min(PRED_TOPK, num_classes)
    if not 1 <= topk <= most:
        reason = (
            f'the model has {num_classes} classes'
            if num_classes < PRED_TOPK
            else f'a prediction keeps the {PRED_TOPK} best of the {num_classes} classes, for Top-5 metrics'
        )
        raise ValueError(f'{name}: expected an integer from 1 to {most}, got {topk}: {reason}')


def _distinct(names: list[str]) -> list[str]:
    """Number all names by their place in the list if some occur more than once."""
    if len(set(names)) == len(names):
        return names
    return [f'{i}_{name}' for i, name in enumerate(names)]
