"""A review from its start to its file."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from wsol_mm.utils.process_lock import process_lock
from wsol_mm.web.access import INSTALL, access_token, run_app
from wsol_mm.web.inside_folder import file_inside

from .export import export_review
from .review_set import ReviewSet

#: Images that are looked for at the start: none of them means another folder.
_LOOKED_FOR = 50


@dataclass(frozen=True)
class ReviewTask:
    """What is to be reviewed, and who may look.

    Attributes:
        annotations: COCO file.
        folder: Folder of its images.
        out: File to write.
        maps: Folder of localization maps.
        reviewer: Under whose name changes are kept; None for the name of the user.
        export: Only write ``out``.
        only_right: Leave out images that are not checked, or wrong.
        host: Address to listen on.
        port: Port; 0 for a free one.
        token_file: Where the token is kept.
    """

    annotations: Path
    folder: Path
    out: Path
    maps: Path | None = None
    reviewer: str | None = None
    export: bool = False
    only_right: bool = False
    host: str = '127.0.0.1'
    port: int = 8020
    token_file: Path | None = None


def serve_review(task: ReviewTask) -> str:
    """Serve the page until Ctrl-C, and write the annotations.

    Args:
        task: What to do.

    Returns:
        A sentence on what was written.

    Raises:
        BlockingIOError: If another process reviews into the same file.
        FileNotFoundError: If there are no such annotations.
        ImportError: If FastAPI or uvicorn is missing.
        NotADirectoryError: If there is no such folder.
        ValueError: If annotations, images, maps and journal do not belong together.
    """
    for folder in filter(None, (task.folder, task.maps)):
        if not folder.is_dir():
            raise NotADirectoryError(f'{folder}: expected a folder, got none there')
    if task.out.resolve() == task.annotations.resolve():
        raise ValueError(
            f'{task.out}: expected another file to write than the one that is reviewed, got the same'
        )
    journal = task.out.with_name(f'{task.out.name}.journal')
    task.out.parent.mkdir(parents=True, exist_ok=True)
    with process_lock(task.out.with_name(f'{task.out.name}.lock')):
        review = ReviewSet(
            task.annotations, journal, task.reviewer, lambda name: image_size(task.folder / name)
        )
        try:
            if not task.export:
                _serve(task, review)
            counts = export_review(review, task.out, task.only_right)
        finally:
            review.close()
    judged = ', '.join(f'{counts[key]} {key}' for key in ('right', 'corrected', 'wrong'))
    return f'{counts["annotations"]} boxes in {counts["images"]} images ({judged}): {task.out.resolve()}'


def image_size(path: Path) -> tuple[int, int]:
    """Read width and height of an image as it is shown, with its EXIF orientation.

    Raises:
        UnreadableImage: If it does not decode.
    """
    # Brings PyTorch; few files need it.
    from wsol_mm.datasets.readers.image_files import SWAPPING, exif_orientation, open_image

    with open_image(path) as image:
        return image.size[::-1] if exif_orientation(image) in SWAPPING else image.size


def _serve(task: ReviewTask, review: ReviewSet) -> None:
    try:
        from .review_app import review_app
    except ImportError as error:
        raise ImportError(f'review: expected FastAPI and uvicorn, got none ({error}): {INSTALL}') from error
    names = [image.entry['file_name'] for image in islice(review.images.values(), _LOOKED_FOR)]
    if not any(file_inside(task.folder, name) for name in names):
        raise ValueError(
            f'{task.folder}: expected the images of {task.annotations}, such as {names[0]!r}, got none'
        )
    description = str((review.rest.get('info') or {}).get('description', ''))
    if task.maps is not None and "the config's test pipeline" in description:
        raise ValueError(
            f"{task.maps}: expected maps of whole images, got those of the config's test pipeline, which do "
            'not tell where in the image they belong'
        )
    token = access_token(task.host, task.token_file)
    app = review_app(review, task.folder, task.out, task.maps, token)
    counts = review.counts()
    print(f'{counts["all"]} images, {counts["checked"]} checked: {review.journal.file}')
    run_app(app, task.host, task.port, token, 'Review')
