"""A folder in which documented commands run as they are printed, on stand-ins for data and models.

A reader's data are photographs and the models are trained for hours. Here every data set has an image or two
per class, and configs are reduced when they are read: models 24 channels wide, one epoch or one
iteration of two images. Tools, arguments, layouts of files and names are those of the documents.
"""

import contextlib
import json
import os
import re
import runpy
import shutil
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from wsol_mm.datasets.shapes.embedded_shapes import EmbeddedShapesSpec, write_embedded_shapes
from wsol_mm.models.weights import official_methods
from wsol_mm.models.weights.layouts import find_layout
from wsol_mm.registry import MODELS

import numpy as np
import pyarrow
import timm
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from PIL import Image
from pyarrow import parquet
from torch import Tensor, nn

from .clip_samples import RANDOM_CLIP
from .documented_commands import REPO_DIR
from .forked_tools import run_forked
from .methods import METHODS

WIDTH = 24
SHAPES = EmbeddedShapesSpec(train_per_class=2, test_per_class=2)
CONFIGS = {path.stem: path for path in REPO_DIR.glob('configs/*/*.py') if path.parent.name != '_base_'}
_WORK_DIR = re.compile(r'work_dirs/([^/]+)(/[^/]+\.pth)?')
_CLASSES = re.compile(r'model\.head\.num_classes=(\d+)')


def reduce_config(cfg: Config) -> Config:
    """Make an experiment of seconds of a config: a narrow model, one epoch or iteration on two images."""
    if 'train_dataloader' not in cfg:
        return cfg
    backbone = _backbone(cfg)
    if isinstance(backbone.get('arch'), str):
        backbone.arch = dict(
            embed_dims=WIDTH,
            num_layers=12,
            num_heads={'tiny': 3, 'small': 6, 'base': 12}[backbone.arch.split('-')[1]],
            feedforward_channels=2 * WIDTH,
        )
        if 'head' in cfg.model:
            cfg.model.head.in_channels = WIDTH
    if 'clip' in cfg.model:
        cfg.model.update(clip=RANDOM_CLIP)
        cfg.model.backbone.depth = 2
    if cfg.model.get('head', {}).get('sba'):
        cfg.model.head.sba.clip = RANDOM_CLIP
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        if loader is not None:
            loader.update(batch_size=2, num_workers=0, persistent_workers=False, drop_last=False)
            loader.dataset.indices = 2
    if cfg.train_dataloader is None:
        return cfg
    cfg.model.pretrained = None
    by_epoch = cfg.train_cfg.get('by_epoch', True)
    sampler = 'DefaultSampler' if by_epoch else 'InfiniteSampler'
    cfg.train_dataloader.sampler = dict(type=sampler, shuffle=True)
    length = dict(max_epochs=1) if by_epoch else dict(max_iters=1)
    cfg.train_cfg.update(**length, val_begin=1, val_interval=1)
    return cfg


def _backbone(cfg: Config) -> ConfigDict:
    """Return the config of a model's network, or of the trained classifier's."""
    return cfg.model.get('classifier', cfg.model).backbone


def run_reduced(folder: Path, tool: str, arguments: list[str], log: Path) -> None:
    """Run a tool in this process, which ends with the tool's exit status; its output goes to a file."""
    with log.open('w') as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.chdir(folder)
    torch.set_num_threads(1)
    read, merge = Config.fromfile, Config.merge_from_dict

    def merge_without_size(self: Config, options: Mapping, *args, **kwargs) -> None:
        size = ('model.backbone.arch', 'model.head.in_channels')
        merge(self, {key: value for key, value in options.items() if key not in size}, *args, **kwargs)

    Config.fromfile = staticmethod(lambda *args, **kwargs: reduce_config(read(*args, **kwargs)))
    Config.merge_from_dict = merge_without_size
    sys.argv = [tool, *arguments]
    sys.path.insert(0, str(REPO_DIR / Path(tool).parent))
    status: int | str | None = 0
    try:
        runpy.run_path(tool, run_name='__main__')
    except SystemExit as error:
        status = error.code
    except BaseException:
        status = traceback.format_exc()
    with contextlib.suppress(ValueError):
        sys.stdout.flush()
    if isinstance(status, str):
        os.write(2, status.encode())
        status = 1
    os._exit(status or 0)


