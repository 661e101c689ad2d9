"""Hostile and malformed files for every tool that takes one: one line each, in bounded time.

Mistakes in settings are in ``test_mistakes.py``, what would run as code is in ``test_nothing_executes.py``.
"""

import io
import json
import pickle
import re
import shutil
import struct
import time
import zipfile
from typing import NamedTuple

# Not part of the time that an input takes.
import wsol_mm.apis.folder_prediction
import wsol_mm.deployment.export
import wsol_mm.models  # noqa: F401
from wsol_mm.registry import MODELS

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

LIMIT_S = 10


class Case(NamedTuple):
    """What is tried.

    Attributes:
        name: For the report.
        words: The tool and its arguments; ``@x`` is a file of the case, CONFIG, FOLDER and GOOD those of the
            project.
        files: Contents, or functions from what is there, by name.
        message: What the error says.
    """

    name: str
    words: str
    files: dict
    message: str


TABLE: list[Case] = []


def add(kind, words, message, cases, file='a.pth'):
    """Add cases of one kind; each is a content, or a pair of a content and what the error says."""
    for name, content in cases.items():
        content, own = content if isinstance(content, tuple) else (content, message)
        TABLE.append(Case(f'{kind}: {name}', words, {file: content}, own))


def saved(content, **options):
    with io.BytesIO() as stream:
        torch.save(content, stream, **options)
        return stream.getvalue()


def zipped(**members):
    with io.BytesIO() as stream:
        with zipfile.ZipFile(stream, 'w') as archive:
            for name, content in members.items():
                archive.writestr(name.replace('__', '/'), content)
        return stream.getvalue()


def flipped(place):
    """Flip a bit in the bytes of a good checkpoint, at a share of its length."""

    def change(good):
        content = bytearray(good['weights'])
        content[int(place * len(content))] ^= 1
        return bytes(content)

    return change


def changed_state(change):
    """Change the weights of a good checkpoint."""

    def make(good):
        state = torch.load(io.BytesIO(good['weights']), weights_only=True)
        return saved(change(state))

    return make


def changed_training(**changes):
    """Change a checkpoint of a training; None removes a part."""

    def make(good):
        content = torch.load(io.BytesIO(good['training']), weights_only=False)
        for key, value in changes.items():
            *outer, last = key.split('__')
            part = content
            for name in outer:
                part = part[name]
            part[last] = value
            if value is None:
                del part[last]
        return saved(content)

    return make


# ---------------------------------------------------------------------- checkpoints

NOT_ONE = 'a.pth: expected a checkpoint, '
FITTING = 'a.pth.*expected the weights of the model of the config, got '
CHECKPOINTS = {
    'empty': (b'', NOT_ONE),
    'a letter': (b'P', NOT_ONE),
    'text': (b'hello\n' * 99, NOT_ONE),
    'zeros': (bytes(5000), NOT_ONE),
    'a web page': (b'<!DOCTYPE html><html></html>', NOT_ONE),
    'gzip': (b'\x1f\x8b\x08' + bytes(50), NOT_ONE),
    'a zip of nothing': (zipped(), NOT_ONE),
    'a zip of others': (zipped(a='b'), NOT_ONE),
    'a zip with a pickle alone': (zipped(archive__data__pkl=b''), NOT_ONE),
    'begins like a zip': (b'PK\x03\x04' + bytes(100), NOT_ONE),
    'an old one that ends': (saved({'a': 1}, _use_new_zipfile_serialization=False)[:40], NOT_ONE),
    'a pickle': (pickle.dumps({'state_dict': {}}), NOT_ONE),
    **{
        f'cut at {part}': (lambda good, p=part: good['weights'][: int(p * len(good['weights']))], NOT_ONE)
        for part in (0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999)
    },
    **{f'a bit at {place}': (flipped(place), NOT_ONE) for place in (0.2, 0.35, 0.5, 0.65)},
    'two together': (lambda good: good['weights'] + good['weights'][:-9], NOT_ONE),
    'a list': (saved([torch.ones(1)]), 'a.pth: expected a dict of weights, got a list'),
    'a tensor': (saved(torch.ones(1)), 'a.pth: expected a dict of weights, got a Tensor'),
    'a number': (saved(3), 'a.pth: expected a dict of weights, got a int'),
    'nothing in it': (saved({}), FITTING),
    'a text as state': (saved({'state_dict': 'abc'}), 'expected a dict of weights as state_dict, got a str'),
    'none as state': (
        saved({'state_dict': None}),
        'expected a dict of weights as state_dict, got a NoneType',
    ),
    'one name': (changed_state(lambda state: dict(list(state.items())[:1])), FITTING),
    'one too many': (changed_state(lambda state: {**state, 'x.weight': torch.ones(1)}), FITTING),
    'one too few': (changed_state(lambda state: dict(list(state.items())[1:])), FITTING),
    'another shape': (changed_state(lambda state: {key: value[:1] for key, value in state.items()}), FITTING),
    'texts': (changed_state(lambda state: dict.fromkeys(state, 'a')), 'a.pth'),
    'lists': (changed_state(lambda state: dict.fromkeys(state, [1, 2])), 'a.pth'),
    'same but for prefixes': (
        changed_state(lambda state: state | {f'module.{key}': value for key, value in state.items()}),
        'state_dict: expected names that differ without the prefixes',
    ),
}
add('checkpoint', 'test.py CONFIG @a.pth --work-dir @w', NOT_ONE, CHECKPOINTS)

