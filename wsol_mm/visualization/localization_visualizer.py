"""Maps and boxes on the original image."""

from wsol_mm.evaluation.functional import ImageGeometry, box_iou
from wsol_mm.evaluation.map_boxes import heat_on_image, predict_boxes
from wsol_mm.evaluation.protocols import LocalizationProtocol
from wsol_mm.registry import VISUALIZERS

import mmcv
import numpy as np
import torch
from mmengine.visualization import Visualizer
from mmpretrain.structures import DataSample
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .image_reading import read_image
from .tiles import BACKGROUND, INK, load_font

GT_COLOR = (60, 200, 60)
PREDICTION_COLOR = (230, 40, 40)


@VISUALIZERS.register_module()
class LocalizationVisualizer(Visualizer):
    """Draws the heat map of one class, ground-truth and predicted boxes on the original image.

    Takes the arguments of MMEngine's ``Visualizer``.
    """

    def add_datasample(
        self,
        name: str,
        data_sample: DataSample,
        protocol: LocalizationProtocol,
        image: NDArray[np.uint8] | None = None,
        out_file: str | None = None,
        step: int = 0,
        boxes: NDArray[np.floating] | None = None,
    ) -> NDArray[np.uint8]:
        """Draw one result and hand it to the backends, or to a file.

        The map is that of the ground-truth class where it is known, else of the predicted one.

        Args:
            name: Identifier of the picture in the backends.
            data_sample: Prediction of a :class:`LocalizationHead` with the meta keys of
                :class:`ImageGeometry`; ``gt_bboxes`` is optional.
            protocol: How the map becomes a box, with one threshold.
            image: RGB image (H, W, 3) in its original size; by default ``img_path`` is read; it is
                black if the sample has a ``load_error``.
            out_file: Write the picture there instead of to the backends.
            step: Global step for the backends.
            boxes: Predicted boxes (N, 4) to draw, in pixels of the image; the one that the protocol finds in
                the map if None.

        Returns:
            The picture, RGB: the image with map and boxes, (H, W, 3), and a caption on a strip below it, for
            which the picture may be wider.

        Raises:
            ValueError: If neither ``image`` nor a readable ``img_path`` is there.
        """
        if image is None:
            image = read_image(data_sample)
        geometry = ImageGeometry.from_metainfo(data_sample.metainfo)
        loc_map = data_sample.loc_maps[0].float().cpu().numpy()
        if boxes is None:
            boxes = predict_boxes(loc_map, geometry, protocol)
        heat = torch.from_numpy(heat_on_image(loc_map, geometry, protocol))[None]
        self.set_image(self.draw_featmap(heat, image, alpha=0.5))
        caption = [
            self._class_text(data_sample),
            f'box: {protocol.name}, threshold {protocol.thresholds[0]:g}',
        ]
        gt_boxes = data_sample.get('gt_bboxes')
        if gt_boxes is not None and len(gt_boxes):
            self.draw_bboxes(
                torch.as_tensor(gt_boxes).float(), edge_colors=[GT_COLOR], line_widths=2, alpha=1
            )
            caption.append(f'IoU {box_iou(boxes, gt_boxes).max(initial=0):.2f}')
        if len(boxes):
            self.draw_bboxes(
                torch.from_numpy(boxes).float(), edge_colors=[PREDICTION_COLOR], line_widths=2, alpha=1
            )
        picture = _with_caption(self.get_image(), '\n'.join(caption))
        if out_file is not None:
            mmcv.imwrite(picture[..., ::-1], out_file)
        else:
            self.add_image(name, picture, step=step)
        return picture

    def _class_text(self, data_sample: DataSample) -> str:
        names = (self.dataset_meta or {}).get('classes') or ()

        def title(label: int) -> str:
            return str(names[label]) if 0 <= label < len(names) else f'class {label}'

        predicted = int(data_sample.pred_label)
        text = f'predicted: {title(predicted)} ({float(data_sample.pred_score[predicted]):.2f})'
        if 'gt_label' in data_sample:
            text = f'label: {title(int(data_sample.gt_label))}\n{text}'
        return text


def _with_caption(picture: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    """Put text below an RGB picture: on it, the text would cover most of a small one."""
    height, width = picture.shape[:2]
    font = load_font(max(12, min(height, width) // 36))
    margin = font.size // 3
    extent = ImageDraw.Draw(Image.new('RGB', (1, 1))).multiline_textbbox((0, 0), text, font=font)
    size = max(width, int(extent[2]) + 2 * margin), height + int(extent[3]) + 2 * margin
    canvas = Image.new('RGB', size, BACKGROUND)
    canvas.paste(Image.fromarray(picture))
    ImageDraw.Draw(canvas).multiline_text((margin, height + margin), text, fill=INK, font=font)
    return np.array(canvas)
