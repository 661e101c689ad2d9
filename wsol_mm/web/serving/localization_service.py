"""From the bytes of an image to boxes, in the steps that a server does at different places."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, NamedTuple

from wsol_mm.apis import LocalizationInferencer, LocalizationResult
from wsol_mm.datasets.readers.image_files import IMAGE_FORMATS, error_text, rgb_image, upright
from wsol_mm.visualization import LocalizationVisualizer

import numpy as np
from mmengine.dataset import default_collate
from mmpretrain.structures import DataSample
from PIL import Image


@dataclass(frozen=True)
class ServiceLimits:
    """What a request may ask for.

    Attributes:
        max_bytes: Largest body.
        max_pixels: Pixels of the largest image.
        timeout: Seconds after which a request is given up.
    """

    max_bytes: int = 20 << 20
    max_pixels: int = 50_000_000
    timeout: float = 30.0


class Question(NamedTuple):
    """An image that is ready for the network, with what is asked of it."""

    image: np.ndarray
    item: dict[str, Any]
    topk: int


class Answer(NamedTuple):
    """What the network says of an image."""

    sample: DataSample
    result: LocalizationResult


class UnusableImageError(ValueError):
    """The bytes are no image that can be used."""


class LocalizationService:
    """A model that answers questions.

    Args:
        inferencer: The model.
        limits: What a request may ask for.
    """

    def __init__(self, inferencer: LocalizationInferencer, limits: ServiceLimits | None = None) -> None:
        self.inferencer = inferencer
        self.limits = limits or ServiceLimits()
        self._visualizer = LocalizationVisualizer()
        self._visualizer.dataset_meta = {'classes': inferencer.classes}

    def question(self, content: bytes, topk: int) -> Question:
        """Decode an image and bring it into the form of the network; by many threads at a time.

        Args:
            content: The file.
            topk: How many of the best classes to localize.

        Returns:
            What :meth:`answers` takes.

        Raises:
            UnusableImageError: If the bytes are no image, or too large a one.
            ValueError: If the model cannot localize so many classes.
        """
        self.inferencer.check_topk(topk)
        image = self._decoded(content)
        return Question(image, self.inferencer.pipeline(image), topk)

    def answers(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer a batch of questions; by one thread at a time.

        Args:
            questions: The questions.

        Returns:
            An answer for each.
        """
        batch = default_collate([question.item for question in questions])
        samples = self.inferencer.forward(batch, topk=max(question.topk for question in questions))
        return [
            Answer(sample, self.inferencer.postprocess([sample], topk=question.topk)[0])
            for sample, question in zip(samples, questions, strict=True)
        ]

    def picture(
        self, question: Question, answer: Answer, score_thr: float = 0.0, min_confidence: float = 0.0
    ) -> bytes:
        """Draw the map of the best class and its boxes; by one thread at a time.

        Args:
            question: The image.
            answer: What the network says of it.
            score_thr: Boxes of classes with a lower score are left out.
            min_confidence: Boxes that are less certain are left out.

        Returns:
            A PNG file.
        """
        rgb = np.ascontiguousarray(question.image[..., ::-1])
        boxes = answer.result.boxes_of_first_class(score_thr, min_confidence)
        picture = self._visualizer.add_datasample(
            'answer', answer.sample, self.inferencer.protocol, image=rgb, boxes=boxes
        )
        content = BytesIO()
        Image.fromarray(picture).save(content, 'PNG', compress_level=3)
        return content.getvalue()

    def _decoded(self, content: bytes) -> np.ndarray:
        """Return an image as BGR (H, W, 3), as it is shown."""
        if not content:
            raise UnusableImageError('image: expected the content of an image file, got nothing')
        try:
            with Image.open(BytesIO(content), formats=IMAGE_FORMATS) as image:
                width, height = image.size
                if width * height > self.limits.max_pixels:
                    raise UnusableImageError(
                        f'image: expected at most {self.limits.max_pixels} pixels, got {width} x {height}'
                    )
                image.load()
                pixels = np.asarray(rgb_image(upright(image)))
        except UnusableImageError:
            raise
        except Exception as error:  # whatever a decoder makes of it
            raise UnusableImageError(
                f'image: expected the content of an image file, got another one: {error_text(error)}'
            ) from error
        return np.ascontiguousarray(pixels[..., ::-1])


def result_as_json(
    result: LocalizationResult, score_thr: float = 0.0, min_confidence: float = 0.0
) -> dict[str, Any]:
    """Return what a client gets to know of an image.

    Args:
        result: The result.
        score_thr: Boxes of classes with a lower score are left out.
        min_confidence: Boxes that are less certain are left out.

    Returns:
        ``width``, ``height`` and ``boxes``, the best class first: ``label`` (class index), ``class``,
        ``score`` (of the class), ``box``, x0 y0 x1 y1 in pixels of the image as it is shown, and
        ``confidence`` (of the box). A class whose map shows nothing has none.
    """
    width, height = result.size
    boxes = [
        {
            'label': label,
            'class': name,
            'score': round(score, 6),
            'box': [round(value, 2) for value in box.tolist()],
            'confidence': round(confidence, 6),
        }
        for label, name, score, box, confidence in result.kept(score_thr, min_confidence)
    ]
    return {'width': width, 'height': height, 'boxes': boxes}
