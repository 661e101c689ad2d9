"""Names of parameters in foreign checkpoints, and what they are called here.

One :class:`Layout` per family of files; here the families that several methods start from. What one method's
authors publish stands beside its head. Names here are mmpretrain's: ``backbone.layers.0.ln1.weight``,
``backbone.conv_trans_2.cnn_block.conv1.weight``; a head's class maps are ``head.semantic_conv`` and a
hybrid backbone's classifier is ``head.conv_fc``.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

#: A regular expression for a whole foreign name, and the name here. A name here that ends in a number in
#: brackets, ``head.ocm.branch_conv.weight[3]``, is a part of the entry: see :func:`join_numbered_parts`.
Rule = tuple[str, str]


class Entry(NamedTuple):
    """A weight of a foreign file.

    Attributes:
        name: What it is called there; of joined parts, the first and the last.
        target: What it is called here, or None if no rule knows it.
        value: The weight.
    """

    name: str
    target: str | None
    value: Tensor


@dataclass(frozen=True)
class Layout:
    """One way of naming parameters.

    Attributes:
        name: For messages.
        markers: A file has this layout if every expression matches some whole name.
        rules: The first that matches a whole name gives the name here.
        dropped: Whole names of what a file holds twice, or nobody needs: such entries are left out.
        prepare: Changes the weights of a file, under its names, where they are more than renamed.
    """

    name: str
    markers: tuple[str, ...]
    rules: tuple[Rule, ...]
    dropped: tuple[str, ...] = ()
    prepare: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] | None = None

    def fits(self, names: Iterable[str]) -> bool:
        """Return whether a file with these parameter names has this layout."""
        names = list(names)
        return all(any(re.fullmatch(marker, name) for name in names) for marker in self.markers)

    def rename(self, name: str) -> str | None:
        """Return what ``name`` is called here, or None if no rule knows it."""
        for pattern, replacement in self.rules:
            match = re.fullmatch(pattern, name)
            if match is not None:
                return match.expand(replacement)
        return None

    def entries(self, weights: Mapping[str, Tensor]) -> list[Entry]:
        """Return the weights of a file with their names here, but the dropped ones, numbered parts joined.

        Raises:
            ValueError: See :func:`join_numbered_parts`.
        """
        return join_numbered_parts(
            Entry(name, self.rename(name), value)
            for name, value in (self.prepare(weights) if self.prepare else weights).items()
            if not any(re.fullmatch(pattern, name) for pattern in self.dropped)
        )


def join_numbered_parts(entries: Iterable[Entry]) -> list[Entry]:
    """Join entries that are stored in parts elsewhere and as one tensor here.

    The targets ``weight[0]``, ``weight[1]``, ... become ``weight``, along the first axis and in the order of
    their numbers; parts without an axis (counters) must agree and are taken once. Joined entries come
    last.

    Args:
        entries: Entries of one file; those without a number are returned as they are.

    Raises:
        ValueError: If numbers from 0 to the highest one are missing, if parts differ in more than the length
            of their first axis, or if counters differ.
    """
    whole: list[Entry] = []
    parts: dict[str, dict[int, Entry]] = {}
    for entry in entries:
        match = re.fullmatch(r'(.+)\[(\d+)\]', entry.target or '')
        if match is None:
            whole.append(entry)
        else:
            parts.setdefault(match[1], {})[int(match[2])] = entry
    return whole + [_join(target, numbered) for target, numbered in parts.items()]


def _join(target: str, parts: Mapping[int, Entry]) -> Entry:
    """Return the entry ``target`` made of its parts by number."""
    numbers = sorted(parts)
    entries = [parts[number] for number in numbers]
    missing = sorted(set(range(numbers[-1])) - set(numbers))
    if missing:
        raise ValueError(
            f'{target}: expected all numbered entries from 0 to {numbers[-1]}, got none of the numbers '
            f'{missing}, only {", ".join(entry.name for entry in entries)}'
        )
    shapes = {tuple(entry.value.shape[1:]) for entry in entries}
    dimensions = {entry.value.dim() for entry in entries}
    name = entries[0].name if len(entries) == 1 else f'{entries[0].name} ... {entries[-1].name}'
    if len(shapes) > 1 or len(dimensions) > 1:
        found = ', '.join(f'{entry.name} {tuple(entry.value.shape)}' for entry in entries)
        raise ValueError(f'{target}: expected entries that can be joined along the first axis, got {found}')
    if dimensions != {0}:
        return Entry(name, target, torch.cat([entry.value for entry in entries]))
    if any(entry.value != entries[0].value for entry in entries):
        found = ', '.join(f'{entry.name} {entry.value.item()}' for entry in entries)
        raise ValueError(f'{target}: expected the same number in all entries, as it is one here, got {found}')
    return Entry(name, target, entries[0].value)


def _encoder_rules(theirs: str, ours: str) -> tuple[Rule, ...]:
    r"""Return the rules of one transformer layer; ``theirs`` has one group that ``ours`` uses as \1."""
    return (
        (rf'{theirs}\.norm([12])\.(weight|bias)', rf'{ours}.ln\2.\3'),
        (rf'{theirs}\.attn\.(qkv|proj)\.(weight|bias)', rf'{ours}.attn.\2.\3'),
        (rf'{theirs}\.mlp\.fc1\.(weight|bias)', rf'{ours}.ffn.layers.0.0.\2'),
        (rf'{theirs}\.mlp\.fc2\.(weight|bias)', rf'{ours}.ffn.layers.1.\2'),
        (rf'{theirs}\.(?:ls1\.gamma|gamma_1)', rf'{ours}.attn.gamma1.weight'),
        (rf'{theirs}\.(?:ls2\.gamma|gamma_2)', rf'{ours}.ffn.gamma2.weight'),
    )


TIMM_VIT = Layout(
    name='timm / DeiT vision transformer (blocks.0.attn.qkv.weight, ...)',
    markers=(r'patch_embed\.proj\.weight', r'blocks\.0\.attn\.qkv\.weight'),
    rules=(
        (r'(cls_token|pos_embed)', r'backbone.\1'),
        (r'patch_embed\.proj\.(weight|bias)', r'backbone.patch_embed.projection.\1'),
        *_encoder_rules(r'blocks\.(\d+)', r'backbone.layers.\1'),
        (r'norm\.(weight|bias)', r'backbone.ln1.\1'),
        (r'head\.(weight|bias)', r'head.semantic_conv.\1'),
    ),
)

CONFORMER = Layout(
    name='official Conformer (conv_trans_2.trans_block.attn.qkv.weight, ...)',
    markers=(r'trans_patch_conv\.weight', r'conv_trans_2\.trans_block\.attn\.qkv\.weight'),
    rules=(
        (r'cls_token', r'backbone.cls_token'),
        (r'((?:conv1|bn1|conv_1|trans_patch_conv|trans_norm)\..+)', r'backbone.\1'),
        (r'(conv_trans_\d+\.(?:cnn|fusion|squeeze|expand)_block\..+)', r'backbone.\1'),
        *_encoder_rules(r'(trans_1|conv_trans_\d+\.trans_block)', r'backbone.\1'),
        (r'trans_cls_head\.(weight|bias)', r'head.semantic_conv.\1'),
        (r'conv_cls_head\.(weight|bias)', r'head.conv_fc.\1'),
    ),
)

MOBILENET_V1 = Layout(
    name='MobileNet v1 (model.0.0.weight, ..., model.13.4.weight, fc.weight)',
    markers=(r'model\.0\.0\.weight', r'model\.13\.4\.weight'),
    rules=((r'(model\..+)', r'backbone.\1'), (r'fc\.(weight|bias)', r'head.semantic_conv.\1')),
)

MMENGINE = Layout(
    name='wsol_mm or mmpretrain (backbone.layers.0.attn.qkv.weight, ...)',
    markers=(r'backbone\..+',),
    rules=(
        (r'(backbone\..+)', r'\1'),
        (r'head\.(?:layers\.head|fc|trans_cls_head)\.(weight|bias)', r'head.semantic_conv.\1'),
        (r'head\.conv_cls_head\.(weight|bias)', r'head.conv_fc.\1'),
        (r'(head\..+)', r'\1'),
    ),
)


#: Convolutions of VGG16 in the order in which they run.
VGG16_CONVS = tuple(
    f'conv{group}_{index}' for group, convs in enumerate((2, 2, 3, 3, 3), 1) for index in range(1, convs + 1)
)
#: Which of torchvision's ``features`` they are.
VGG16_FEATURES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)


def vgg16_rules(indices: Sequence[int], theirs: str = r'features\.{}', first: int = 0) -> tuple[Rule, ...]:
    """Return the rules of convolutions of VGG16 that are numbered within a sequence.

    Args:
        indices: Their numbers there.
        theirs: Expression for the name of one, with a place for its number.
        first: Which of the 13 convolutions is the first of them.
    """
    return tuple(
        (rf'{theirs.format(index)}\.(weight|bias)', rf'backbone.{name}.\1')
        for index, name in zip(indices, VGG16_CONVS[first:], strict=False)
    )


#: Names of a ResNet and of Inception v3, but for the classifiers.
RESNET_RULE: Rule = (r'((?:conv1|bn1|layer[1-4])\..+)', r'backbone.\1')
INCEPTION_RULE: Rule = (r'((?:Conv2d_\d[ab]_|Mixed_[567])\w+\..+)', r'backbone.\1')

VGG16 = Layout(
    name='torchvision VGG16 (features.0.weight, features.2.weight, features.5.weight, ...)',
    markers=tuple(rf'features\.{index}\.weight' for index in VGG16_FEATURES),
    rules=vgg16_rules(VGG16_FEATURES),
)
RESNET = Layout(
    name='torchvision ResNet (conv1.weight, bn1.weight, layer1.0.conv1.weight, ...)',
    markers=(r'conv1\.weight', r'layer1\.0\.conv1\.weight', r'layer4\.0\.conv1\.weight'),
    rules=(RESNET_RULE, (r'fc\.(weight|bias)', r'head.fc.\1')),
)
INCEPTION_V3 = Layout(
    name='torchvision Inception v3 (Conv2d_1a_3x3.conv.weight, ..., Mixed_6e.branch1x1.conv.weight)',
    markers=(r'Conv2d_1a_3x3\.conv\.weight', r'Mixed_6e\.branch1x1\.conv\.weight'),
    rules=(INCEPTION_RULE,),
)

#: Those that are no method's own.
COMMON_LAYOUTS = (MMENGINE, CONFORMER, TIMM_VIT, MOBILENET_V1, VGG16, RESNET, INCEPTION_V3)


def find_layout(names: Iterable[str], layouts: Iterable[Layout]) -> Layout | None:
    """Return the first layout that fits these parameter names, or None."""
    names = list(names)
    return next((layout for layout in layouts if layout.fits(names)), None)


def describe_names(names: Iterable[str], limit: int = 5) -> str:
    """Return the first few names, for a message."""
    names = list(names)
    more = f', ... ({len(names)} in all)' if len(names) > limit else ''
    return (', '.join(names[:limit]) + more) or 'none'
