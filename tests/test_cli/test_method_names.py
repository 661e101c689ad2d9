"""Tests of wsol_mm.cli.method_names."""

from wsol_mm.cli import method_names
from wsol_mm.cli.method_names import official_method_names
from wsol_mm.models.weights import official_methods


def test_names_are_those_that_the_heads_declare():
    assert official_method_names() == sorted(official_methods())


def test_method_may_be_a_keyword(tmp_path, monkeypatch):
    (tmp_path / 'a_head.py').write_text("official = OfficialCheckpoints(layouts=(), method='b', also=('c',))")
    (tmp_path / 'b_head.py').write_text("official = OfficialCheckpoints('a', layouts=())")
    monkeypatch.setattr(method_names, '_HEADS', tmp_path)
    assert official_method_names() == ['a', 'b', 'c']
