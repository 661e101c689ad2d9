"""Tests of wsol_mm.cli.method_names."""

from wsol_mm.cli.method_names import official_method_names
from wsol_mm.models.weights import official_methods


def test_names_are_those_that_the_heads_declare():
    assert official_method_names() == sorted(official_methods())
