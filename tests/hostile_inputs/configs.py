"""Configs in YAML, JSON and Python."""

from .cases import Cases

CASES = Cases()

NO_CONFIG = 'expected a config, got '
BOMB = b'a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n' + b''.join(
    b'a%d: &a%d [%s]\n' % (i, i, b', '.join([b'*a%d' % (i - 1)] * 10)) for i in range(1, 12)
)
CASES.add(
    'YAML',
    'train.py @a.yaml --work-dir @w',
    NO_CONFIG,
    {
        'aliases of aliases': (BOMB, 'expected at most 1000000 values, got more, by aliases'),
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
CASES.add(
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
    },
    file='a.json',
)
CASES.add(
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
