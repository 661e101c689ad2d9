"""Predictions, maps, metrics and logs."""

import pickle
import struct

import numpy as np
from mmengine.config import Config

from .boxes import coco
from .cases import Cases, zipped

CASES = Cases()

CASES.add(
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
CASES.add(
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
CASES.add(
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
CASES.add(
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
CASES.add(
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
CASES.add(
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
CASES.add(
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
