"""Writers of boxes for annotation tools and detectors."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .coco import write_coco
from .csv_boxes import write_csv
from .image_annotation import FROM_FOLDER, PREDICTED, Annotations, ImageAnnotation
from .label_studio import write_label_studio
from .labelme import write_labelme
from .parquet import write_parquet
from .voc import write_voc
from .yolo import write_yolo

__all__ = ['FORMATS', 'FROM_FOLDER', 'PREDICTED', 'AnnotationFormat', 'Annotations', 'ImageAnnotation']


class AnnotationFormat(NamedTuple):
    """A format that annotations are written in.

    Attributes:
        write: Writes them to a path.
        suffix: What the file ends in; None if it is a folder.
    """

    write: Callable[[Annotations, Path], None]
    suffix: str | None = None


#: The formats by name.
FORMATS = {
    'coco': AnnotationFormat(write_coco, '.json'),
    'voc': AnnotationFormat(write_voc),
    'yolo': AnnotationFormat(write_yolo),
    'labelme': AnnotationFormat(write_labelme),
    'csv': AnnotationFormat(write_csv, '.csv'),
    'parquet': AnnotationFormat(write_parquet, '.parquet'),
    'label-studio': AnnotationFormat(write_label_studio, '.json'),
}