SAFE = 'a.safetensors: expected a .safetensors file, got another or a damaged one'
add(
    'safetensors',
    'test.py CONFIG @a.safetensors --work-dir @w',
    SAFE,
    {
        'empty': b'',
        'short': b'\x01',
        'header too long': struct.pack('<Q', 2**60) + b'{}',
        'header beyond the end': struct.pack('<Q', 100) + b'{}',
        'no JSON': struct.pack('<Q', 4) + b'abcd',
        'a list': struct.pack('<Q', 2) + b'[]',
        'data beyond the end': struct.pack('<Q', 63)
        + b'{"a":{"dtype":"F32","shape":[9999],"data_offsets":[0,39996]}}  ',
        'unknown type': struct.pack('<Q', 56)
        + b'{"a":{"dtype":"X9","shape":[1],"data_offsets":[0,4]}}   '
        + bytes(4),
        'deep': struct.pack('<Q', 10**5) + b'[' * 10**5,
        'a .pth file': lambda good: good['weights'],
    },
    file='a.safetensors',
)

RESUME = 'a.pth: expected a checkpoint of a training with the '
add(
    'resume',
    'train.py CONFIG --resume @a.pth --work-dir @w',
    RESUME,
    {
        'weights alone': lambda good: good['weights'],
        **{f'no {key}': changed_training(**{key: None}) for key in ('meta', 'optimizer', 'message_hub')},
        'no state_dict': (changed_training(state_dict=None), FITTING),
        **{
            f'{key} is a list': changed_training(**{key: [1]}) for key in ('meta', 'optimizer', 'message_hub')
        },
        'epoch is text': changed_training(meta__epoch='1'),
        'iter is none': changed_training(meta__iter=None),
        'epoch below 0': (
            changed_training(meta__epoch=-1),
            'expected meta.epoch to be an integer from 0, got -1',
        ),
        'epoch beyond the end': (
            changed_training(meta__epoch=7),
            'at most 1 epochs .train_cfg.max_epochs., got one of 7',
        ),
        'no scalars': changed_training(message_hub__log_scalars=None),
        'info is a list': changed_training(message_hub__runtime_info=[]),
        'other optimizer': (
            changed_training(optimizer__param_groups=[]),
            'argument --resume: expected a checkpoint of this model and optimizer, got another',
        ),
        'cut': (lambda good: good['training'][:-500], NOT_ONE),
        'a bit': (
            lambda good: (
                good['training'][:40_000] + bytes([good['training'][40_000] ^ 4]) + good['training'][40_001:]
            ),
            NOT_ONE,
        ),
    },
)

