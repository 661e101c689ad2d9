"""Boxes for all images of a folder: streaming, in any number, and going on after a kill."""

import hashlib
import json
import logging
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

from wsol_mm.annotation_formats import FORMATS, FROM_FOLDER, PREDICTED, Annotations, ImageAnnotation
from wsol_mm.utils.file_names import fitting_name
from wsol_mm.utils.process_lock import process_lock
from wsol_mm.utils.whole_files import naming, publish, remove_leftovers, whole_file, write_whole

import numpy as np
import torch
from mmengine.logging import print_log
from mmpretrain.structures import DataSample
from mmpretrain.utils import track

from .image_batches import ImageBatch, ImageBatches, load_batches
from .image_listing import ListedImage, check_has_image, no_image_error, report_skipped, walk_images
from .localization_inferencer import LocalizationInferencer
from .localization_result import NOT_FINITE, LocalizationResult, Maps
from .prediction_journal import PredictionJournal


@dataclass(frozen=True)
class FolderTask:
    """What is asked for. The results depend on nothing else but the inferencer.

    Attributes:
        folder: Folder of the images, or an image file.
        out: File or folder to write.
        format: Name of a format in ``wsol_mm.annotation_formats.FORMATS``.
        labels_from_folder: The class of an image is the name of the first folder below ``folder``; otherwise
            it is predicted.
        topk: How many of the best predicted classes get a box.
        score_thr: Boxes of classes with a lower score are left out.
        maps_dir: Folder for the localization maps: ``<image>.npz`` with ``maps`` (K, h, w) on the patch grid,
            un-normalised, and their ``labels`` (K).
        show_dir: Folder for pictures: ``x.png`` for ``x.jpg``, ``x.jpg.png`` where there is another ``x``.
    """

    folder: Path
    out: Path
    format: str
    labels_from_folder: bool = False
    topk: int = 1
    score_thr: float = 0.0
    maps_dir: Path | None = None
    show_dir: Path | None = None

    @property
    def image_folder(self) -> Path:
        """Folder to which the paths of the images are relative."""
        return self.folder.parent if self.folder.is_file() else self.folder

    @property
    def journal_folder(self) -> Path:
        """Where unfinished work is kept."""
        return _beside(self.out, '.journal')

    @property
    def partial(self) -> Path:
        """Where the annotations are written before they are complete."""
        return _beside(self.out, '.partial')

    @property
    def broken_file(self) -> Path:
        """Where images are listed that cannot be used, with the reason."""
        return _beside(self.out, '.broken.txt')


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


def check_task(task: FolderTask) -> None:
    """Find what stops a task and can be found without its model, in no time.

    Args:
        task: What is to be done.

    Raises:
        FileExistsError: If the output exists, of no unfinished work.
        NotADirectoryError: If there is no such folder.
        ValueError: If the folder holds no image.
    """
    if PredictionJournal(task.journal_folder, {}).exists():
        return  # it has its list of images
    if task.out.exists():
        # Of a call that was killed when all was done but this.
        shutil.rmtree(task.journal_folder, ignore_errors=True)
        raise _output_exists(task)
    check_has_image(task.folder)


def predict_folder(
    inferencer: LocalizationInferencer,
    task: FolderTask,
    batch_size: int = 32,
    num_workers: int = 4,
    progress: bool = True,
) -> FolderSummary:
    """Predict boxes for all images of a folder and write them.

    Memory does not grow with the number of images. Until all is done, a journal beside the output holds what
    is; the same call continues it. At the end the output is written atomically, and the journal is
    removed.

    Args:
        inferencer: The model.
        task: What to do.
        batch_size: Images at a time.
        num_workers: Processes that load images; 0 to load in this one.
        progress: Show a progress bar.

    Returns:
        Counts.

    Raises:
        BlockingIOError: If another process writes the same output.
        FileExistsError: If the output exists.
        JournalError: If there is a journal of a call with other settings.
        NotADirectoryError: If there is no such folder.
        ValueError: If the model cannot give ``topk`` boxes, or the folder holds no image, or one outside the
            folders of classes where these are asked for.
    """
    inferencer.check_topk(task.topk)
    task.out.parent.mkdir(parents=True, exist_ok=True)
    with process_lock(_beside(task.out, '.lock')):
        journal = PredictionJournal(task.journal_folder, settings_of(inferencer, task))
        # Before the journal, which a call with other folders could not continue.
        for folder in filter(None, (task.maps_dir, task.show_dir)):
            folder.mkdir(parents=True, exist_ok=True)
        if journal.exists():
            journal.resume()
            _remove_leftovers(task)
        elif not task.out.exists():
            _list_images(journal, task, inferencer.classes)
        is_published = task.out.exists()
        if is_published and (not journal.is_complete or task.partial.exists()):
            raise _output_exists(task)
        if not is_published:
            _predict(inferencer, task, journal, batch_size, num_workers, progress)
            _publish(journal, task, inferencer)
        summary = _summarize(journal)
        journal.remove()
        return summary


