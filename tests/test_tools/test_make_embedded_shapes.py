"""tools/dataset_converters/make_embedded_shapes.py: its options are those of the set."""

import runpy
from dataclasses import fields

from wsol_mm.datasets.shapes.embedded_shapes import EmbeddedShapesSpec

import pytest

RANGES = dict(seed=(0, 2**32 - 1), train_per_class=(1, 9999), test_per_class=(1, 9999), size=(48, 1024))


@pytest.fixture(scope='module')
def parse(repo_dir):
    path = repo_dir / 'tools' / 'dataset_converters' / 'make_embedded_shapes.py'
    return runpy.run_path(str(path))['parse_arguments']


def test_defaults_are_those_of_the_set(parse):
    args, spec = parse(['out']), EmbeddedShapesSpec()
    assert {field.name for field in fields(spec)} == {*RANGES, 'version'}
    assert all(getattr(args, name) == getattr(spec, name) for name in RANGES)


@pytest.mark.parametrize('name', RANGES)
def test_ranges_are_those_of_the_set(parse, name, capsys):
    option = f'--{name.replace("_", "-")}'
    low, high = RANGES[name]
    for value in RANGES[name]:
        assert getattr(parse(['out', option, str(value)]), name) == value
        EmbeddedShapesSpec(**{name: value})
    for value in (low - 1, high + 1):
        with pytest.raises(ValueError, match=name):
            EmbeddedShapesSpec(**{name: value})
        with pytest.raises(SystemExit):
            parse(['out', f'{option}={value}'])
        message = f"argument {option}: expected an integer from {low} to {high}, got '{value}'"
        assert message in capsys.readouterr().err