# ---------------------------------------------------------------------- configs

NO_CONFIG = 'expected a config, got '
BOMB = b'a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n' + b''.join(
    b'a%d: &a%d [%s]\n' % (i, i, b', '.join([b'*a%d' % (i - 1)] * 10)) for i in range(1, 12)
)
add(
    'YAML',
    'train.py @a.yaml --work-dir @w',
    NO_CONFIG,
    {
        'aliases of aliases': (BOMB, 'more than 1000000 of them, by aliases'),
        'holds itself': b'a: &a [*a]\n',
        'deep': b'a: ' + b'[' * 20_000,
        'no YAML': b'a: [1, 2\nb: }',
        'tabs': b'a:\n\t- b',
        'binary': bytes(range(256)),
        'a list': b'- 1\n- 2\n',
        'a number': b'3\n',
        'no model': (b'a: 3\n', 'model: expected a dict with the type of the model, got none'),
        'a time that is none': b'a: 9999-99-99\n',
    },
    file='a.yaml',
)
add(
    'JSON',
    'train.py @a.json --work-dir @w',
    NO_CONFIG,
    {
        'deep': b'[' * 1_000_000,
        'deep objects': b'{"a":' * 100_000,
        'empty': b'',
        'cut': b'{"model": {"type": "ImageLoc',
        'a list': b'[1]',
        'binary': b'\xff\xfe\x00\x01',
        'digits': b'{"a": ' + b'9' * 5000 + b'}',
        'its own base': b'{"_base_": "a.json"}',
    },
    file='a.json',
)
add(
    'Python',
    'train.py @a.py --work-dir @w',
    NO_CONFIG,
    {
        'recursion': b'def f(): return f()\nmodel = f()\n',
        'NUL': b'a = 1\0\n',
        'indent': b'  a = 1\n b = 2\n',
        'brackets': b'a = ' + b'(' * 5000,
        'not there': b'raise ImportError("no such module")\n',
        'another encoding': (b'# -*- coding: x-none -*-\n', 'model: expected a dict'),
        'latin': b'a = "caf\xe9"\n',
        'memory': b'raise MemoryError\n',
    },
    file='a.py',
)

# ---------------------------------------------------------------------- lists of a data set

CUB = 'test.py CONFIG GOOD --work-dir @w --cfg-options test_dataloader.dataset.data_root=@cub'


def replaced(old, new):
    return lambda text: text.replace(old, new)


