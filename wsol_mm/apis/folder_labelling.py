"""From a folder of labelled images to boxes: a head is trained on what a frozen backbone makes of them."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any

from wsol_mm.annotation_formats import FORMATS
from wsol_mm.engine.runner import LocalizationRunner
from wsol_mm.evaluation.box_protocol import box_protocol
from wsol_mm.feature_cache.extraction import extract_split, extraction_model
from wsol_mm.feature_cache.settings import use_cached_features
from wsol_mm.models.heads import GuardedHead
from wsol_mm.models.weights.sources import TIMM_SCHEME
from wsol_mm.registry import DATASETS, MODELS
from wsol_mm.utils.config_settings import merge_options
from wsol_mm.utils.json_text import read_json
from wsol_mm.utils.process_lock import process_lock
from wsol_mm.utils.refinement_choice import use_refinement
from wsol_mm.utils.whole_files import write_json, write_whole

from mmengine.config import Config
from mmengine.registry import DefaultScope

from .contact_sheet import make_sheet, predict_samples
from .folder_prediction import FolderSummary, FolderTask, predict_folder
from .localization_inferencer import LocalizationInferencer
from .model_loading import find_config
from .prediction_journal import setting_differences

_SHEET_IMAGES, _SHEET_TILE = 24, 112


@dataclass(frozen=True)
class LabellingTask:
    """What is asked for.

    Attributes:
        folder: Folder with a folder of images per class.
        out: Folder of all that is written: ``config.py``, ``features/``, checkpoints, the boxes and
            ``sheet.png``.
        config: Config file, or name of a model of the index, of a head on a frozen ``TimmBackbone``.
        backbone: Name of a model of timm in place of the config's.
        weights: File of its weights, in place of those that are downloaded.
        img_size: Side of the images; that of the backbone's own images if None.
        views: Views of which training draws, of :data:`wsol_mm.feature_cache.settings.VIEWS`.
        options: Dotted keys of the config to values, as ``--cfg-options`` takes them.
        format: Name of a format of ``wsol_mm.annotation_formats.FORMATS``.
        threshold: Of the maps, for the boxes; the config's if None.
        refine: Words that say how maps are sharpened before boxes are found; None: as the config says.
        seed: Of the training.
        batch_size: Images at a time through the backbone.
        num_workers: Processes that load images.
    """

    folder: Path
    out: Path
    config: str = 'found_dinov2-s_folder'
    backbone: str | None = None
    weights: str | None = None
    img_size: int | None = None
    views: tuple[str, ...] = ('plain', 'flip')
    options: Mapping[str, Any] = field(default_factory=dict)
    format: str = 'coco'
    threshold: float | None = None
    refine: Sequence[str] | None = None
    seed: int = 0
    batch_size: int = 32
    num_workers: int = 2

    @property
    def boxes(self) -> Path:
        """File or folder of the boxes."""
        return self.out / f'boxes{FORMATS[self.format].suffix or ""}'

    @property
    def box_settings(self) -> Path:
        """What the boxes were made with."""
        return self.out / f'{self.boxes.name}.settings.json'

    @property
    def sheet(self) -> Path:
        """Picture of some of them."""
        return self.out / 'sheet.png'


def label_folder(task: LabellingTask) -> FolderSummary | None:
    """Make boxes for a folder of labelled images.

    Images are looked at, features computed, a head trained on them, boxes predicted for the class that each
    image's folder names, and a sheet of some is drawn. What is there already is kept, so that the same call
    goes on where it was stopped. Boxes are made anew, of another threshold or refinement, where the former
    ones are removed.

    Args:
        task: What to do.

    Returns:
        What came out; broken images are among the counts. None if the boxes were there already.

    Raises:
        BlockingIOError: If another process works in the same folder.
        DatasetError: If the folder holds no class with usable images.
        FileNotFoundError: If there is no file that an argument names.
        ValueError: If the output lies in the folder of images, or holds the work or the boxes of another
            task, an argument is not as said, or the map became useless in training.
    """
    if task.out.resolve().is_relative_to(task.folder.resolve()):
        raise ValueError(
            f'out: expected a folder outside {task.folder}, whose folders are classes, got {task.out}'
        )
    task.out.mkdir(parents=True, exist_ok=True)
    with process_lock(task.out / '.lock'), DefaultScope.overwrite_default_scope('wsol_mm'):
        cfg = labelling_config(task)
        sharper = deepcopy(cfg)
        if task.refine is not None:
            use_refinement(sharper, task.refine)
            # Before the work begins: an unknown word, or a file that is none, is an error at once.
            MODELS.build(sharper.model.refinement)
        protocol = box_protocol(cfg, threshold=task.threshold)
        _check_config(cfg, task.out / 'config.py')
        _keep_box_settings(task, protocol.thresholds[0])
        extract_split(
            cfg,
            extraction_model(cfg),
            'train',
            task.views,
            task.out / 'features',
            batch_size=task.batch_size,
            num_workers=task.num_workers,
        )
        # Features have settings of their own; a folder belongs to others once these have proved to work.
        write_whole(task.out / 'config.py', cfg.pretty_text)
        checkpoint = _train(cfg, task)
        summary = _predict(sharper, checkpoint, task)
        samples, classes = predict_samples(sharper, checkpoint, _SHEET_IMAGES)
        make_sheet(samples, classes, protocol, str(task.folder), _SHEET_TILE).save(task.sheet)
    return summary


def labelling_config(task: LabellingTask) -> Config:
    """Return the config of a task: its images, their classes and its backbone put into that of a training.

    All images are decoded once; those that do not decode are listed in ``<out>/broken.txt`` and left out.

    Raises:
        DatasetError: If the folder holds no class with usable images.
        ValueError: If the config has another kind of model.
    """
    cfg, _ = find_config(task.config)
    backbone = cfg.get('model', {}).get('backbone', {})
    if backbone.get('type') != 'TimmBackbone' or not cfg.model.get('frozen'):
        raise ValueError(
            f'config: expected one of a head on a frozen TimmBackbone, such as {LabellingTask.config!r}, got '
            f'{task.config!r}'
        )
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    broken = task.out / 'broken.txt'
    images = dict(data_root=str(task.folder.resolve()), data_prefix='')
    # Other files and empty folders beside the classes are nothing to stop for.
    images |= dict(on_error='skip', leave_out=str(broken))
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        loader.dataset.update(images)
        loader.update(num_workers=0, persistent_workers=False, pin_memory=False)
    cfg.test_dataloader.dataset.update(class_folder=None, box_source=None)
    if task.backbone not in (None, backbone.model_name):
        backbone.update(model_name=task.backbone, position_interpolation='timm')
    if task.img_size is not None:
        backbone.img_size = task.img_size
    cfg.model.pretrained = task.weights or f'{TIMM_SCHEME}{backbone.model_name}'
    cfg.model.head.num_classes = _num_classes(cfg, broken)
    cfg.randomness = dict(seed=task.seed)
    cfg.default_hooks.checkpoint.update(max_keep_ckpts=1, save_best=None)
    cfg.work_dir = str(task.out)
    merge_options(cfg, task.options)
    return cfg


def _num_classes(cfg: Config, broken: Path) -> int:
    """Return the number of classes with usable images; list those that do not decode, once."""
    settings = {**cfg.train_dataloader.dataset, 'pipeline': []}
    if broken.is_file():
        return len(DATASETS.build(settings).metainfo['classes'])
    dataset = DATASETS.build({**settings, 'leave_out': None, 'verify_images': True})
    known = {dataset.get_data_info(index)['img_id'] for index in range(len(dataset))}
    everything = DATASETS.build({**settings, 'leave_out': None, 'read_headers': False})
    names = (everything.get_data_info(index)['img_id'] for index in range(len(everything)))
    write_whole(broken, ''.join(f'{name}\n' for name in names if name not in known))
    return len(dataset.metainfo['classes'])


def _check_config(cfg: Config, path: Path) -> None:
    """Compare the config with that of the work that is there, as text: it is not executed."""
    if not path.is_file():
        return
    was, now = (text.splitlines() for text in (path.read_text(), cfg.pretty_text))
    if was != now:
        changed = [
            ' '.join(line.strip() for line in lines if line not in others) or 'less'
            for lines, others in ((was, now), (now, was))
        ]
        raise ValueError(
            f'{path}: expected the work of the same images and settings, got that of others: was '
            f'{shorten(changed[0], 200)}, now {shorten(changed[1], 200)}. Give another folder for the '
            'output, or remove this one'
        )


def _keep_box_settings(task: LabellingTask, threshold: float) -> None:
    """Write what the boxes are made with, or compare it with that of the boxes that are there."""
    settings = dict(format=task.format, threshold=threshold, refine=task.refine and list(task.refine))
    if not task.boxes.exists():
        write_json(task.box_settings, settings)
    elif task.box_settings.is_file():  # former versions wrote none
        made_with = read_json(task.box_settings, 'what boxes were made with')
        differing = ', '.join(setting_differences(made_with, settings))
        if differing:
            raise ValueError(
                f'{task.boxes}: expected boxes of the same settings, got those of others: {differing}. They '
                'are made anew once this is removed'
            )


def _train(cfg: Config, task: LabellingTask) -> Path:
    by_epoch = cfg.train_cfg.get('by_epoch', True)
    last = f'epoch_{cfg.train_cfg.max_epochs}' if by_epoch else f'iter_{cfg.train_cfg.max_iters}'
    checkpoint = task.out / f'{last}.pth'
    if not checkpoint.is_file():
        training = deepcopy(cfg)
        use_cached_features(training, task.out / 'features')
        training.resume = any(task.out.glob('*.pth'))
        LocalizationRunner.from_cfg(training).train()
    return checkpoint


def _predict(cfg: Config, checkpoint: Path, task: LabellingTask) -> FolderSummary | None:
    boxes = FolderTask(task.folder, task.boxes, task.format, labels_from_folder=True)
    if boxes.out.exists() and not boxes.journal_folder.exists():
        return None
    inferencer = LocalizationInferencer(cfg, checkpoint, threshold=task.threshold)
    head = inferencer.model.head
    if isinstance(head, GuardedHead) and head.failed:
        raise ValueError(
            f'{checkpoint}: expected a map that shows objects, got one that became useless in training: '
            f'{head.failure}. Give another seed and another folder for the output, or another config'
        )
    return predict_folder(inferencer, boxes, task.batch_size, task.num_workers)
