"""How often boxes of each confidence are right, as a picture."""

from pathlib import Path

from wsol_mm.evaluation.functional.ranking import auroc, reliability
from wsol_mm.utils.whole_files import whole_file

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

_BINS = 10
_COLOUR = '#0072B2'


def draw_reliability(out: Path, confidence: NDArray[np.floating], right: NDArray[np.bool_]) -> None:
    """Draw the share of right boxes in ten bins of confidence, and how many boxes are in each.

    Args:
        out: Picture to write (``.png``, ``.pdf``, ``.svg``).
        confidence: (N,) in [0, 1].
        right: (N,) bool.
    """
    bins = reliability(confidence, right, _BINS)
    figure = Figure(figsize=(4.8, 5.2), layout='constrained')
    above, below = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    above.plot([0, 1], [0, 1], ':', color='#777777', label='as it should be')
    above.plot(bins.confidence, bins.accuracy, 'o-', color=_COLOUR, label='measured')
    above.set(xlim=(0, 1), ylim=(0, 1), ylabel='boxes with IoU ≥ 0.5')
    title = (
        f'{len(right)} boxes, AUROC {auroc(confidence, right):.3f}, mean error {bins.calibration_error:.3f}'
    )
    above.set_title(title, fontsize=10)
    above.legend(frameon=False, loc='upper left')
    centres = (np.arange(_BINS) + 0.5) / _BINS
    below.bar(centres, bins.count, 0.9 / _BINS, color=_COLOUR)
    below.set(xlabel='confidence', ylabel='boxes')
    for axes in (above, below):
        axes.grid(color='#dddddd', linewidth=0.6)
        axes.set_axisbelow(True)
    with whole_file(out) as part, part.open('wb') as stream:
        figure.savefig(stream, dpi=120, format=out.suffix[1:])