for file, changes in {
    'images.txt': {
        'empty': b'',
        'binary': b'\xff\xfe\0\1' * 50,
        'cut': lambda text: text[: len(text) // 2].rpartition(b'\n')[0],
        'cut in a line': lambda text: text[: len(text) // 3],
        'no names': lambda text: re.sub(rb' .*', b'', text),
        'doubled': lambda text: text + text[:40].partition(b'\n')[0] + b'\n',
        'above': replaced(b' 001.Red/', b' ../../001.Red/'),
        'absolute': replaced(b' 001.Red/', b' /001.Red/'),
        'NUL': replaced(b'.png', b'\0.png'),
        'not there': replaced(b'.png', b'.jpeg'),
    },
    'image_class_labels.txt': {
        'empty': b'',
        'cut': lambda text: text[: len(text) // 2].rpartition(b'\n')[0],
        'text': replaced(b' 1\n', b' one\n'),
        'zero': replaced(b' 1\n', b' 0\n'),
        'negative': replaced(b' 1\n', b' -5\n'),
        'beyond': replaced(b' 1\n', b' 99\n'),
        'fraction': replaced(b' 1\n', b' 1.5\n'),
        'digits': replaced(b' 1\n', b' ' + b'9' * 5000 + b'\n'),
    },
    'train_test_split.txt': {
        'cut': lambda text: text[:30].rpartition(b'\n')[0],
        'two': replaced(b'1 1\n', b'1 2\n'),
        'UTF-16': lambda text: text.decode().encode('utf-16'),
        'doubled': lambda text: text + b'1 0\n',
    },
    'bounding_boxes.txt': {
        'cut': lambda text: text[: len(text) // 2].rpartition(b'\n')[0],
        'infinite': lambda text: re.sub(rb'20.0 18.0', b'inf 18.0', text),
        'none': lambda text: re.sub(rb'20.0 18.0', b'nan 18.0', text),
        'too large': lambda text: re.sub(rb'20.0 18.0', b'1e999 18.0', text),
        'negative': lambda text: re.sub(rb'20.0 18.0', b'-20.0 18.0', text),
        'three numbers': lambda text: re.sub(rb' 18.0', b'', text),
        'text': lambda text: re.sub(rb'20.0', b'wide', text),
    },
    'classes.txt': {
        'cut': lambda text: text.splitlines()[0],
        'doubled': lambda text: text + b'1 again\n',
        'gap': replaced(b'2 ', b'7 '),
    },
}.items():
    add(f'list {file}', CUB, 'CUB .*: |cub', changes, file=f'cub/{file}')

# ---------------------------------------------------------------------- boxes of one's own images


def voc(old='', new='', encoding='utf-8'):
    text = (
        '<?xml version="1.0"?><annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin>'
        '<xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>'
    )
    return text.replace(old, new).encode(encoding)


BOXES = 'test.py FOLDER GOOD --work-dir @w --cfg-options test_dataloader.dataset.box_source=@{}'
add(
    'VOC',
    BOXES.format('xml'),
    'xml/001.Red/001.xml',
    {
        'deep': b'<a>' * 1_000_000,
        'entities': b'<!DOCTYPE a [<!ENTITY b0 "'
        + b'x' * 9999
        + b'">'
        + b''.join(b'<!ENTITY b%d "%s">' % (i, b'&b%d;' % (i - 1) * 20) for i in range(1, 10))
        + b']><a>&b9;</a>',
        'a file from outside': b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        'empty': b'',
        'cut': voc()[:90],
        'no XML': b'\x89PNG\r\n\x1a\n',
        'unknown encoding': voc('"1.0"', '"1.0" encoding="x-none"'),
        'no encoding of text': voc('"1.0"', '"1.0" encoding="bz2"'),
        'infinite': voc('9', 'inf'),
        'none': voc('9', 'nan'),
        'text': voc('9', 'nine'),
        'no corner': voc('<xmax>9</xmax>', ''),
        'size infinite': voc('<object>', '<size><width>inf</width><height>3</height></size><object>'),
        'size of digits': voc(
            '<object>', f'<size><width>{"9" * 5000}</width><height>3</height></size><object>'
        ),
    },
    file='xml/001.Red/001.xml',
)


def coco(**changes):
    content = dict(
        images=[{'id': 1, 'file_name': '001.Red/001.png'}],
        categories=[{'id': 1, 'name': 'cat'}],
        annotations=[{'image_id': 1, 'category_id': 1, 'bbox': [1, 2, 3, 4]}],
    )
    return json.dumps(content | changes).encode()


add(
    'COCO',
    BOXES.format('a.json'),
    'a.json',
    {
        'deep': b'[' * 1_000_000,
        'empty': b'',
        'binary': b'\xff\xfe\x00' * 9,
        'cut': coco()[:-9],
        'a number': b'3',
        'images is text': coco(images='a'),
        'images is none': coco(images=None),
        'an image is none': coco(images=[None]),
        'id is a list': coco(images=[{'id': [], 'file_name': 'a'}]),
        'width infinite': coco(images=[{'id': 1, 'file_name': 'a', 'width': float('inf'), 'height': 1}]),
        'categories is a number': coco(categories=3),
        'annotations is none': coco(annotations=None),
        'annotations is a number': coco(annotations=3),
        'an annotation is none': coco(annotations=[None]),
        'box infinite': coco(
            annotations=[{'image_id': 1, 'category_id': 1, 'bbox': [1, 2, float('inf'), 4]}]
        ),
        'box of digits': coco(annotations=[{'image_id': 1, 'category_id': 1, 'bbox': [1, 2, 10**400, 4]}]),
        'box is text': coco(annotations=[{'image_id': 1, 'category_id': 1, 'bbox': 'abcd'}]),
        'unknown image': coco(annotations=[{'image_id': 9, 'category_id': 1, 'bbox': [1, 2, 3, 4]}]),
    },
    file='a.json',
)
add(
    'CSV',
    BOXES.format('a.csv'),
    'a.csv',
    {
        'long field': b'a' * 200_000 + b',1,2,3,4\n',
        'quote without end': b'"' + b'a,1,2,3,4\n' * 30_000,
        'UTF-16': 'a,1,2,3,4\n'.encode('utf-16'),
        'infinite': b'001.Red/001.png,1,2,inf,4\n',
        'none': b'001.Red/001.png,1,2,nan,4\n',
        'digits': b'001.Red/001.png,1,2,' + b'9' * 999 + b',4\n',
        'three fields': b'001.Red/001.png,1,2\n',
        'other images': b'z.png,1,2,3,4\n',
        'empty': b'',
    },
    file='a.csv',
)

# ---------------------------------------------------------------------- results and predictions

add(
    'predictions',
    'analysis_tools/eval_predictions.py @a.pkl --protocol ts_cam',
    'a.pkl',
    {
        'empty': b'',
        'text': b'hello',
        'cut': pickle.dumps([{'loc_maps': np.ones((1, 4, 4))}])[:-30],
        'a number': pickle.dumps(3),
        'none': pickle.dumps(None),
        'a dict': pickle.dumps({'a': 1}),
        'a list of numbers': pickle.dumps([1, 2]),
        'no maps': pickle.dumps([{'gt_label': 1}]),
        'a class': pickle.dumps([Config]),
        'deep': b'(' * 100_000 + b'.',
        'bytes of no end': b'\x80\x04\x8e' + struct.pack('<Q', 2**62),
    },
    file='a.pkl',
)
add(
    'annotations',
    'analysis_tools/eval_predictions.py --ann @a.json --config CONFIG',
    'a.json',
    {
        'deep': b'[' * 1_000_000,
        'a list': b'[]',
        'a number': b'3',
        'images is none': coco(images=None),
        'annotations is text': coco(annotations='a'),
        'categories is none': coco(categories=None),
        'an image is a number': coco(images=[3]),
        'box infinite': coco(
            annotations=[{'image_id': 1, 'category_id': 1, 'bbox': [1, 2, float('inf'), 4]}]
        ),
    },
    file='a.json',
)
add(
    'maps',
    'analysis_tools/eval_predictions.py --maps @a.npz --config CONFIG',
    'a.npz',
    {
        'empty': b'',
        'text': b'hello',
        'a zip of nothing': zipped(),
        'a zip of others': zipped(a='b'),
        'no arrays': zipped(**{'001.Red__001.npy': b'hello'}),
        'a header of no end': zipped(**{'001.Red__001.npy': b'\x93NUMPY\x01\x00\xff\xff{'}),
        'huge': zipped(
            **{
                '001.Red__001.npy': b"\x93NUMPY\x01\x00\x46\x00{'descr': '<f8', 'fortran_order': False, "
                b"'shape': (99999999999, 9), }   \n"
            }
        ),
    },
    file='a.npz',
)
add(
    'thresholds',
    'test.py CONFIG GOOD --work-dir @w --cfg-options test_evaluator.thresholds_from=@a.json',
    'a.json',
    {
        'deep': b'[' * 1_000_000,
        'a list': b'[1]',
        'a number': b'3',
        'none of them': b'{"other/x": 1}',
        'report is text': b'{"maxboxacc": "a"}',
        'metrics is a number': b'{"maxboxacc": {"metrics": 3}}',
        'infinite': b'{"ts_cam/threshold": 0.1, "maxboxacc/threshold": Infinity}',
        'none': b'{"maxboxacc/threshold": null}',
        'text': b'{"maxboxacc/threshold": "0.3"}',
    },
    file='a.json',
)
add(
    'log',
    'analysis_tools/analyze_logs.py curve @vis_data/scalars.json',
    'scalars.json',
    {
        'deep': b'[' * 100_000,
        'a list': b'[1]\n',
        'no step': b'{"loss": 1}\n',
        'cut': b'{"loss": 1, "step": 1}\n{"loss":',
        'binary': b'\xff\xfe\n',
    },
    file='vis_data/scalars.json',
)
add(
    'metrics',
    'analysis_tools/plot_results.py errors @a.json --out @o.png',
    'a.json',
    {
        'deep': b'[' * 1_000_000,
        'a list': b'[1]',
        'a number': b'3',
        'others': b'{"a": 1}',
    },
    file='a.json',
)
add(
    'classes',
    'predict.py CONFIG GOOD @images --classes @a.txt --out @o.json --num-workers 0',
    'classes: expected|a.txt',
    {
        'empty': b'',
        'binary': b'\xff\xfe\x00\xff',
        'too few': b'one\ntwo\n',
        'too many': b'one\n' * 99,
    },
    file='a.txt',
)


@pytest.fixture(scope='module')
def project(micro_project):
    """A config over folders of images, weights, and a checkpoint of a training."""
    from wsol_mm.engine.runner import LocalizationRunner

    cfg = Config.fromfile(micro_project.config)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        weights = MODELS.build(cfg.model).state_dict()
    good = micro_project.folder / 'good.pth'
    torch.save(weights, good)
    folder = micro_project.folder / 'folder.py'
    folder.write_text(
        f'_base_ = {str(micro_project.config)!r}\n'
        "test_dataloader = dict(dataset=dict(_delete_=True, type='FolderDataset', "
        f"data_root={str(micro_project.folder / 'cub')!r}, data_prefix='images', test_mode=True, "
        'pipeline={{_base_.pipeline}}))\n'
    )
    cfg.work_dir = str(micro_project.folder / 'trained')
    cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
    LocalizationRunner.from_cfg(cfg).train()
    contents = dict(
        weights=good.read_bytes(), training=(micro_project.folder / 'trained' / 'epoch_1.pth').read_bytes()
    )
    return micro_project, contents, {'CONFIG': micro_project.config, 'FOLDER': folder, 'GOOD': good}


def write_files(case, micro_project, contents, folder):
    cub = micro_project.folder / 'cub'
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.startswith('cub/'):
            for file in cub.glob('*.txt'):
                shutil.copy(file, path.parent)
            (path.parent / 'images').symlink_to(cub / 'images')
            content = content(path.read_bytes()) if callable(content) else content
        elif callable(content):
            content = content(contents)
        path.write_bytes(content)


@pytest.mark.parametrize('case', TABLE, ids=[case.name for case in TABLE])
def test_one_line(project, run_here, monkeypatch, capsys, tmp_path, case):
    micro_project, contents, known = project
    tool, *words = case.words.split()
    monkeypatch.syspath_prepend(micro_project.repo / 'tools' / tool.rpartition('/')[0])
    write_files(case, micro_project, contents, tmp_path)
    if '@images' in words:
        (tmp_path / 'images').symlink_to(micro_project.folder / 'cub' / 'images')
    before = {path for path in tmp_path.rglob('*')}
    words = [str(known.get(word, word)).replace('@', f'{tmp_path}/') for word in words]
    started = time.monotonic()
    with pytest.raises(SystemExit) as caught:
        run_here(tool, *words)
    assert time.monotonic() - started < LIMIT_S
    text = caught.value.code
    if text == 2:  # of argparse, which prints
        text = capsys.readouterr().err.strip().splitlines()[-1]
    assert isinstance(text, str), text
    assert '\n' not in text and len(text) < 5000, text
    assert re.search(case.message, text), text
    # What is written is the log of a run, in its folder.
    assert {path for path in tmp_path.rglob('*') if tmp_path / 'w' not in (path, *path.parents)} == before


def test_there_are_so_many():
    assert len({case.name for case in TABLE}) == len(TABLE) >= 200
