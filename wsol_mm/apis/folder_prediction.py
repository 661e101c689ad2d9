"""Boxes for all images of a folder: streaming, in any number, and going on after a kill."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any

from wsol_mm.annotation_formats import FROM_FOLDER, PREDICTED
from wsol_mm.evaluation.protocols import LocalizationProtocol
from wsol_mm.utils.file_names import fitting_name
from wsol_mm.utils.optional_packages import optional_package
from wsol_mm.utils.process_lock import process_lock
from wsol_mm.utils.stored_files import is_address
from wsol_mm.utils.whole_files import remove_leftovers_of, whole_file
from wsol_mm.utils.worker_processes import MadeWhenSent

import numpy as np
import torch
from mmengine.logging import print_log
from mmpretrain.structures import DataSample
from mmpretrain.utils import track

from .image_batches import ImageBatch, ImageBatches, load_batches
from .image_listing import ListedImage
from .image_sources import ImageSource, image_source
from .journal_writer import JournalWriter
from .localization_inferencer import LocalizationInferencer
from .localization_result import NOT_FINITE, Boxes, LocalizationResult, Prediction, localization_result
from .prediction_journal import PredictionJournal
from .prediction_output import (
    AnnotationOutput,
    FolderSummary,
    beside,
    broken_file,
    output_exists,
    publish_annotations,
    summarize,
)
from .prediction_shards import Shard, finish_shard, list_once, shard_journal, shards_folder

_MAX_BOX_PROCESSES = 16


def box_processes(num_workers: int) -> int:
    """Return how many processes make boxes beside the network, if so many load images.

    Half as many: boxes take half the time of a photograph.
    """
    return min(max(1, ceil(num_workers / 2)), _MAX_BOX_PROCESSES)


@dataclass(frozen=True)
class FolderTask:
    """What is asked for. The results depend on nothing else but the inferencer.

    Attributes:
        folder: The images: a folder, or whatever else :func:`~wsol_mm.apis.image_sources.image_source` knows.
        out: File or folder to write.
        format: Name of a format in ``wsol_mm.annotation_formats.FORMATS``.
        labels_from_folder: The class of an image is the name of the first folder below ``folder``; otherwise
            it is predicted.
        topk: How many of the best predicted classes get a box.
        boxes: Of a class the one that the protocol measures, or many, of all regions of its map.
        score_thr: Boxes of classes with a lower score are left out.
        min_confidence: Boxes that are less certain are left out.
        maps_dir: Folder for the localization maps: ``<image>.npz`` with ``maps`` (K, h, w) on the patch grid,
            un-normalised, and their ``labels`` (K).
        show_dir: Folder for pictures: ``x.png`` for ``x.jpg``, ``x.jpg.png`` where there is another ``x``.
        shard: Predict this part of the images only; see :func:`predict_shard`.
        root: Folder of the paths, where ``folder`` is a list of them; that of the list if None.
        column: Column of the paths, where it is a CSV or Parquet file; ``path`` if None.
    """

    folder: Path | str
    out: Path
    format: str
    labels_from_folder: bool = False
    topk: int = 1
    boxes: Boxes = 'one'
    score_thr: float = 0.0
    min_confidence: float = 0.0
    maps_dir: Path | None = None
    show_dir: Path | None = None
    shard: Shard | None = None
    root: Path | str | None = None
    column: str | None = None

    @cached_property
    def source(self) -> ImageSource:
        """Where the images come from."""
        return image_source(self.folder, self.root, self.column)

    @property
    def journal_folder(self) -> Path:
        """Where unfinished work is kept."""
        if self.shard is None:
            return beside(self.out, '.journal')
        return shards_folder(self.out) / self.shard.name


def check_task(task: FolderTask) -> None:
    """Find what stops a task and can be found without its model, in no time.

    Args:
        task: What is to be done.

    Raises:
        FileExistsError: If the output exists, of no unfinished work.
        NotADirectoryError: If there is no such folder.
        ValueError: If the folder holds no image.
    """
    journal = PredictionJournal(task.journal_folder, {})
    if journal.exists() and task.shard is None:
        return  # it has its list of images
    if task.out.exists():
        # Of a call that was killed when all was done but this.
        if task.shard is None:
            shutil.rmtree(task.journal_folder, ignore_errors=True)
        raise output_exists(task.out)
    if task.labels_from_folder and task.source.kind == 'tars':
        raise ValueError(f'{task.folder}: expected images in folders of classes, got tar files')
    if task.format == 'labelme' and not task.source.has_files:
        raise ValueError(
            f'{task.folder}: expected images in local files, which labelme opens in place, got others'
        )
    if task.format == 'parquet':
        optional_package('pyarrow', f'format {task.format}')
    task.source.check()


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
        num_workers: Processes that load images; 0 to load in this one. Half as many make boxes, 1 to 16.
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
    output = _output(inferencer, task)
    with process_lock(beside(task.out, '.lock')):
        journal = PredictionJournal(task.journal_folder, settings_of(inferencer, task))
        _make_folders(task)
        if journal.exists():
            journal.resume()
            remove_leftovers_of((task.out, broken_file(task.out)))
        elif not task.out.exists():
            _list_images(journal, task, inferencer.classes)
        is_published = task.out.exists()
        if is_published and (not journal.is_complete or output.partial.exists()):
            raise output_exists(task.out)
        if not is_published:
            _predict(inferencer, task, journal, batch_size, num_workers, progress)
            publish_annotations(journal.results, output)
        summary = summarize(journal.results)
        journal.remove()
        return summary


def predict_shard(
    inferencer: LocalizationInferencer,
    task: FolderTask,
    batch_size: int = 32,
    num_workers: int = 4,
    progress: bool = True,
) -> FolderSummary:
    """Predict boxes for one of several parts of the images of a folder, without writing annotations.

    The shards of an output share the list of images, which the first of them makes, and keep a journal each,
    all in a folder beside the output. :func:`~wsol_mm.apis.prediction_shards.merge_shards` makes the
    annotations when all are finished. The same call continues a shard, or has nothing left to do.

    Args:
        inferencer: The model.
        task: What to do, with a ``shard``.
        batch_size: Images at a time; the same for all shards, which end where a batch does.
        num_workers: Processes that load images; 0 to load in this one. Half as many make boxes, 1 to 16.
        progress: Show a progress bar.

    Returns:
        Counts of this shard.

    Raises:
        BlockingIOError: If another process works on the same shard.
        FileExistsError: If the output exists.
        JournalError: If the shard, or another one, was begun with other settings.
        NotADirectoryError: If there is no such folder.
        ValueError: As :func:`predict_folder`, or without a shard.
    """
    if task.shard is None:
        raise ValueError('task.shard: expected a shard, got none')
    inferencer.check_topk(task.topk)
    if task.out.exists():
        raise output_exists(task.out)
    root = shards_folder(task.out)
    root.mkdir(parents=True, exist_ok=True)
    output = _output(inferencer, task)
    settings = settings_of(inferencer, task) | {'shards': task.shard.count, 'batch_size': batch_size}
    with process_lock(root / f'{task.shard.name}.lock'):
        _make_folders(task)
        listed = list_once(root, settings, lambda new: _list_images(new, task, inferencer.classes))
        about = {
            'image_folder': None if output.image_folder is None else str(output.image_folder.resolve()),
            'description': output.description,
            'labels': output.labels,
        }
        journal = shard_journal(task.shard, listed, batch_size, **about)
        _predict(inferencer, task, journal, batch_size, num_workers, progress)
        return finish_shard(journal)


def _make_folders(task: FolderTask) -> None:
    """Make the folders of maps and pictures: before a journal, which a call with others could not go on."""
    for folder in filter(None, (task.maps_dir, task.show_dir)):
        folder.mkdir(parents=True, exist_ok=True)


def _output(inferencer: LocalizationInferencer, task: FolderTask) -> AnnotationOutput:
    return AnnotationOutput(
        task.out,
        task.format,
        inferencer.classes,
        Path(task.source.root) if task.source.has_files else None,
        f'wsol_mm pseudo boxes: {inferencer.description(task.boxes)}',
        FROM_FOLDER if task.labels_from_folder else PREDICTED,
    )


def settings_of(inferencer: LocalizationInferencer, task: FolderTask) -> dict[str, Any]:
    """Return everything that the results depend on: task, config, weights and class names."""
    cfg = inferencer.config
    settings = asdict(task) | {
        'folder': _resolved(task.source.place),
        'root': _resolved(task.source.root),
        'model': {key: value for key, value in cfg.model.to_dict().items() if key != 'pretrained'},
        'data_preprocessor': cfg.get('data_preprocessor'),
        'weights': _digest(inferencer.model),
        'transforms': inferencer.pipeline.transforms,
        'protocol': asdict(inferencer.protocol),
        'classes': inferencer.classes,
    }
    for name in ('out', 'shard'):
        del settings[name]
    return json.loads(json.dumps(settings, default=str))


def _resolved(place: str) -> str:
    return place if is_address(place) else str(Path(place).resolve())


def _digest(model: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _list_images(journal: PredictionJournal, task: FolderTask, classes: Iterable[str]) -> None:
    images = task.source.images()
    if task.labels_from_folder:
        images = _in_class_folders(images, task.source.place, tuple(classes))
    try:
        journal.create(images)
    except (ImportError, OSError, ValueError):
        shutil.rmtree(journal.folder, ignore_errors=True)
        raise


def _in_class_folders(
    images: Iterable[ListedImage], folder: str, classes: tuple[str, ...]
) -> Iterator[ListedImage]:
    """Pass images on; raise in the end if some are not in the folder of a class."""
    known = set(classes)
    wrong: dict[str, None] = {}
    for image in images:
        top, slash, _ = image.path.partition('/')
        if (not slash or top not in known) and len(wrong) < 6:
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
    if task.boxes == 'many':
        print_log(f'Boxes: {inferencer.description(task.boxes)}', 'current')
    left = journal.num_images - journal.num_done
    indices = {name: index for index, name in enumerate(inferencer.classes)}
    batches: Iterable[ImageBatch] = load_batches(
        ImageBatches(
            journal.images_file,
            journal.num_done,
            task.source.root,
            inferencer.pipeline,
            batch_size,
            indices if task.labels_from_folder else None,
        ),
        num_workers,
    )
    if progress:
        batches = track(batches, 'Localizing', total=ceil(left / batch_size))
    # Of a call that was killed: maps and pictures of the batches that it had in hand.
    most = (_MAX_BOX_PROCESSES + 2) * max(batch_size, 256)
    in_hand = list(islice(journal.images(journal.num_done), most))
    if task.maps_dir is not None:
        remove_leftovers_of(_map_file(task.maps_dir, image) for image in in_hand)
    if task.show_dir is not None:
        remove_leftovers_of(task.show_dir / fitting_name(image.name, '.png') for image in in_hand)
    draw = None if task.show_dir is None else partial(_draw, inferencer, task)
    finish = partial(_finish, task, inferencer.classes, inferencer.protocol)
    with JournalWriter(journal, finish, box_processes(num_workers), draw) as writer:
        for batch in batches:
            samples = [] if batch.data is None else inferencer.forward(batch.data, topk=task.topk)
            predictions = MadeWhenSent(partial(Prediction.of, topk=task.topk), samples)
            writer.put((batch.images, batch.errors, predictions), (batch, samples, predictions))


def _map_file(folder: Path, image: ListedImage) -> Path:
    return folder / fitting_name(image.path, '.npz')


def _finish(
    task: FolderTask,
    classes: tuple[str, ...],
    protocol: LocalizationProtocol,
    images: list[ListedImage],
    errors: dict[int, str],
    predictions: Sequence[Prediction],
) -> list[dict]:
    """Return what the journal keeps of a batch; write its maps."""
    kept: list[dict] = []
    left = iter(predictions)
    for place, image in enumerate(images):
        if place in errors:
            kept.append({'error': errors[place]})
            continue
        prediction = next(left)
        if task.maps_dir is not None:
            with whole_file(_map_file(task.maps_dir, image)) as part, part.open('wb') as stream:
                np.savez(stream, maps=prediction.grids, labels=np.array(prediction.map_labels))
        result = localization_result(prediction, classes, protocol, boxes=task.boxes)
        kept.append(_kept(result, task))
    return kept


def _draw(
    inferencer: LocalizationInferencer,
    task: FolderTask,
    predicted: tuple[ImageBatch, list[DataSample], Sequence[Prediction]],
    results: list[dict],
) -> None:
    """Write the pictures of a batch, with the boxes of the class whose map they show."""
    batch, samples, predictions = predicted
    usable = [place for place in range(len(results)) if place not in batch.errors]
    boxes = []
    for place, prediction in zip(usable, predictions, strict=True):
        shown = prediction.wanted[0]
        labelled = zip(results[place].get('labels', ()), results[place].get('boxes', ()), strict=True)
        boxes.append(np.array([box for label, box in labelled if label == shown]).reshape(-1, 4))
    images = [batch.images[place] for place in usable]
    inferencer.visualize(
        [image.path for image in images],
        samples,
        [image.name for image in images],
        out_dir=task.show_dir,
        boxes=boxes,
    )


def _kept(result: LocalizationResult, task: FolderTask) -> dict:
    if not result.finite:
        return {'error': NOT_FINITE}
    kept: dict[str, list] = {'labels': [], 'scores': [], 'boxes': [], 'confidences': []}
    for label, _, score, box, confidence in result.kept(task.score_thr, task.min_confidence):
        for values, value in zip(kept.values(), (label, score, box.tolist(), confidence), strict=True):
            values.append(value)
    return {'size': result.size, **kept}