class Workplace:
    """Folders of readers, what their data are, and the models that they have trained.

    Args:
        root: Folder for all of it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = root / 'data'
        _write_data(self.data)
        self.trained: dict[tuple[str, str], Path] = {}

    def folder(self, name: str) -> Path:
        """Return a new folder with the repository's content and the data in it."""
        folder = self.root / re.sub(r'\W+', '_', name)
        folder.mkdir()
        for entry in ('benchmarks', 'configs', 'demo', 'docs', 'requirements', 'tests', 'tools', 'wsol_mm'):
            (folder / entry).symlink_to(REPO_DIR / entry)
        (folder / 'data').mkdir()
        (folder / 'names.txt').write_text('cat\ndog\n')
        for entry in self.data.iterdir():
            (folder / 'data' / entry.name).symlink_to(entry)
        for entry in ('photos', 'folder'):
            (folder / entry).symlink_to(self.data / 'photos')
        photos = sorted((self.data / 'photos').glob('*/*.jpg'))
        (folder / 'photo.jpg').symlink_to(photos[0])
        names = [path.relative_to(self.data / 'photos').as_posix() for path in photos]
        (folder / 'list.txt').write_text(''.join(f'photos/{name}\n' for name in names))
        parquet.write_table(pyarrow.table({'file': names}), folder / 'images.parquet')
        return folder

    def run(self, folder: Path, tool: str, arguments: list[str]) -> str:
        """Run a tool in a folder of a reader, in a process of its own; return what it printed.

        Raises:
            AssertionError: If its exit status is not 0, with the end of what it printed.
        """
        if (
            tool == 'tools/model_converters/official_to_wsol_mm.py'
            and not METHODS[arguments[0]].official_case
        ):
            # Converted names of these networks are tested in test_models/test_weights; here a trained model
            # stands for the converted one.
            config = CONFIGS[Path(arguments[2]).stem].relative_to(REPO_DIR).as_posix()
            shutil.copy(self._train(Path(config).stem, '') / _last_checkpoint(config), folder / arguments[2])
            return ''
        log = folder / 'output.txt'
        words = self._ready(folder, tool, arguments)
        status = run_forked(run_reduced, folder, tool, words, log)
        printed = log.read_text()
        assert status == 0, f'{tool} {" ".join(words)}: status {status}\n{printed[-3000:]}'
        if tool == 'tools/train.py':
            self._name_as_published(folder, words)
        return printed

    def _ready(self, folder: Path, tool: str, arguments: list[str]) -> list[str]:
        """Provide what a command needs from before, and return its arguments with patterns expanded."""
        classes = next((match[1] for word in arguments if (match := _CLASSES.search(word))), '')
        own = folder / 'data' / 'my_images'
        own.unlink(missing_ok=True)
        own.symlink_to(self.data / f'my_images_{classes or 2}')
        if tool == 'tools/dataset_converters/make_embedded_shapes.py':
            (folder / arguments[0]).unlink()  # others find it there
            numbers = f'--train-per-class {SHAPES.train_per_class} --test-per-class {SHAPES.test_per_class}'
            return [*arguments, *numbers.split()]
        if tool == 'tools/model_converters/official_to_wsol_mm.py':
            self._write_official(folder, *arguments[:2])
            return arguments
        config = next((word for word in arguments if word.startswith('configs/')), '')
        words: list[str] = []
        for word in arguments:
            self._provide(folder, word, config, classes)
            found = [path.relative_to(folder).as_posix() for path in folder.glob(word)] if '*' in word else []
            words += found or [word]
        return words

    def _provide(self, folder: Path, word: str, config: str, classes: str) -> None:
        """Put what a word of a command names into its place, if it is to come from an earlier command."""
        name = word.rpartition('=')[2]
        target = folder / name
        work_dir = _WORK_DIR.fullmatch(name)
        if name == 'checkpoint.pth':  # of whichever model
            checkpoint = self._train(Path(config).stem, classes) / _last_checkpoint(config)
            shutil.copy(checkpoint, target)
        elif name == 'weights.pth' and config:  # of whichever network
            _write_weights(target, config)
        elif target.exists():
            return
        elif work_dir and (work_dir[1] in CONFIGS or work_dir[2]):
            trained = work_dir[1] if work_dir[1] in CONFIGS else Path(config).stem
            place = folder / 'work_dirs' / work_dir[1]
            if not place.exists():
                shutil.copytree(self._train(trained, classes), place)
        elif name.endswith('.pth') and config and word != name:
            _write_weights(target, config)
        elif name.endswith('.pkl') and word != name:
            shutil.copy(next(folder.glob('*.pkl')), target)  # the predictions of another run

    def _train(self, stem: str, classes: str) -> Path:
        """Return the work directory of a config, trained once for each number of classes."""
        if (stem, classes) not in self.trained:
            folder = self.folder(f'{stem} {classes}')
            options = ['--cfg-options', f'model.head.num_classes={classes}'] if classes else []
            self.run(folder, 'tools/train.py', [CONFIGS[stem].relative_to(REPO_DIR).as_posix(), *options])
            self.trained[stem, classes] = folder / 'work_dirs' / stem
        return self.trained[stem, classes]

    def _name_as_published(self, folder: Path, words: list[str]) -> None:
        """Call the checkpoint of the only epoch or iteration as the last one of the whole training."""
        config = words[0]
        work_dir = folder / 'work_dirs' / Path(config).stem
        last = _last_checkpoint(config)
        (work_dir / f'{last.partition("_")[0]}_1.pth').rename(work_dir / last)

    def _write_official(self, folder: Path, method: str, source: str) -> None:
        """Write a checkpoint of the authors' layout for the reduced DeiT-S on CUB."""
        cfg = reduce_config(Config.fromfile(CONFIGS[f'{method}_deit-s_cub']))
        with DefaultScope.overwrite_default_scope('wsol_mm'):
            model = MODELS.build(cfg.model)
        torch.save({'model': official_state(method, model)}, folder / source)


