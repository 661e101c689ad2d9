"""The option of a tool that refines maps before their boxes are found."""

import argparse

from wsol_mm.utils.refinement_choice import FILTERS, SAM


def add_refinement_option(parser: argparse.ArgumentParser) -> None:
    """Add the option whose words :func:`~wsol_mm.utils.refinement_choice.use_refinement` takes.

    Args:
        parser: Parser to extend.
    """
    parser.add_argument(
        '--refine',
        nargs='+',
        metavar='WORD',
        help="sharpen the maps before boxes are found: sides of views in pixels (224 336 448), 'flip' for "
        f'mirrored views, edge filters ({", ".join(FILTERS)}), {SAM}FILE with the weights of SAM. See '
        'docs/sharper_boxes.md (default: as the config says)',
    )
