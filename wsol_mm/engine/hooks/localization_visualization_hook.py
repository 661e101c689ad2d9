"""Pictures of maps and boxes during validation and test."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wsol_mm.evaluation.box_protocol import DEFAULT_PROTOCOL, with_one_threshold
from wsol_mm.registry import HOOKS
from wsol_mm.utils.file_names import fitting_name

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from mmpretrain.structures import DataSample


@HOOKS.register_module()
class LocalizationVisualizationHook(Hook):
    """Draw every ``interval``-th result through the runner's :class:`LocalizationVisualizer`.

    On several processes only the first draws, and so only its share of the images: MMEngine's visualizers do
    nothing on the others. An image that did not decode is drawn black.

    Args:
        enable: Whether to draw at all.
        interval: Draw every N-th image.
        protocol: Preset (or dict of :func:`get_protocol` arguments) that makes map and box.
        threshold: Threshold in [0, 1) instead of the protocol's; needed for a protocol that searches it.
        show_dir: Folder for the pictures, named after the images (``dog_1.jpg.png``
            is that of ``dog/1.jpg``); by default they go to the backends of
            the visualizer (local files, TensorBoard, ...).

    Raises:
        ValueError: If ``interval`` is not positive, ``threshold`` not in [0, 1), or the protocol needs one.
    """

    priority = 'NORMAL'

    def __init__(
        self,
        enable: bool = False,
        interval: int = 50,
        protocol: str | dict = DEFAULT_PROTOCOL,
        threshold: float | None = None,
        show_dir: str | None = None,
    ) -> None:
        if interval < 1:
            raise ValueError(f'interval: expected an integer from 1, got {interval}')
        self.enable = enable
        self.interval = interval
        self.protocol = with_one_threshold(protocol, threshold)
        self.show_dir = show_dir

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[DataSample] = ()
    ) -> None:
        """Draw results of a validation batch under the current epoch."""
        self._draw(runner.val_dataloader.batch_size, batch_idx, outputs, runner.epoch)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[DataSample] = ()
    ) -> None:
        """Draw results of a test batch."""
        self._draw(runner.test_dataloader.batch_size, batch_idx, outputs, 0)

    def _draw(self, batch_size: int, batch_idx: int, outputs: Sequence[DataSample], step: int) -> None:
        if not self.enable or not is_main_process():
            return
        visualizer = Visualizer.get_current_instance()
        start = batch_idx * batch_size
        for index, sample in enumerate(outputs):
            if (start + index) % self.interval:
                continue
            # Images of different classes may share a file name: the picture is named after the whole id.
            name = str(sample.get('img_id', Path(sample.img_path).name)).replace('/', '_')
            out_file = (
                None if self.show_dir is None else str(Path(self.show_dir) / fitting_name(name, '.png'))
            )
            visualizer.add_datasample(name, sample, self.protocol, out_file=out_file, step=step)