def official_state(method: str, model: nn.Module) -> dict[str, Tensor]:
    """Return a model's weights under the names of the authors' checkpoints."""
    case = REPO_DIR / 'tests' / 'data' / 'parity' / METHODS[method].official_case
    listed = [name.removeprefix('state/') for name in np.load(f'{case}.npz') if name.startswith('state/')]
    listed = listed or list(json.loads(case.with_suffix('.json').read_text())['parameters'])
    repeated = {}
    for name in listed:  # of any layer and branch; as many as there are here are taken
        for number in range(24 * 12):
            repeated[re.sub(r'^(blocks\.|block)\d+\.', rf'\g<1>{number}.', name)] = None
    layout, own = find_layout(repeated, official_methods()[method].layouts), model.state_dict()
    state = {}
    for name in repeated:
        target, _, number = (layout.rename(name) or '').partition('[')
        if target not in own:
            continue
        value = own[target]
        if number and value.dim():
            index = int(number.rstrip(']'))
            value = value[index : index + 1]
        if not number or len(value if value.dim() else [0]):
            state[name] = value.clone()
    return state


def _last_checkpoint(config: str) -> str:
    length = Config.fromfile(REPO_DIR / config).train_cfg
    return (
        f'epoch_{length.max_epochs}.pth' if length.get('by_epoch', True) else f'iter_{length.max_iters}.pth'
    )


def _write_weights(path: Path, config: str) -> None:
    """Write weights of a classifier of ImageNet, as timm saves them, for the reduced model of a config."""
    backbone = _backbone(reduce_config(Config.fromfile(REPO_DIR / config)))
    torch.manual_seed(0)  # cached features belong to these weights
    if backbone.type == 'TimmBackbone':
        torch.save(timm.create_model(backbone.model_name).state_dict(), path)
        return
    arch = backbone.arch
    model = timm.models.vision_transformer.VisionTransformer(
        embed_dim=arch['embed_dims'], depth=arch['num_layers'], num_heads=arch['num_heads'], mlp_ratio=2
    )
    torch.save(model.state_dict(), path)


