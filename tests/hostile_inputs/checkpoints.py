"""Files of weights and of trainings."""

import pickle
import struct

import torch

from .cases import Cases, changed_state, changed_training, flipped, saved, zipped

CASES = Cases()

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
CASES.add('checkpoint', 'test.py CONFIG @a.pth --work-dir @w', NOT_ONE, CHECKPOINTS)

SAFE = 'a.safetensors: expected a .safetensors file, got another or a damaged one'
CASES.add(
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
CASES.add(
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
