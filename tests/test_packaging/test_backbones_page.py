"""The table of docs/backbones.md says what is true of every family of timm's models and of every head."""

import re

from tests.methods import METHODS, Size
from tests.timm_families import FAMILIES, Family
from wsol_mm.models.localizers.image_localizer import LOCALIZER_GIVES
from wsol_mm.registry import MODELS

import pytest
import timm

#: What the page calls the names of `gives`.
WORDS = {
    'class token': {'cls_token', 'pre_norm_cls_token'},
    'class attention': {'class_attention'},
    'tokens before the norm': {'pre_norm_map'},
    'projections': {'queries', 'keys', 'values'},
    'attention pool': {'pooled'},
}
#: Heads of the page that no entry of METHODS is for.
_SIZES = dict(num_classes=7, in_channels=24)
OTHER_HEADS = {mode: dict(type='GraphCutHead', mode=mode, **_SIZES) for mode in ('lost', 'maskcut')}


def rows_of(text: str) -> tuple[list[str], dict[str, list[str]]]:
    """Return header and rows, by their first cell, of the first table of a page."""
    lines = re.search(r'^\|.*?(?=\n\n)', text, re.MULTILINE | re.DOTALL)[0].splitlines()
    header, _, *rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    return header, {cells[0]: cells[1:] for cells in rows}


@pytest.fixture(scope='module')
def page(repo_dir):
    """Header and rows of the page's table."""
    return rows_of((repo_dir / 'docs/backbones.md').read_text(encoding='utf-8'))


def needs_of(head: str) -> frozenset[str]:
    """Return what a head, named in the page, needs of a backbone."""
    name = head.lower()
    config = OTHER_HEADS.get(name) or METHODS[name].head_config(Size(), training=True)
    built = MODELS.build(config)
    return (built.loss_needs | built.logits_needs | built.predict_needs) - LOCALIZER_GIVES


def expected_row(family: Family, header: list[str]) -> list[str]:
    """Return the cells behind the example: prefix tokens, what it gives, and a mark for the heads."""
    words = [word for word, names in WORDS.items() if names <= family.gives]
    assert family.gives == {name for word in words for name in WORDS[word]}
    marks = ['yes' if needs_of(heads.split(', ')[0]) <= family.gives else '-' for heads in header[4:]]
    return [str(family.prefix), ', '.join(words) or '-', *marks]


def test_families(page):
    header, rows = page
    assert list(rows) == list(FAMILIES)
    for name, family in FAMILIES.items():
        example, *cells = rows[name]
        assert cells == expected_row(family, header), name
        assert timm.is_model(example.strip('`')), name


def families_of(head: str) -> set[str]:
    """Return the families that a head stands on."""
    return {name for name, family in FAMILIES.items() if needs_of(head) <= family.gives}


def test_heads_of_one_column_stand_on_the_same_families(page):
    for heads in page[0][4:]:
        first, *others = heads.split(', ')
        assert all(families_of(head) == families_of(first) for head in others), heads


def test_probes_without_a_class_token():
    for kind, options in (('TriLiteHead', {}), ('GraphCutHead', dict(features='tokens'))):
        head = MODELS.build(dict(type=kind, tokens='normed', pooling='mean', **options, **_SIZES))
        assert not head.loss_needs | head.logits_needs | head.predict_needs


def test_heads_with_a_backbone_of_their_own():
    shared = ('TokenVisionTransformer', 'TimmBackbone', 'VGG16')
    own = [name for name, method in METHODS.items() if method.backbone not in shared]
    assert own and not any(map(families_of, own))