def _write_data(root: Path) -> None:
    """Write stand-ins for all data sets: noise with a square at 10, 8, 34, 28 in images of 48x40 pixels."""
    rng = np.random.default_rng(0)
    for index in range(3):
        _write_image(root / 'photos' / f'class_{index}' / f'photo_{index}.jpg', rng)
    _write_cub(root / 'CUB_200_2011', 200, rng)
    _write_cub(root / 'CUB_200_2011_40', 40, rng)
    _write_cub_v2(root / 'CUBV2', rng)
    _write_ilsvrc(root / 'ILSVRC2012', rng)
    _write_openimages(root / 'OpenImages', rng)
    for classes in (2, 5, 10):
        _write_folder(root / f'my_images_{classes}', classes, rng)
    write_embedded_shapes(root / 'embedded_shapes', SHAPES, workers=1)


def _write_image(path: Path, rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 120, (40, 48, 3), np.uint8)
    pixels[8:28, 10:34] += 120
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _write_lists(root: Path, lists: Mapping[str, Sequence[str]]) -> None:
    root.mkdir(exist_ok=True)
    for name, lines in lists.items():
        (root / name).write_text('\n'.join(lines) + '\n')


def _write_cub(root: Path, classes: int, rng: np.random.Generator) -> None:
    paths = []
    for label in range(1, classes + 1):
        for split in ('train', 'test'):
            paths.append(f'{label:03d}.Bird_{label}/{split}.jpg')
            _write_image(root / 'images' / paths[-1], rng)
    numbered = list(enumerate(paths, 1))
    lists = {
        'images.txt': [f'{number} {path}' for number, path in numbered],
        'image_class_labels.txt': [f'{number} {int(path[:3])}' for number, path in numbered],
        'train_test_split.txt': [f'{number} {int("train" in path)}' for number, path in numbered],
        'bounding_boxes.txt': [f'{number} 10.0 8.0 24.0 20.0' for number, _ in numbered],
    }
    _write_lists(root, lists)


def _write_cub_v2(root: Path, rng: np.random.Generator) -> None:
    names = [f'{label}/0.jpg' for label in range(200)]
    for name in names:
        _write_image(root / 'images' / name, rng)
    lists = {
        'image_ids.txt': names,
        'class_labels.txt': [f'{name},{label}' for label, name in enumerate(names)],
        'image_sizes.txt': [f'{name},48,40' for name in names],
        'localization.txt': [f'{name},10,8,34,28' for name in names],
    }
    _write_lists(root / 'metadata', lists)


def _write_ilsvrc(root: Path, rng: np.random.Generator) -> None:
    names = REPO_DIR / 'wsol_mm' / 'models' / 'clip' / 'name_lists' / 'ilsvrc.txt'
    wnids = [line.split(' ')[0] for line in names.read_text().splitlines()]
    _write_image(root / 'image.jpg', rng)
    for wnid in wnids:
        for split in ('train', 'val'):
            (root / split / wnid).mkdir(parents=True)
            os.link(root / 'image.jpg', root / split / wnid / f'{split}_{wnid}.JPEG')
    lines = [f'{wnid}/val_{wnid}.JPEG {label} 10 8 33 27' for label, wnid in enumerate(wnids)]
    _write_lists(root / 'ILSVRC2012_list', {'val_folder_new.txt': lines})


def _write_openimages(root: Path, rng: np.random.Generator) -> None:
    mask = np.zeros((40, 48), np.uint8)
    mask[8:28, 10:34] = 255
    root.mkdir()
    Image.fromarray(mask).save(root / 'mask.png')
    Image.fromarray(0 * mask).save(root / 'ignore.png')
    for split in ('train', 'val', 'test'):
        names = [f'{split}/{label}.jpg' for label in range(100)]
        for name in names:
            _write_image(root / name, rng)
        lists = {
            'image_ids.txt': names,
            'class_labels.txt': [f'{name},{label}' for label, name in enumerate(names)],
            'image_sizes.txt': [],
        }
        if split != 'train':
            lists['localization.txt'] = [f'{name},mask.png,ignore.png' for name in names]
        (root / 'metadata').mkdir(exist_ok=True)
        _write_lists(root / 'metadata' / split, lists)


def _write_folder(root: Path, classes: int, rng: np.random.Generator) -> None:
    paths = [f'{split}/class_{label}/0.jpg' for split in ('train', 'val') for label in range(classes)]
    for path in paths:
        _write_image(root / path, rng)
    _write_lists(root, {'boxes.csv': [f'{path},10,8,34,28' for path in paths]})
