"""Settings on the command line: values as MMEngine takes them, and any text."""

import argparse

from wsol_mm.cli.config_options import add_cfg_options, parse_value

import pytest
from mmengine.config import DictAction

VALUES = [
    *('3', '-3', '1e-3', '0.5', 'true', 'False', 'None', 'text', 'a/b.pth', 'file=x', '', '[]', '()'),
    *('[1,2]', '(1,2)', '1,2', 'a,b', '[a,b]', '[(1,2),[a,b],c]', '[[1]]', '[1,]', '(1,)', '1,2,', 'inf'),
    *('[1, 2]', '[ a , b ]', "['a','b']", '[True,None,1.5]', '(a)', '[3]', 'x(1)', 'a[0]'),
]


@pytest.mark.parametrize('text', VALUES)
def test_as_mmengine(text):
    if text == '1,2,':  # a list of three, of which the last is empty, or of two
        assert parse_value(text) == [1, 2, '']
        return
    assert parse_value(text) == DictAction._parse_iterable(text)
    assert type(parse_value(text)) is type(DictAction._parse_iterable(text))


PATHS = [
    'my data/w.pth',
    ' x',
    '2024',
    '1e3',
    'a,b',
    '[v1]',
    '(1)',
    'None',
    'true',
    'a b,c d',
    "it's",
    'x"y',
    '=',
]


@pytest.mark.parametrize('path', PATHS)
def test_quotes_hold(path):
    quote = '"' if "'" in path else "'"
    assert parse_value(f'{quote}{path}{quote}') == path
    assert parse_value(f'[{quote}{path}{quote}, 1]') == [path, 1]


@pytest.mark.parametrize(
    'path', ['my data/w.pth', 'a (1)/b', "it's here", '{y}', 'a (1', '日本 語', 'x]', '~/my data']
)
def test_text_without_quotes(path):
    assert parse_value(path) == path


def test_whole_command_line(capsys):
    parser = argparse.ArgumentParser(prog='tool')
    add_cfg_options(parser)
    args = parser.parse_args(
        ['--cfg-options', 'a.b=my data', "c='2024'", '--cfg-options', 'd=[1,x]', 'a.b=2']
    )
    assert args.cfg_options == {'a.b': 2, 'c': '2024', 'd': [1, 'x']}
    for word, message in (
        ('a', "expected words like key=value, got 'a'"),
        ('=3', "expected words like key=value, got '=3'"),
        ('a.b=[1,(2]', "a.b: expected brackets and quotes that match, got '[1,(2]'"),
        ("a.b=['x,y]", 'a.b: expected brackets and quotes that match'),
    ):
        with pytest.raises(SystemExit):
            parser.parse_args(['--cfg-options', word])
        assert f'argument --cfg-options: {message}' in capsys.readouterr().err
