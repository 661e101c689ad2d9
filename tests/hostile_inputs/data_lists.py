"""Lists of a data set."""

import re

from .cases import Cases

CASES = Cases()

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
    CASES.add(f'list {file}', CUB, 'CUB .*: |cub', changes, file=f'cub/{file}')
