"""How tools say what came out of the prediction of many images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsol_mm.apis.prediction_output import FolderSummary

#: Exit status where all is done, but some images cannot be used.
BROKEN_STATUS = 3


def print_summary(summary: FolderSummary, out: Path, part: str | None = None) -> None:
    """Print what came out, the broken images last.

    Args:
        summary: Counts.
        out: Where the annotations are.
        part: What they are of, if not of all images; the annotations are still to be written then.
    """
    usable = summary.num_images - summary.num_broken
    place = out.resolve() if part is None else f'{part}, for tools/misc/merge_predictions.py {out}'
    print(f'{summary.num_boxes} boxes in {usable} images ({summary.num_without_box} without a box): {place}')
    if summary.num_broken:
        listed = f', listed in {out.resolve()}.broken.txt' if part is None else ''
        print(f'{summary.num_broken} images cannot be used{listed}:')
        for path, reason in summary.broken:
            print(f'  {path}: {reason}')
        if summary.num_broken > len(summary.broken):
            print(f'  ... and {summary.num_broken - len(summary.broken)} more')
