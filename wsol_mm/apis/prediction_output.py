"""Writes what predictions of many images have left in journals: annotations, broken images, counts."""

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from wsol_mm.annotation_formats import FORMATS, Annotations, ImageAnnotation
from wsol_mm.utils.whole_files import naming, publish, whole_file

from mmengine.logging import print_log

from .image_listing import ListedImage

#: Returns all images with what was kept of them, in order; called more than once.
Results = Callable[[], Iterable[tuple[ListedImage, dict]]]


@dataclass(frozen=True)
class AnnotationOutput:
    """Where annotations go, and what they say beside the boxes.

    Attributes:
        out: File or folder to write.
        format: Name of a format in ``wsol_mm.annotation_formats.FORMATS``.
        classes: Names of the classes.
        image_folder: Folder of the images; None where they are no local files.
        description: How the boxes were made.
        labels: Where their classes come from; see :class:`~wsol_mm.annotation_formats.Annotations`.
    """

    out: Path
    format: str
    classes: tuple[str, ...]
    image_folder: Path | None
    description: str
    labels: str

    @property
    def partial(self) -> Path:
        """Where the annotations are written before they are complete."""
        return beside(self.out, '.partial')


@dataclass
class FolderSummary:
    """What came out.

    Attributes:
        num_images: Images found.
        num_boxes: Boxes written.
        num_without_box: Usable images without one: the score is too low, or the map has no contrast.
        num_broken: Images that cannot be used.
        broken: The first of them, with the reasons.
    """

    num_images: int = 0
    num_boxes: int = 0
    num_without_box: int = 0
    num_broken: int = 0
    broken: list[tuple[str, str]] = field(default_factory=list)


def beside(path: Path, ending: str) -> Path:
    """Return the path of a file or folder that belongs to another one: the same name, and an ending."""
    return path.with_name(path.name + ending)


def broken_file(out: Path) -> Path:
    """Return where the images are listed that cannot be used, with the reason."""
    return beside(out, '.broken.txt')


def output_exists(out: Path) -> FileExistsError:
    """Return the error that there is an output already."""
    return FileExistsError(
        f'{out}: expected a path that does not exist, got an existing one. Remove it, or write elsewhere'
    )


def summarize(results: Results, named: int = 20) -> FolderSummary:
    """Count what came out.

    Args:
        results: The images and what was kept of them.
        named: How many broken images to name.

    Returns:
        The counts.
    """
    summary = FolderSummary()
    for image, result in results():
        summary.num_images += 1
        if 'error' in result:
            summary.num_broken += 1
            if len(summary.broken) < named:
                summary.broken.append((image.path, result['error']))
        else:
            summary.num_boxes += len(result['boxes'])
            summary.num_without_box += not result['boxes']
    return summary


def publish_annotations(
    results: Results, output: AnnotationOutput, before: Callable[[], None] | None = None
) -> None:
    """Write the annotations and the list of broken images, and move the former to their place.

    Args:
        results: The images and what was kept of them.
        output: Where to write, and what besides.
        before: Called when all is written, before it is moved.

    Raises:
        FileExistsError: If the output has appeared in the meantime.
    """
    _remove(output.partial)

    def read() -> Iterator[ImageAnnotation]:
        for number, (image, result) in enumerate(results(), 1):
            if 'error' not in result:
                yield ImageAnnotation(number, image.path, image.name, **result)

    annotations = Annotations(read, output.classes, output.image_folder, output.description, output.labels)
    with naming(output.out, output.partial):
        if FORMATS[output.format].suffix is None:
            output.partial.mkdir()
        FORMATS[output.format].write(annotations, output.partial)
    _write_broken(results, broken_file(output.out))
    if output.out.exists():
        raise FileExistsError(
            f'{output.out}: expected a path that does not exist, got one that has appeared in the meantime. '
            'Move it away and call again'
        )
    if before is not None:
        before()
    publish(output.partial, output.out)
    _say_odd_names(results, output)


def _say_odd_names(results: Results, output: AnnotationOutput) -> None:
    """Say how many files of annotations are not called as detectors and annotation tools look for them."""
    if FORMATS[output.format].suffix is not None:
        return
    odd = [image.path for image, _ in results() if image.path == image.name]
    if odd:
        print_log(
            f'{output.out}: {len(odd)} images differ from others in their extension alone: their files are '
            f'called after the whole name ({odd[0]}), where most tools look for one without the extension',
            'current',
            logging.WARNING,
        )


def _write_broken(results: Results, out: Path) -> None:
    """Write ``<path><tab><reason>`` for every broken image; no file if there is none."""
    broken = ((image.path, result['error']) for image, result in results() if 'error' in result)
    first = next(broken, None)
    if first is None:
        out.unlink(missing_ok=True)
        return
    # The names of files are bytes, which need not be UTF-8: they are written as they are.
    with whole_file(out) as part, part.open('w', encoding='utf-8', errors='surrogateescape') as file:
        for path, error in chain([first], broken):
            file.write(f'{path}\t{" ".join(error.split())}\n')


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