def settings_of(inferencer: LocalizationInferencer, task: FolderTask) -> dict[str, Any]:
    """Return everything that the results depend on: task, config, weights and class names."""
    cfg = inferencer.config
    settings = asdict(task) | {
        'folder': task.folder.resolve(),
        'model': {key: value for key, value in cfg.model.to_dict().items() if key != 'pretrained'},
        'data_preprocessor': cfg.get('data_preprocessor'),
        'weights': _digest(inferencer.model),
        'transforms': inferencer.pipeline.transforms,
        'protocol': asdict(inferencer.protocol),
        'classes': inferencer.classes,
    }
    del settings['out']
    return json.loads(json.dumps(settings, default=str))


def _digest(model: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _output_exists(task: FolderTask) -> FileExistsError:
    return FileExistsError(
        f'{task.out}: expected a path that does not exist, got an existing one. Remove it, or write elsewhere'
    )


def _remove_leftovers(task: FolderTask) -> None:
    """Remove what a killed call has left half written beside the output and among maps and pictures."""
    for path in (task.out, task.broken_file):
        remove_leftovers(path.parent, path.name)
    for folder in filter(None, (task.maps_dir, task.show_dir)):
        remove_leftovers(folder)


def _list_images(journal: PredictionJournal, task: FolderTask, classes: Iterable[str]) -> None:
    skipped: Counter[str] = Counter()
    images = walk_images(task.folder, skipped)
    if task.labels_from_folder:
        images = _in_class_folders(images, task.folder, tuple(classes))
    try:
        journal.create(images)
        if not journal.num_images:
            raise no_image_error(task.folder, skipped)
    except (OSError, ValueError):
        shutil.rmtree(journal.folder, ignore_errors=True)
        raise
    report_skipped(task.folder, skipped)


def _in_class_folders(
    images: Iterable[ListedImage], folder: Path, classes: tuple[str, ...]
) -> Iterator[ListedImage]:
    """Pass images on; raise in the end if some are not in the folder of a class."""
    known = set(classes)
    wrong: dict[str, None] = {}
    for image in images:
        top, slash, _ = image.path.partition('/')
        if not slash or top not in known:
            wrong.setdefault(f'folder {top}' if slash else f'image {top} in no folder', None)
        yield image
    if wrong:
        accepted = ', '.join(classes[:10]) + (', ...' if len(classes) > 10 else '')
        raise ValueError(
            f'{folder}: expected images in folders named after the {len(classes)} classes of the model '
            f'({accepted}), got {", ".join(list(wrong)[:5])}{", ..." if len(wrong) > 5 else ""}'
        )


def _predict(
    inferencer: LocalizationInferencer,
    task: FolderTask,
    journal: PredictionJournal,
    batch_size: int,
    num_workers: int,
    progress: bool,
) -> None:
    if journal.is_complete:
        return
    left = journal.num_images - journal.num_done
    indices = {name: index for index, name in enumerate(inferencer.classes)}
    batches: Iterable[ImageBatch] = load_batches(
        ImageBatches(
            journal.images_file,
            journal.num_done,
            task.image_folder,
            inferencer.pipeline,
            batch_size,
            indices if task.labels_from_folder else None,
        ),
        num_workers,
    )
    if progress:
        batches = track(batches, 'Localizing', total=ceil(left / batch_size))
    # Boxes of a batch are made beside the model's work on the next one.
    with ThreadPoolExecutor(max_workers=1) as pool:
        pending: Future[list[dict]] | None = None
        for batch in batches:
            samples = [] if batch.data is None else inferencer.forward(batch.data, topk=task.topk)
            if pending is not None:
                journal.append(pending.result())
            pending = pool.submit(_finish_batch, inferencer, task, batch, samples)
        if pending is not None:
            journal.append(pending.result())


def _finish_batch(
    inferencer: LocalizationInferencer, task: FolderTask, batch: ImageBatch, samples: list[DataSample]
) -> list[dict]:
    """Return what the journal keeps of a batch; write its maps and pictures."""
    usable = [image for place, image in enumerate(batch.images) if place not in batch.errors]
    maps: Maps | None = None if task.maps_dir is None else 'grid'
    results = inferencer.postprocess(samples, topk=task.topk, maps=maps)
    for image, result in zip(usable, results, strict=True):
        if task.maps_dir is not None:
            file = task.maps_dir / fitting_name(image.path, '.npz')
            with whole_file(file) as part, part.open('wb') as stream:
                np.savez(stream, maps=result.maps, labels=np.array(result.labels))
    if task.show_dir is not None:
        paths, names = [image.path for image in usable], [image.name for image in usable]
        inferencer.visualize(paths, samples, names, out_dir=task.show_dir)
    kept = iter([_kept(result, task.score_thr) for result in results])
    return [
        {'error': batch.errors[place]} if place in batch.errors else next(kept)
        for place in range(len(batch.images))
    ]


def _kept(result: LocalizationResult, score_thr: float) -> dict:
    if not result.finite:
        return {'error': NOT_FINITE}
    chosen = [
        (label, score, box.tolist())
        for label, score, box, found in zip(
            result.labels, result.scores, result.boxes, result.found, strict=True
        )
        if found and score >= score_thr
    ]
    labels, scores, boxes = map(list, zip(*chosen, strict=True)) if chosen else ([], [], [])
    return {'size': result.size, 'labels': labels, 'scores': scores, 'boxes': boxes}


def _summarize(journal: PredictionJournal, named: int = 20) -> FolderSummary:
    summary = FolderSummary(journal.num_images)
    for image, result in journal.results():
        if 'error' in result:
            summary.num_broken += 1
            if len(summary.broken) < named:
                summary.broken.append((image.path, result['error']))
        else:
            summary.num_boxes += len(result['boxes'])
            summary.num_without_box += not result['boxes']
    return summary


def _publish(journal: PredictionJournal, task: FolderTask, inferencer: LocalizationInferencer) -> None:
    """Write the annotations and the list of broken images, and move the former to their place."""
    _remove(task.partial)

    def read() -> Iterator[ImageAnnotation]:
        for number, (image, result) in enumerate(journal.results(), 1):
            if 'error' not in result:
                yield ImageAnnotation(number, *image, **result)

    description = f'wsol_mm pseudo boxes: {inferencer.description}'
    labels = FROM_FOLDER if task.labels_from_folder else PREDICTED
    annotations = Annotations(read, inferencer.classes, task.image_folder, description, labels)
    with naming(task.out, task.partial):
        if FORMATS[task.format].suffix is None:
            task.partial.mkdir()
        FORMATS[task.format].write(annotations, task.partial)
    _write_broken(journal, task.broken_file)
    if task.out.exists():
        raise FileExistsError(
            f'{task.out}: expected a path that does not exist, got one that has appeared in the meantime. '
            'Move it away and call again'
        )
    publish(task.partial, task.out)
    _say_odd_names(journal, task)


def _say_odd_names(journal: PredictionJournal, task: FolderTask) -> None:
    """Say how many files of annotations are not called as detectors and annotation tools look for them."""
    if FORMATS[task.format].suffix is not None:
        return
    odd = [image.path for image in journal.images() if image.path == image.name]
    if odd:
        print_log(
            f'{task.out}: {len(odd)} images differ from others in their extension alone: their files are '
            f'called after the whole name ({odd[0]}), where most tools look for one without the extension',
            'current',
            logging.WARNING,
        )


def _write_broken(journal: PredictionJournal, out: Path) -> None:
    """Write ``<path><tab><reason>`` for every broken image; no file if there is none."""
    # The names of files are bytes, which need not be UTF-8: they are written as they are.
    broken = ((image, result['error']) for image, result in journal.results() if 'error' in result)
    lines = [f'{image.path}\t{" ".join(error.split())}\n' for image, error in broken]
    if lines:
        write_whole(out, ''.join(lines).encode('utf-8', 'surrogateescape'))
    else:
        out.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
